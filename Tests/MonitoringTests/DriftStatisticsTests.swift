// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Monitoring
import Testing

@Suite struct DriftStatisticsTests {
  @Test func equalSamplesDoNotDrift() {
    let sample = ColumnSample(numbers: (0..<1000).map(Double.init))
    let drift = DriftStatistics.compare(current: sample, baseline: sample)
    #expect(drift == DriftStatistics(psi: 0, ks: 0, js: 0))
  }

  @Test func disjointSamplesDriftAsFarAsPossible() {
    let drift = DriftStatistics.compare(
      current: ColumnSample(numbers: (0..<100).map { Double($0) + 1000 }), baseline: ColumnSample(numbers: (0..<100).map(Double.init)))
    #expect(drift.ks == 1)
    #expect((drift.psi ?? 0) > 5)
    let words = DriftStatistics.compare(
      current: ColumnSample(categories: ["a", "a"]), baseline: ColumnSample(categories: ["b"]))
    #expect(abs((words.js ?? 0) - 1) < 1e-12)
    #expect(words.ks == nil)
  }

  @Test func valuesEqualThoseComputedByHand() {
    // p = (3/4, 1/4), q = (1/2, 1/2): PSI = 1/4 ln(3/2) + (-1/4) ln(1/2);
    // JS = sqrt((KL(p|m) + KL(q|m)) / 2) in bits with m = (5/8, 3/8).
    let drift = DriftStatistics.compare(
      current: ColumnSample(categories: ["x", "x", "x", "y"]), baseline: ColumnSample(categories: ["x", "x", "y", "y"]))
    #expect(abs(drift.psi! - (0.25 * log(1.5) - 0.25 * log(0.5))) < 1e-12)
    let left = 0.75 * log2(0.75 / 0.625) + 0.25 * log2(0.25 / 0.375)
    let right = 0.5 * log2(0.5 / 0.625) + 0.5 * log2(0.5 / 0.375)
    #expect(abs(drift.js! - ((left + right) / 2).squareRoot()) < 1e-12)
  }

  @Test func kolmogorovSmirnovHandlesTies() {
    // F_a jumps to 2/3 at 1, F_b to 1/4: the difference there, 5/12, is the largest.
    let drift = DriftStatistics.compare(
      current: ColumnSample(numbers: [1, 1, 2]), baseline: ColumnSample(numbers: [1, 2, 2, 2]))
    #expect(abs(drift.ks! - (2.0 / 3 - 0.25)) < 1e-12)
  }

  @Test func emptySamplesGiveNothing() {
    let empty = ColumnSample(numbers: [])
    #expect(DriftStatistics.compare(current: empty, baseline: ColumnSample(numbers: [1])) == DriftStatistics())
    #expect(DriftStatistics.compare(current: ColumnSample(numbers: [.nan, .infinity]), baseline: empty) == DriftStatistics())
  }
}
