// SPDX-License-Identifier: Apache-2.0

import Core
import Tensor
import TestSupport
import Testing

@testable import Models

@Suite struct ModelPartTests {
  /// Every head belongs to one rank, in the order of the ranks, and its rank has the key head that it uses.
  @Test func everyHeadHasOneRankThatHoldsItsKeys() {
    for (heads, keyHeads) in [(4, 2), (6, 3), (8, 8), (8, 1), (12, 4), (9, 3), (32, 8), (40, 10)] {
      for count in 1...2 * heads + 1 {
        var next = 0
        for rank in 0..<count {
          let (queries, keys) = ModelPart(rank: rank, of: count).heads(heads, keyHeads, of: rank)
          #expect(
            queries.lowerBound == next && queries.isEmpty == keys.isEmpty && (count > heads || !queries.isEmpty),
            "\(heads)/\(keyHeads) heads, rank \(rank) of \(count): \(queries)")
          next = queries.upperBound
          for head in queries {
            // A kernel takes head h of n with key head h / (n / keys).
            let within = (head - queries.lowerBound) / (queries.count / keys.count)
            #expect(keys.lowerBound + within == head / (heads / keyHeads), "\(heads)/\(keyHeads) heads, rank \(rank) of \(count)")
          }
        }
        #expect(next == heads)
      }
    }
  }

  @Test func rangesCoverEverythingOnce() {
    for (total, count) in [(7, 3), (64, 4), (5, 5), (300, 7)] {
      let ranges = ModelPart(rank: 0, of: count).ranges(total)
      #expect(ranges.flatMap { Array($0) } == Array(0..<total) && ranges.allSatisfy { (total / count...total / count + 1).contains($0.count) })
    }
  }

  /// Whatever the weights are multiplied as, a model in parts has the bits of the whole, and a part holds its share only.
  @Test(arguments: WeightPrecision.allCases) func partsComputeTheBitsOfTheWhole(_ precision: WeightPrecision) throws {
    let model = try RandomLlama(tied: precision == .int8)
    let directory = model.folder.path
    let whole = try DecoderModel(directory: directory, precision: precision)
    let logits = try RandomLlama.logits(whole)
    for count in [2, 3, 4, 7] {
      let parts = try ThreadRanks.run(count) { collective in
        let part = try DecoderModel(directory: directory, precision: precision, part: ModelPart(rank: collective.rank, of: count))
        return (try RandomLlama.logits(part, chunk: 17, collective: collective), part.copiedBytes + part.mappedBytes)
      }
      for (rank, part) in parts.enumerated() {
        #expect(part.0 == logits, "\(precision): rank \(rank) of \(count)")
        // Of three ranks two hold the same key head, of seven all but three have heads.
        #expect(count > 4 || part.1 * count < (whole.copiedBytes + whole.mappedBytes) * 5 / 4, "\(precision): rank \(rank) of \(count) holds \(part.1)")
      }
    }
  }
}
