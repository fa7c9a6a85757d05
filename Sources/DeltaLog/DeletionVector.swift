// SPDX-License-Identifier: Apache-2.0

import Core

/// A set of row positions in one data file, compressed ("Deletion Vector Format").
///
/// Values are kept by their upper 48 bits in `RowContainer`s, so 100 million adjacent rows take a few kilobytes.
public struct DeletionVector: Sendable, Hashable {
  struct Block: Sendable, Hashable {
    /// The value without its low 16 bits.
    var key: UInt64
    var rows: RowContainer
  }

  /// Ascending by key; none is empty.
  var blocks: [Block]

  /// The magic number in front of the portable 64-bit format.
  static let magic: UInt32 = 1_681_511_377
  /// The magic number of the older form.
  static let nativeMagic: UInt32 = 1_681_511_376
  private static let plainCookie: UInt32 = 12_346
  private static let runCookie: UInt32 = 12_347
  private static let offsetThreshold = 4

  public init() { blocks = [] }

  /// - Parameter rows: in any order, also repeated; each below 2^63.
  public init(_ rows: some Sequence<UInt64>) {
    let sorted = rows.sorted()
    blocks = []
    var index = 0
    while index < sorted.count {
      let key = sorted[index] >> 16
      precondition(key < 1 << 47, "a row position is below 2^63")
      var values: [UInt16] = []
      while index < sorted.count, sorted[index] >> 16 == key {
        let value = UInt16(truncatingIfNeeded: sorted[index])
        if values.last != value { values.append(value) }
        index += 1
      }
      let container: RowContainer
      if values.count <= RowContainer.arrayLimit {
        container = .array(values)
      } else {
        var words = [UInt64](repeating: 0, count: RowContainer.words)
        for value in values { words[Int(value >> 6)] |= 1 << UInt64(value & 63) }
        container = .bitmap(words, count: values.count)
      }
      blocks.append(Block(key: key, rows: container.smallest))
    }
  }

  public var isEmpty: Bool { blocks.isEmpty }
  public var cardinality: Int64 { blocks.reduce(0) { $0 + Int64($1.rows.count) } }

  /// The largest row of the set.
  public var last: UInt64? {
    guard let block = blocks.last else { return nil }
    var low: UInt16 = 0
    switch block.rows {
    case .array(let values): low = values[values.count - 1]
    case .runs(let runs): low = runs[runs.count - 1].last
    case .bitmap(let words, _):
      let index = words.lastIndex { $0 != 0 } ?? 0
      low = UInt16(index << 6 + 63 - words[index].leadingZeroBitCount)
    }
    return block.key << 16 | UInt64(low)
  }

