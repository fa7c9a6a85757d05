// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Distances between two distributions of one column. Pure.
///
/// - PSI (population stability index): sum of (p - q) ln(p / q) over bins, with shares below 1e-4 raised to it.
/// - JS: Jensen-Shannon distance, the square root of the divergence in bits; 0 equal, 1 disjoint.
/// - KS: largest difference of the empirical distribution functions; numbers only.
public struct DriftStatistics: Sendable, Equatable {
  public var psi: Double?
  public var ks: Double?
  public var js: Double?

  public init(psi: Double? = nil, ks: Double? = nil, js: Double? = nil) {
    self.psi = psi
    self.ks = ks
    self.js = js
  }

  /// Bins of the baseline's deciles for numbers, values for categories. Empty samples give no statistics.
  public static func compare(current: ColumnSample, baseline: ColumnSample) -> DriftStatistics {
    if let now = current.numbers, let before = baseline.numbers {
      guard !now.isEmpty, !before.isEmpty else { return DriftStatistics() }
      let edges = deciles(before)
      let (p, q) = (shares(now, edges), shares(before, edges))
      return DriftStatistics(psi: psi(p, q), ks: kolmogorovSmirnov(now, before), js: jensenShannon(p, q))
    }
    let (now, before) = (current.categories, baseline.categories)
    guard !now.isEmpty, !before.isEmpty else { return DriftStatistics() }
    let keys = Set(now.keys).union(before.keys).sorted()
    func frequencies(_ counts: [String: Int]) -> [Double] {
      let total = Double(counts.values.reduce(0, +))
      return keys.map { Double(counts[$0] ?? 0) / total }
    }
    let (p, q) = (frequencies(now), frequencies(before))
    return DriftStatistics(psi: psi(p, q), ks: nil, js: jensenShannon(p, q))
  }

  /// Inner edges of up to ten bins with equal shares of `sorted`; equal edges collapse.
  static func deciles(_ sorted: [Double]) -> [Double] {
    var edges: [Double] = []
    for tenth in 1..<10 {
      let edge = sorted[min(sorted.count - 1, sorted.count * tenth / 10)]
      if edges.last != edge { edges.append(edge) }
    }
    return edges
  }

  /// Shares of values below the first edge, from each edge to the next, and from the last on.
  static func shares(_ values: [Double], _ edges: [Double]) -> [Double] {
    var counts = [Double](repeating: 0, count: edges.count + 1)
    for value in values { counts[edges.partitionIndex { $0 <= value }] += 1 }
    return counts.map { $0 / Double(values.count) }
  }

  static func psi(_ p: [Double], _ q: [Double]) -> Double {
    zip(p, q).reduce(0) { sum, pair in
      let (a, b) = (max(pair.0, 1e-4), max(pair.1, 1e-4))
      return sum + (a - b) * log(a / b)
    }
  }

  static func jensenShannon(_ p: [Double], _ q: [Double]) -> Double {
    func part(_ a: Double, _ m: Double) -> Double { a > 0 ? a * log2(a / m) : 0 }
    let divergence = zip(p, q).reduce(0) { sum, pair in
      let middle = (pair.0 + pair.1) / 2
      return sum + (part(pair.0, middle) + part(pair.1, middle)) / 2
    }
    return max(0, divergence).squareRoot()
  }

  /// Both sorted.
  static func kolmogorovSmirnov(_ a: [Double], _ b: [Double]) -> Double {
    var (i, j) = (0, 0)
    var largest = 0.0
    while i < a.count && j < b.count {
      let value = min(a[i], b[j])
      while i < a.count && a[i] == value { i += 1 }
      while j < b.count && b[j] == value { j += 1 }
      largest = max(largest, abs(Double(i) / Double(a.count) - Double(j) / Double(b.count)))
    }
    return largest
  }
}

extension Array {
  /// Number of leading elements for which `belongs` holds; the array is partitioned by it.
  fileprivate func partitionIndex(_ belongs: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if belongs(self[middle]) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
