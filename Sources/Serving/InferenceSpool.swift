// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The local, bounded file queue in front of the inference log: a record is in the file system before its reply ends, so
/// it survives kill -9 of the process and any absence of Postgres.
///
/// Records are frames of {length u32, CRC-32 u32, JSON}, little endian, in numbered segments. The active segment is
/// sealed when it is drained; a segment is deleted only after its records are stored. A torn last frame (the process
/// died inside `write`, before the reply) is skipped.
public final class InferenceSpool: Sendable {
  private struct State {
    var descriptor: Int32 = -1
    var active = ""
    var activeRecords = 0
    var bytes: Int64 = 0
    var sequence: UInt64 = 0
    var dropped: Int64 = 0
  }

  public let directory: String
  /// Above this many bytes new records are dropped and counted: serving goes on, memory and disk stay bounded.
  public let byteLimit: Int64
  private let state = Mutex(State())

  /// - Throws: `badConfiguration` when the folder cannot be made.
  public init(directory: String, byteLimit: Int64 = 256 << 20) throws {
    self.directory = directory
    self.byteLimit = byteLimit
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PlatformError(.badConfiguration, "cannot create the inference spool: \(error.localizedDescription)", path: directory)
    }
    let left = Self.segments(in: directory)
    let newest = left.compactMap { UInt64($0.dropLast(6).drop { !$0.isNumber }) }.max() ?? 0
    let bytes = left.reduce(Int64(0)) { $0 + Self.size(of: directory + "/" + $1) }
    state.withLock {
      $0.sequence = newest
      $0.bytes = bytes
    }
  }

  deinit {
    state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } }
  }

  /// Number of records that were dropped because the spool was full or the disk refused them.
  public var dropped: Int64 { state.withLock { $0.dropped } }
  /// Bytes that wait to be stored.
  public var pendingBytes: Int64 { state.withLock { $0.bytes } }

  /// Appends one record with a single `write`. Never throws: a request must not fail for its log; losses are counted.
  public func append(_ record: InferenceLogRecord) {
    guard let json = try? JSONEncoder.platform.encode(record) else {  // only possible for NaN durations: count it
      state.withLock { $0.dropped += 1 }
      return
    }
    var frame = Data(capacity: json.count + 8)
    for word in [UInt32(json.count), CRC32.checksum(json)] { withUnsafeBytes(of: word.littleEndian) { frame.append(contentsOf: $0) } }
    frame.append(json)
    state.withLock { state in
      guard state.bytes + Int64(frame.count) <= byteLimit else {
        state.dropped += 1
        return
      }
      var info = stat()
      if state.descriptor >= 0, fstat(state.descriptor, &info) == 0, info.st_nlink == 0 {
        // A successor has stored the segment: this process was taken for dead.
        close(state.descriptor)
        state.descriptor = -1
      }
      while state.descriptor < 0 {
        state.sequence += 1
        state.active = Self.segmentName(state.sequence)
        state.descriptor = open(directory + "/" + state.active, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        if state.descriptor < 0, errno != EEXIST { break }
      }
      let written = frame.withUnsafeBytes { write(state.descriptor, $0.baseAddress, $0.count) }
      if written == frame.count {
        state.bytes += Int64(frame.count)
        state.activeRecords += 1
      } else {
        state.dropped += 1
      }
    }
  }

  /// Seals the active segment and returns all sealed ones, oldest first, with their readable records.
  public func drain() -> [(segment: String, records: [InferenceLogRecord])] {
    state.withLock { state in
      if state.descriptor >= 0 && state.activeRecords > 0 {
        close(state.descriptor)
        state.descriptor = -1
        state.active = ""
        state.activeRecords = 0
      }
    }
    let active = state.withLock { $0.active }
    return Self.segments(in: directory).filter { $0 != active }.map { name in
      (name, Self.read(directory + "/" + name))
    }
  }

  /// The records of `segment` are stored: forget them.
  public func remove(_ segment: String) {
    let path = directory + "/" + segment
    let size = Self.size(of: path)
    if unlink(path) == 0 { state.withLock { $0.bytes = max(0, $0.bytes - size) } }
  }

  static func segmentName(_ sequence: UInt64) -> String {
    let digits = String(sequence)
    return "inference-" + String(repeating: "0", count: max(0, 12 - digits.count)) + digits + ".spool"
  }

  private static func segments(in directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [])  // a missing folder holds no segment
      .filter { $0.hasPrefix("inference-") && $0.hasSuffix(".spool") }.sorted()
  }

  private static func size(of path: String) -> Int64 {
    var info = stat()
    return stat(path, &info) == 0 ? Int64(info.st_size) : 0
  }

  private static func read(_ path: String) -> [InferenceLogRecord] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    var records: [InferenceLogRecord] = []
    var offset = 0
    while offset + 8 <= data.count {
      let length = Int(data.littleEndianWord(at: offset))
      let checksum = data.littleEndianWord(at: offset + 4)
      guard length <= data.count - offset - 8 else { break }
      let body = data.subdata(in: offset + 8..<offset + 8 + length)
      offset += 8 + length
      guard CRC32.checksum(body) == checksum,
        let record = try? JSONDecoder.platform.decode(InferenceLogRecord.self, from: body)  // a damaged frame is skipped
      else { continue }
      records.append(record)
    }
    return records
  }
}

extension Data {
  fileprivate func littleEndianWord(at offset: Int) -> UInt32 {
    (0..<4).reduce(UInt32(0)) { $0 | UInt32(self[startIndex + offset + $1]) << UInt32(8 * $1) }
  }
}

/// CRC-32 (IEEE 802.3, reflected), by table.
enum CRC32 {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
  }

  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { Self.table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ ($0 >> 8) }
  }
}