  private func position(_ key: UInt64) -> Int {
    var low = 0
    var high = blocks.count
    while low < high {
      let middle = (low + high) / 2
      if blocks[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }

  public func contains(_ row: UInt64) -> Bool {
    let index = position(row >> 16)
    return index < blocks.count && blocks[index].key == row >> 16 && blocks[index].rows.contains(UInt16(truncatingIfNeeded: row))
  }

  /// Every row in ascending order.
  public func forEach(_ body: (UInt64) throws -> Void) rethrows {
    for block in blocks { try block.rows.forEach { try body(block.key << 16 | UInt64($0)) } }
  }

  /// Sets `deleted[i]` to 1 for every row `start + i` of the set; other entries are left alone.
  public func mark(_ deleted: UnsafeMutableBufferPointer<UInt8>, from start: UInt64) {
    guard !deleted.isEmpty else { return }
    let end = start + UInt64(deleted.count)
    var index = position(start >> 16)
    while index < blocks.count, blocks[index].key << 16 < end {
      blocks[index].rows.forEach { low in
        let row = blocks[index].key << 16 | UInt64(low)
        if row >= start && row < end { deleted[Int(row - start)] = 1 }
      }
      index += 1
    }
  }

  /// All rows below `count` but those that are in this set and not in `other`.
  public func allBut(without other: DeletionVector, below count: Int64) -> DeletionVector {
    var rest = DeletionVectorBuilder()
    for row in 0..<UInt64(max(0, count)) where !contains(row) || other.contains(row) { rest.append(row) }
    return rest.finish()
  }

  public mutating func formUnion(_ other: DeletionVector) { self = union(other) }

  public func union(_ other: DeletionVector) -> DeletionVector {
    var result = DeletionVector()
    var (i, j) = (0, 0)
    while i < blocks.count || j < other.blocks.count {
      if j == other.blocks.count || (i < blocks.count && blocks[i].key < other.blocks[j].key) {
        result.blocks.append(blocks[i])
        i += 1
      } else if i == blocks.count || other.blocks[j].key < blocks[i].key {
        result.blocks.append(other.blocks[j])
        j += 1
      } else {
        result.blocks.append(Block(key: blocks[i].key, rows: blocks[i].rows.union(other.blocks[j].rows).smallest))
        i += 1
        j += 1
      }
    }
    return result
  }

  // MARK: Serialised form

  /// Magic number and the portable 64-bit Roaring format (github.com/RoaringBitmap/RoaringFormatSpec).
  public func serialized() -> [UInt8] {
    var out: [UInt8] = []
    func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    var buckets: [Range<Int>] = []
    for index in blocks.indices {
      if let last = buckets.last, blocks[last.lowerBound].key >> 16 == blocks[index].key >> 16 {
        buckets[buckets.count - 1] = last.lowerBound..<index + 1
      } else {
        buckets.append(index..<index + 1)
      }
    }
    put(Self.magic)
    put(UInt64(buckets.count))
    for bucket in buckets {
      put(UInt32(truncatingIfNeeded: blocks[bucket.lowerBound].key >> 16))
      let containers = blocks[bucket].map { (key: UInt16(truncatingIfNeeded: $0.key), rows: $0.rows.smallest) }
      let start = out.count
      let hasRuns = containers.contains { if case .runs = $0.rows { true } else { false } }
      if hasRuns {
        put(Self.runCookie | UInt32(containers.count - 1) << 16)
        var flags = [UInt8](repeating: 0, count: (containers.count + 7) / 8)
        for (index, container) in containers.enumerated() {
          if case .runs = container.rows { flags[index / 8] |= 1 << UInt8(index % 8) }
        }
        out.append(contentsOf: flags)
      } else {
        put(Self.plainCookie)
        put(UInt32(containers.count))
      }
      for container in containers {
        put(container.key)
        put(UInt16(container.rows.count - 1))
      }
      let offsets = out.count
      let hasOffsets = !hasRuns || containers.count >= Self.offsetThreshold
      if hasOffsets { for _ in containers { put(UInt32(0)) } }
      for (index, container) in containers.enumerated() {
        if hasOffsets {
          withUnsafeBytes(of: UInt32(out.count - start).littleEndian) {
            out.replaceSubrange(offsets + 4 * index..<offsets + 4 * index + 4, with: $0)
          }
        }
        switch container.rows {
        case .array(let values): for value in values { put(value) }
        case .bitmap(let words, _): for word in words { put(word) }
        case .runs(let runs):
          put(UInt16(runs.count))
          for run in runs {
            put(run.first)
            put(run.last - run.first)
          }
        }
      }
    }
    return out
  }

  /// Reads what `serialized` writes, from any writer.
  /// - Throws: `invalidFile` naming the byte for anything that is no well-formed vector.
  public init(serialized bytes: [UInt8]) throws {
    var reader = Reader(bytes: bytes)
    let magic = try reader.u32()
    if magic.byteSwapped == Self.nativeMagic {
      blocks = []
      try readNative(&reader)
      return
    }
    guard magic == Self.magic else { throw reader.fault("the format \(magic) is unknown") }
    let buckets = try reader.u64()
    blocks = []
    var previous = -1
    // A bucket takes at least 16 bytes, so a false count ends with the bytes.
    for _ in 0..<buckets {
      let key = try reader.u32()
      guard key < 1 << 31, Int(key) > previous else { throw reader.fault("a bucket key is out of order") }
      previous = Int(key)
      try Self.readBucket(&reader, UInt64(key), &blocks)
    }
    guard reader.position == bytes.count else { throw reader.fault("bytes after the end") }
  }

  /// The older form, which the protocol's own example of an inline vector has: numbers with the big end first, and in front of each
  /// 32-bit bitmap its size instead of its key.
  private mutating func readNative(_ reader: inout Reader) throws {
    let buckets = try reader.u32().byteSwapped
    for key in 0..<UInt64(buckets) {
      let size = try reader.u32().byteSwapped
      let end = UInt64(reader.position) + UInt64(size)
      guard key < 1 << 31 else { throw reader.fault("too many buckets") }
      try Self.readBucket(&reader, key, &blocks)
      guard UInt64(reader.position) == end else { throw reader.fault("a bucket has another size than stated") }
    }
    guard reader.position == reader.bytes.count else { throw reader.fault("bytes after the end") }
  }

  private static func readBucket(_ reader: inout Reader, _ key: UInt64, _ blocks: inout [Block]) throws {
    let cookie = try reader.u32()
    var runFlags: ArraySlice<UInt8>?
    let size: Int
    if cookie & 0xFFFF == runCookie {
      size = Int(cookie >> 16) + 1
      runFlags = try reader.take((size + 7) / 8)
    } else if cookie == plainCookie {
      size = Int(try reader.u32())
      guard size <= 1 << 16 else { throw reader.fault("too many containers") }
    } else {
      throw reader.fault("the bitmap's cookie \(cookie) is unknown")
    }
    var header: [(key: UInt16, count: Int)] = []
    for _ in 0..<size {
      let own = try reader.u16()
      guard header.last.map({ $0.key < own }) ?? true else { throw reader.fault("a container key is out of order") }
      header.append((own, Int(try reader.u16()) + 1))
    }
    // Containers follow each other without gaps; the offsets are only for readers that skip.
    if runFlags == nil || size >= offsetThreshold { _ = try reader.take(4 * size) }
    for (index, item) in header.enumerated() {
      let rows: RowContainer
      if let flags = runFlags, flags[flags.startIndex + index / 8] >> UInt8(index % 8) & 1 == 1 {
        rows = try reader.runs(item.count)
      } else if item.count <= RowContainer.arrayLimit {
        rows = try reader.array(item.count)
      } else {
        rows = try reader.bitmap(item.count)
      }
      blocks.append(Block(key: key << 16 | UInt64(item.key), rows: rows))
    }
  }

  /// Little-endian values from bytes, each read checked.
  private struct Reader {
    let bytes: [UInt8]
    var position = 0

    func fault(_ what: String) -> PlatformError {
      PlatformError(.invalidFile, "a deletion vector is damaged: \(what) at byte \(position)")
    }

    mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
      guard count <= bytes.count - position else { throw fault("it ends early") }
      defer { position += count }
      return bytes[position..<position + count]
    }

    private mutating func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
      let piece = try take(MemoryLayout<T>.size)
      return piece.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(as: T.self)) }
    }

    mutating func u16() throws -> UInt16 { try integer(UInt16.self) }
    mutating func u32() throws -> UInt32 { try integer(UInt32.self) }
    mutating func u64() throws -> UInt64 { try integer(UInt64.self) }

    mutating func array(_ count: Int) throws -> RowContainer {
      let piece = try take(2 * count)
      let values = piece.withUnsafeBytes { raw in
        (0..<count).map { UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) }
      }
      for index in 1..<max(1, count) where values[index - 1] >= values[index] { throw fault("rows are out of order") }
      return .array(values)
    }

    mutating func bitmap(_ count: Int) throws -> RowContainer {
      let piece = try take(8 * RowContainer.words)
      let words = piece.withUnsafeBytes { raw in
        (0..<RowContainer.words).map { UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self)) }
      }
      guard words.reduce(0, { $0 + $1.nonzeroBitCount }) == count else { throw fault("a bitmap has another count than stated") }
      return .bitmap(words, count: count)
    }

    mutating func runs(_ count: Int) throws -> RowContainer {
      let size = Int(try u16())
      var runs: [RowContainer.Run] = []
      var total = 0
      for _ in 0..<size {
        let first = try u16()
        let more = try u16()
        let (last, overflow) = first.addingReportingOverflow(more)
        guard !overflow, runs.last.map({ $0.last < first }) ?? true else { throw fault("a run is out of order") }
        runs.append(RowContainer.Run(first: first, last: last))
        total += Int(more) + 1
      }
      guard total == count else { throw fault("runs have another count than stated") }
      return .runs(runs)
    }
  }
}
