// SPDX-License-Identifier: Apache-2.0

/// Which part of a model one of several ranks computes.
///
/// Every matrix is cut by its outputs, attention by its heads, and what the ranks computed is put together again before the next matrix. So
/// an output is summed by one rank, over all of its inputs and in the order that a whole model has: numbers are the same bits for any number
/// of parts. (Megatron cuts every second matrix by its inputs and adds the parts: half as many meetings, but sums that depend on the cut.)
public struct ModelPart: Sendable, Equatable {
  public var rank: Int
  public var count: Int

  public static let whole = ModelPart(rank: 0, of: 1)

  public init(rank: Int, of count: Int) {
    precondition(count > 0 && rank >= 0 && rank < count)
    self.rank = rank
    self.count = count
  }

  /// The outputs of `total` that a rank computes; parts differ by one at most.
  func range(_ total: Int, of rank: Int) -> Range<Int> { total * rank / count..<total * (rank + 1) / count }
  func range(_ total: Int) -> Range<Int> { range(total, of: rank) }
  func ranges(_ total: Int) -> [Range<Int>] { (0..<count).map { range(total, of: $0) } }

  /// A rank's heads, and the key heads that they use. With more ranks than key heads, several ranks hold the same one and share its query heads;
  /// with more than query heads, some have none.
  func heads(_ heads: Int, _ keyHeads: Int, of rank: Int) -> (queries: Range<Int>, keys: Range<Int>) {
    let group = heads / keyHeads
    if count <= keyHeads {
      let keys = range(keyHeads, of: rank)
      return (keys.lowerBound * group..<keys.upperBound * group, keys)
    }
    let key = rank * keyHeads / count
    let first = (key * count + keyHeads - 1) / keyHeads
    let sharers = ((key + 1) * count + keyHeads - 1) / keyHeads - first
    let place = rank - first
    let queries = key * group + group * place / sharers..<key * group + group * (place + 1) / sharers
    return (queries, key..<(queries.isEmpty ? key : key + 1))
  }
}

extension VectorPlan {
  /// Numbers `range` of the vector.
  func part(_ range: Range<Int>) -> VectorPlan {
    var plan = self
    plan.count = range.count
    guard group < count else {
      plan.offset = offset + range.lowerBound
      plan.group = range.count
      return plan
    }
    precondition(range.lowerBound % group == 0)
    plan.offset = offset + range.lowerBound / group * groupStride
    return plan
  }
}

extension MatrixPlan {
  /// Rows `range` of the matrix. Rows in groups are cut between groups.
  func part(_ range: Range<Int>) -> MatrixPlan {
    guard range != 0..<rows else { return self }
    var plan = self
    plan.rows = range.count
    plan.bias = bias?.part(range)
    if group < rows {
      precondition(range.lowerBound % group == 0)
      plan.offset = offset + range.lowerBound / group * groupStride
    } else {
      plan.offset = offset + range.lowerBound * rowStride
      plan.group = range.count
    }
    return plan
  }
}
