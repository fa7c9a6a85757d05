// SPDX-License-Identifier: Apache-2.0

import Core

/// Reads FlatBuffers (flatbuffers.dev, "Internals"): little-endian numbers and tables whose members are found through a list of offsets.
/// Every access is checked against the end.
struct FlatBytes {
  private let bytes: [UInt8]
  var count: Int { bytes.count }

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  static func damage(_ at: Int, _ what: String) -> PlatformError {
    PlatformError(.invalidFile, "the Arrow stream is damaged at byte \(at): \(what)", number: "PLT-3123")
  }

  private func word<T: FixedWidthInteger>(_ at: Int, _ type: T.Type = T.self) throws -> T {
    let size = MemoryLayout<T>.size
    guard at >= 0, at <= bytes.count - size else { throw Self.damage(at, "it ends too early") }
    return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self)) }
  }

  func uint8(_ at: Int) throws -> UInt8 { try word(at) }
  func int16(_ at: Int) throws -> Int16 { try word(at) }
  func uint16(_ at: Int) throws -> UInt16 { try word(at) }
  func int32(_ at: Int) throws -> Int32 { try word(at) }
  func uint32(_ at: Int) throws -> UInt32 { try word(at) }
  func int64(_ at: Int) throws -> Int64 { try word(at) }
  func int128(_ at: Int) throws -> Int128 { Int128(try int64(at + 8)) << 64 | Int128(UInt64(bitPattern: try int64(at))) }

  /// The range has been checked before.
  func slice(_ range: Range<Int>) -> ArraySlice<UInt8> { bytes[range.clamped(to: 0..<bytes.count)] }

  /// The outermost table of a buffer that begins at `at`.
  func root(_ at: Int) throws -> FlatTable { try table(at: at) }

  /// The table that the offset at `at` leads to.
  func table(at place: Int) throws -> FlatTable {
    let start = place + Int(try uint32(place))
    let (list, over) = start.subtractingReportingOverflow(Int(try int32(start)))
    guard !over, list >= 0 else { throw Self.damage(start, "a table has no members") }
    return FlatTable(bytes: self, at: start, list: list, size: Int(try uint16(list)))
  }
}

/// One table.
struct FlatTable {
  let bytes: FlatBytes
  let at: Int
  fileprivate let list: Int
  fileprivate let size: Int

  fileprivate init(bytes: FlatBytes, at: Int, list: Int, size: Int) {
    self.bytes = bytes
    self.at = at
    self.list = list
    self.size = size
  }

  /// Where a member lies; nil: it has its standard value.
  private func place(_ member: Int) throws -> Int? {
    let entry = 4 + member * 2
    guard entry + 2 <= size else { return nil }
    let offset = Int(try bytes.uint16(list + entry))
    return offset == 0 ? nil : at + offset
  }

  func uint8(_ member: Int) throws -> UInt8? { try place(member).map { try bytes.uint8($0) } }
  func int16(_ member: Int) throws -> Int16? { try place(member).map { try bytes.int16($0) } }
  func int32(_ member: Int) throws -> Int32? { try place(member).map { try bytes.int32($0) } }
  func int64(_ member: Int) throws -> Int64? { try place(member).map { try bytes.int64($0) } }
  func table(_ member: Int) throws -> FlatTable? { try place(member).map { try bytes.table(at: $0) } }

  private func vector(_ member: Int, size: Int) throws -> (start: Int, count: Int)? {
    guard let place = try place(member) else { return nil }
    let start = place + Int(try bytes.uint32(place))
    let count = Int(try bytes.uint32(start))
    guard count * size <= bytes.count - start - 4 else { throw FlatBytes.damage(start, "a list is longer than the stream") }
    return (start + 4, count)
  }

  func string(_ member: Int) throws -> String? {
    guard let (start, count) = try vector(member, size: 1) else { return nil }
    return String(decoding: bytes.slice(start..<start + count), as: UTF8.self)
  }

  func tables(_ member: Int) throws -> [FlatTable] {
    guard let (start, count) = try vector(member, size: 4) else { return [] }
    return try (0..<count).map { try bytes.table(at: start + $0 * 4) }
  }

  /// Where each struct of a list lies.
  func structs(_ member: Int, size: Int) throws -> [Int] {
    guard let (start, count) = try vector(member, size: size) else { return [] }
    return (0..<count).map { start + $0 * size }
  }
}
