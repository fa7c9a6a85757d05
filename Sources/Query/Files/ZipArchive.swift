// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The members of a zip file (PKWARE's APPNOTE.TXT 6.3.10): stored or deflated, with the extensions for large files. Sizes are taken
/// from the central directory and held against what comes out; names are never used as paths.
struct ZipArchive {
  struct Failure: Error {
    var reason: String
  }

  struct Member {
    var name: String
    var flags: UInt16
    var method: UInt16
    var checksum: UInt32
    var packedBytes: Int64
    var bytes: Int64
    var headerOffset: Int64
  }

  /// What becomes more than a thousand times its size is no data that somebody packed: 1032 is what deflate can do at most.
  static let ratioLimit: Int64 = 1000
  /// Below this size the ratio is not looked at: a file of blanks packs well.
  static let ratioFreeBytes: Int64 = 10 << 20
  static let memberLimit = 10_000
  static let directoryLimit: Int64 = 64 << 20

  private let descriptor: Int32
  private let size: Int64
  let members: [Member]

  /// - Throws: `Failure`.
  init(_ descriptor: Int32) throws {
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw Failure(reason: "the file cannot be read") }
    self.descriptor = descriptor
    size = Int64(info.st_size)
    members = try Self.directory(descriptor, size)
  }

  private static let damaged = Failure(reason: "damaged zip archive")

  private static func read(_ descriptor: Int32, _ offset: Int64, _ count: Int64, _ size: Int64) throws -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else { throw damaged }
    var bytes = [UInt8](repeating: 0, count: Int(count))
    var done = 0
    while done < bytes.count {
      let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(offset) + off_t(done)) }
      guard got > 0 else { throw damaged }
      done += got
    }
    return bytes
  }

  private struct Fields {
    var bytes: [UInt8]
    func number(_ at: Int, _ width: Int) throws -> UInt64 {
      guard at >= 0, at + width <= bytes.count else { throw damaged }
      return (0..<width).reversed().reduce(UInt64(0)) { sum, index in sum << 8 | UInt64(bytes[at + index]) }
    }
    func length(_ at: Int, _ width: Int) throws -> Int64 {
      guard let value = Int64(exactly: try number(at, width)) else { throw damaged }
      return value
    }
  }

  // MARK: the directory

  /// Whether the end record begins at `at`: its mark, and a comment that takes the rest of the file.
  private static func isEnd(_ bytes: [UInt8], _ at: Int) -> Bool {
    guard bytes[at] == 0x50, bytes[at + 1] == 0x4B, bytes[at + 2] == 5, bytes[at + 3] == 6 else { return false }
    let comment = Int(bytes[at + 20]) | Int(bytes[at + 21]) << 8
    return at + 22 + comment == bytes.count
  }

  private static func directory(_ descriptor: Int32, _ size: Int64) throws -> [Member] {
    // The end record is the last thing in the file, but for a comment of at most 65535 bytes.
    let tail = min(size, 22 + 65_535)
    let end = Fields(bytes: try read(descriptor, size - tail, tail, size))
    guard end.bytes.count >= 22, let at = stride(from: end.bytes.count - 22, through: 0, by: -1).first(where: { isEnd(end.bytes, $0) }) else {
      throw Failure(reason: "not a zip archive")
    }
    guard try end.number(at + 4, 2) == 0 || end.number(at + 4, 2) == 0xFFFF else { throw Failure(reason: "a part of a divided zip archive") }
    var count = try end.length(at + 10, 2)
    var length = try end.length(at + 12, 4)
    var offset = try end.length(at + 16, 4)
    if count == 0xFFFF || length == 0xFFFF_FFFF || offset == 0xFFFF_FFFF, at >= 20 {
      let locator = Fields(bytes: Array(end.bytes[(at - 20)..<at]))
      if try locator.number(0, 4) == 0x0706_4B50 {
        let large = Fields(bytes: try read(descriptor, locator.length(8, 8), 56, size))
        guard try large.number(0, 4) == 0x0606_4B50 else { throw damaged }
        (count, length, offset) = (try large.length(32, 8), try large.length(40, 8), try large.length(48, 8))
      }
    }
    guard count <= memberLimit else { throw Failure(reason: "the zip archive has more than \(memberLimit) members") }
    guard length <= directoryLimit else { throw damaged }
    let list = Fields(bytes: try read(descriptor, offset, length, size))
    var members: [Member] = []
    var position = 0
    for _ in 0..<count {
      guard try list.number(position, 4) == 0x0201_4B50 else { throw damaged }
      let (nameLength, extraLength, commentLength) = (
        Int(try list.number(position + 28, 2)), Int(try list.number(position + 30, 2)), Int(try list.number(position + 32, 2))
      )
      let start = position + 46
      guard start + nameLength + extraLength + commentLength <= list.bytes.count else { throw damaged }
      var member = Member(
        name: String(decoding: list.bytes[start..<start + nameLength], as: UTF8.self), flags: UInt16(try list.number(position + 8, 2)),
        method: UInt16(try list.number(position + 10, 2)), checksum: UInt32(try list.number(position + 16, 4)),
        packedBytes: try list.length(position + 20, 4), bytes: try list.length(position + 24, 4), headerOffset: try list.length(position + 42, 4))
      try enlarge(&member, Fields(bytes: Array(list.bytes[(start + nameLength)..<(start + nameLength + extraLength)])))
      members.append(member)
      position = start + nameLength + extraLength + commentLength
    }
    // Members that share their bytes make much of little.
    var end64: Int64 = 0
    for member in members.sorted(by: { $0.headerOffset < $1.headerOffset }) {
      guard member.headerOffset >= end64, member.packedBytes <= size, member.headerOffset <= size - member.packedBytes else { throw damaged }
      end64 = member.headerOffset + 30 + member.packedBytes
    }
    return members
  }

  /// Sizes of 64 bits stand in a field of their own, those only that did not fit.
  private static func enlarge(_ member: inout Member, _ extra: Fields) throws {
    var at = 0
    while at + 4 <= extra.bytes.count {
      let (kind, length) = (try extra.number(at, 2), Int(try extra.number(at + 2, 2)))
      guard at + 4 + length <= extra.bytes.count else { throw damaged }
      if kind == 1 {
        let field = Fields(bytes: Array(extra.bytes[(at + 4)..<(at + 4 + length)]))
        var next = 0
        for key in [\Member.bytes, \Member.packedBytes, \Member.headerOffset] where member[keyPath: key] == 0xFFFF_FFFF {
          member[keyPath: key] = try field.length(next, 8)
          next += 8
        }
      }
      at += 4 + length
    }
  }

  // MARK: members

  /// Writes the member's bytes into a new file.
  /// - Parameter limit: of all that may come out.
  /// - Throws: `Failure`; what keeps the file from being written.
  func extract(_ member: Member, to path: String, limit: Int64) throws {
    guard member.flags & 1 == 0, member.method != 99 else { throw Failure(reason: "'\(member.name.prefix(200))' in the zip archive is encrypted") }
    guard member.method == 0 || member.method == 8 else {
      throw Failure(reason: "'\(member.name.prefix(200))' in the zip archive is packed by method \(member.method): only deflate is read")
    }
    guard member.bytes <= Self.ratioFreeBytes || member.bytes / Self.ratioLimit <= member.packedBytes else {
      throw Failure(reason: "'\(member.name.prefix(200))' in the zip archive becomes more than \(Self.ratioLimit) times its size")
    }
    guard member.bytes <= limit else { throw Failure(reason: "the zip archive becomes more than \(limit >> 20) MB") }
    let header = Fields(bytes: try Self.read(descriptor, member.headerOffset, 30, size))
    guard try header.number(0, 4) == 0x0403_4B50 else { throw Self.damaged }
    let start = member.headerOffset + 30 + (try header.length(26, 2)) + (try header.length(28, 2))
    guard start <= size, member.packedBytes <= size - start else { throw Self.damaged }
    let output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("write", path) }
    defer { close(output) }
    do {
      let (checksum, bytes) = try GzipReader.copy(
        descriptor, start..<(start + member.packedBytes), isPacked: member.method == 8, to: output, path, limit: member.bytes)
      guard checksum == member.checksum, bytes == member.bytes else { throw GzipReader.Failure.damaged }
    } catch {
      unlink(path)
      guard let failure = error as? GzipReader.Failure else { throw error }
      throw Failure(reason: "'\(member.name.prefix(200))' in the zip archive is damaged" + (failure == .tooLarge ? ": it is larger than it says" : ""))
    }
  }
}
