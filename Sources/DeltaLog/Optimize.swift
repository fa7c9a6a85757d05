// SPDX-License-Identifier: Apache-2.0

import Core

/// Which files to put together (bin-packing). Pure.
public struct Optimize: Sendable {
  /// Files of this size and above are left alone.
  public var minimumFileSize: Int64
  /// What the new files should have.
  public var targetFileSize: Int64
  /// A file that has lost at least this share of its rows is rewritten alone, too.
  public var deletedShare: Double

  public init(minimumFileSize: Int64? = nil, targetFileSize: Int64 = 256 << 20, deletedShare: Double = 0.05) {
    self.targetFileSize = max(1, targetFileSize)
    self.minimumFileSize = minimumFileSize ?? self.targetFileSize
    self.deletedShare = deletedShare
  }

  /// Files of one partition that become one.
  public struct Bin: Sendable, Hashable {
    public var partitionValues: [String: String?]
    public var files: [AddFile]
    public var sizeInBytes: Int64 { files.reduce(0) { $0.addingReportingOverflow($1.size).partialValue } }
  }

  /// Whether a file's deletion vector alone makes it worth rewriting.
  func isWorn(_ file: AddFile) -> Bool {
    guard let deleted = file.deletionVector?.cardinality, deleted > 0 else { return false }
    guard let rows = file.physicalRowCount, rows > 0 else { return true }
    return Double(deleted) / Double(rows) >= deletedShare
  }

  /// The bins, by partition; each has several files, or one that is worn. The same files always give the same bins.
  public func bins(_ files: [AddFile]) -> [Bin] {
    var partitions: [[String: String?]: [AddFile]] = [:]
    for file in files where file.size < minimumFileSize || isWorn(file) { partitions[file.partitionValues, default: []].append(file) }
    var bins: [Bin] = []
    for (values, candidates) in partitions {
      var open: [AddFile] = []
      var size: Int64 = 0
      for file in candidates.sorted(by: { ($0.size, $0.path) < ($1.size, $1.path) }) {
        let (sum, overflow) = size.addingReportingOverflow(file.size)
        if !open.isEmpty && (overflow || sum > targetFileSize) {
          bins.append(Bin(partitionValues: values, files: open))
          (open, size) = ([], 0)
        }
        open.append(file)
        size = size.addingReportingOverflow(file.size).partialValue
      }
      if !open.isEmpty { bins.append(Bin(partitionValues: values, files: open)) }
    }
    return bins.filter { $0.files.count > 1 || isWorn($0.files[0]) }.sorted { $0.files[0].path < $1.files[0].path }
  }
}

/// Keys that keep rows together which are near in several columns at once. Pure.
public enum SpaceFillingCurve {
  /// The rank of a value among `boundaries` (ascending): how many are not above it. Ranks, not values, go into the curves, so
  /// that skewed columns count as much as even ones.
  public static func rank<T: Comparable>(_ value: T, _ boundaries: [T]) -> UInt32 {
    var low = 0
    var high = boundaries.count
    while low < high {
      let middle = (low + high) / 2
      if boundaries[middle] <= value { low = middle + 1 } else { high = middle }
    }
    return UInt32(clamping: low)
  }

  /// Z-order (Morton): the bits of all ranks, highest first, column by column.
  /// - Returns: four bytes a column; keys compare byte by byte.
  public static func zOrder(_ ranks: [UInt32]) -> [UInt8] {
    var key = [UInt8](repeating: 0, count: 4 * ranks.count)
    var position = 0
    for bit in stride(from: 31, through: 0, by: -1) {
      for rank in ranks {
        if rank >> UInt32(bit) & 1 == 1 { key[position >> 3] |= 0x80 >> UInt8(position & 7) }
        position += 1
      }
    }
    return key
  }

  /// The Hilbert curve (J. Skilling, "Programming the Hilbert curve", 2004): unlike Z-order it has no jumps.
  /// - Parameters:
  ///   - ranks: each below 2^bits.
  ///   - bits: 1 to 32.
  /// - Returns: the position on the curve, high bits first, filled up to whole bytes at the front.
  public static func hilbert(_ ranks: [UInt32], bits: Int) -> [UInt8] {
    guard !ranks.isEmpty, (1...32).contains(bits) else { return [] }
    var x = ranks
    let count = x.count
    let top = UInt32(1) << UInt32(bits - 1)
    // Undo excess work of the inverse transform.
    var q = top
    while q > 1 {
      let mask = q - 1
      for index in 0..<count {
        if x[index] & q != 0 {
          x[0] ^= mask
        } else {
          let swapped = (x[0] ^ x[index]) & mask
          x[0] ^= swapped
          x[index] ^= swapped
        }
      }
      q >>= 1
    }
    // Gray code.
    for index in 1..<max(1, count) { x[index] ^= x[index - 1] }
    var last: UInt32 = 0
    q = top
    while q > 1 {
      if x[count - 1] & q != 0 { last ^= q - 1 }
      q >>= 1
    }
    for index in 0..<count { x[index] ^= last }
    // The bits of the transposed form, highest first.
    let total = bits * count
    var key = [UInt8](repeating: 0, count: (total + 7) / 8)
    var position = key.count * 8 - total
    for bit in stride(from: bits - 1, through: 0, by: -1) {
      for index in 0..<count {
        if x[index] >> UInt32(bit) & 1 == 1 { key[position >> 3] |= 0x80 >> UInt8(position & 7) }
        position += 1
      }
    }
    return key
  }
}
