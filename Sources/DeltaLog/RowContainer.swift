// SPDX-License-Identifier: Apache-2.0

import Core

/// Up to 65,536 values of 16 bits, in the form that is smallest: the three kinds of the Roaring format.
enum RowContainer: Sendable, Hashable {
  struct Run: Sendable, Hashable {
    var first: UInt16
    var last: UInt16
  }

  /// Ascending; at most 4096.
  case array([UInt16])
  /// 1024 words, lowest value first, with the number of set bits.
  case bitmap([UInt64], count: Int)
  /// Ascending, apart from each other.
  case runs([Run])

  static let arrayLimit = 4096
  static let words = 1024

  var count: Int {
    switch self {
    case .array(let values): values.count
    case .bitmap(_, let count): count
    case .runs(let runs): runs.reduce(0) { $0 + Int($1.last) - Int($1.first) + 1 }
    }
  }

  func contains(_ value: UInt16) -> Bool {
    switch self {
    case .array(let values):
      var low = 0
      var high = values.count
      while low < high {
        let middle = (low + high) / 2
        if values[middle] < value { low = middle + 1 } else { high = middle }
      }
      return low < values.count && values[low] == value
    case .bitmap(let words, _): return words[Int(value >> 6)] >> UInt64(value & 63) & 1 == 1
    case .runs(let runs):
      var low = 0
      var high = runs.count
      while low < high {
        let middle = (low + high) / 2
        if runs[middle].last < value { low = middle + 1 } else { high = middle }
      }
      return low < runs.count && runs[low].first <= value
    }
  }

  func forEach(_ body: (UInt16) throws -> Void) rethrows {
    switch self {
    case .array(let values): for value in values { try body(value) }
    case .bitmap(let words, _):
      for (index, word) in words.enumerated() {
        var rest = word
        while rest != 0 {
          try body(UInt16(index << 6 + rest.trailingZeroBitCount))
          rest &= rest - 1
        }
      }
    case .runs(let runs): for run in runs { for value in run.first...run.last { try body(value) } }
    }
  }

  /// All values as bits.
  var bits: [UInt64] {
    if case .bitmap(let words, _) = self { return words }
    var words = [UInt64](repeating: 0, count: Self.words)
    if case .runs(let runs) = self {
      for run in runs { Self.fill(&words, Int(run.first), Int(run.last)) }
    } else {
      forEach { words[Int($0 >> 6)] |= 1 << UInt64($0 & 63) }
    }
    return words
  }

  private static func fill(_ words: inout [UInt64], _ first: Int, _ last: Int) {
    let (from, to) = (first >> 6, last >> 6)
    let head = ~UInt64(0) << UInt64(first & 63)
    let tail = ~UInt64(0) >> UInt64(63 - last & 63)
    if from == to {
      words[from] |= head & tail
    } else {
      words[from] |= head
      for index in (from + 1)..<to { words[index] = ~0 }
      words[to] |= tail
    }
  }

  func union(_ other: RowContainer) -> RowContainer {
    if case .array(let left) = self, case .array(let right) = other, left.count + right.count <= Self.arrayLimit {
      var merged: [UInt16] = []
      merged.reserveCapacity(left.count + right.count)
      var (i, j) = (0, 0)
      while i < left.count || j < right.count {
        if j == right.count || (i < left.count && left[i] < right[j]) {
          merged.append(left[i])
          i += 1
        } else {
          if i < left.count && left[i] == right[j] { i += 1 }
          merged.append(right[j])
          j += 1
        }
      }
      return .array(merged)
    }
    var words = bits
    for (index, word) in other.bits.enumerated() { words[index] |= word }
    return Self.bitmap(words, count: words.reduce(0) { $0 + $1.nonzeroBitCount })
  }

  private var runs: [Run] {
    if case .runs(let runs) = self { return runs }
    var runs: [Run] = []
    forEach { value in
      if let last = runs.last, Int(last.last) + 1 == Int(value) {
        runs[runs.count - 1].last = value
      } else {
        runs.append(Run(first: value, last: value))
      }
    }
    return runs
  }

  private var runCount: Int {
    if case .runs(let runs) = self { return runs.count }
    var count = 0
    var previous = -2
    forEach { value in
      if Int(value) != previous + 1 { count += 1 }
      previous = Int(value)
    }
    return count
  }

  /// The same values in the smallest form: 2 bytes a value, 8192 bytes, or 2 + 4 bytes a run.
  var smallest: RowContainer {
    let count = count
    let plain = count <= Self.arrayLimit ? 2 * count : 8192
    if 2 + 4 * runCount < plain { return .runs(runs) }
    if count <= Self.arrayLimit {
      if case .array = self { return self }
      var values: [UInt16] = []
      values.reserveCapacity(count)
      forEach { values.append($0) }
      return .array(values)
    }
    return .bitmap(bits, count: count)
  }
}
