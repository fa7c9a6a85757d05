// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Writes a safetensors file: collect tensors with `add`, then `write(to:)`.
///
/// The bytes depend only on the tensors and the metadata: larger element types first, then by name, so that every
/// tensor is aligned to its element and the data to 8 bytes.
public struct SafeTensorsWriter {
  private struct Entry {
    var dtype: DType
    var shape: [Int]
    var byteCount: Int
    /// Calls its argument with the data.
    var data: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
  }

  public var metadata: [String: String]
  private var entries: [String: Entry] = [:]

  public init(metadata: [String: String] = ["format": "pt"]) { self.metadata = metadata }

  /// - Throws: `invalidArgument` when the name is taken or `shape` does not hold `values.count` elements; so do the others.
  public mutating func add(_ name: String, shape: [Int], _ values: [Float]) throws {
    try insert(name, .f32, shape, values.count * 4) { body in try values.withUnsafeBytes(body) }
  }

  public mutating func add(_ name: String, shape: [Int], _ values: [Int32]) throws {
    try insert(name, .i32, shape, values.count * 4) { body in try values.withUnsafeBytes(body) }
  }

  public mutating func add(_ name: String, shape: [Int], _ values: [Int64]) throws {
    try insert(name, .i64, shape, values.count * 8) { body in try values.withUnsafeBytes(body) }
  }

  /// Without a copy: `bytes` must stay valid and unchanged until `write(to:)` has returned.
  public mutating func add(_ name: String, dtype: DType, shape: [Int], borrowing bytes: UnsafeRawBufferPointer) throws {
    try insert(name, dtype, shape, bytes.count) { body in try body(bytes) }
  }

  private mutating func insert(
    _ name: String, _ dtype: DType, _ shape: [Int], _ byteCount: Int,
    _ data: @escaping ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) throws {
    guard name != "__metadata__", entries[name] == nil else {
      throw PlatformError(.invalidArgument, "a tensor named '\(name)' cannot be added (again)")
    }
    var needed = dtype.byteCount
    for dimension in shape {
      let (product, overflow) = needed.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else {
        throw PlatformError(.invalidArgument, "tensor '\(name)' cannot have shape \(shape)")
      }
      needed = product
    }
    guard needed == byteCount else {
      throw PlatformError(
        .invalidArgument, "tensor '\(name)' of shape \(shape) needs \(needed) bytes of \(dtype.rawValue), got \(byteCount)")
    }
    entries[name] = Entry(dtype: dtype, shape: shape, byteCount: byteCount, data: data)
  }

  /// Writes a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder; returns the size.
  /// After a failure `path` is what it was before. Blocks.
  /// - Throws: `resourceExhausted` when the disk is full, `unavailable` for other I/O errors.
  @discardableResult
  public func write(to path: String) throws -> Int {
    let ordered = entries.sorted {
      ($1.value.dtype.byteCount, $0.key) < ($0.value.dtype.byteCount, $1.key)
    }
    let header = headerBytes(ordered.map { ($0.key, $0.value) })
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileFailure.general("creating", temporary, errno) }
    var total = 0
    do {
      defer { close(descriptor) }
      try header.withUnsafeBytes { try Self.writeAll(descriptor, $0, temporary) }
      total = header.count
      for (_, entry) in ordered {
        try entry.data { try Self.writeAll(descriptor, $0, temporary) }
        total += entry.byteCount
      }
      guard fsync(descriptor) == 0 else { throw FileFailure.general("syncing", temporary, errno) }
      guard rename(temporary, path) == 0 else { throw FileFailure.general("renaming", path, errno) }
    } catch {
      unlink(temporary)
      throw error
    }
    Self.syncFolder(of: path)
    return total
  }

  private func headerBytes(_ ordered: [(String, Entry)]) -> [UInt8] {
    var members: [String: JSONValue] = [:]
    if !metadata.isEmpty { members["__metadata__"] = .object(metadata.mapValues { .string($0) }) }
    var position = 0
    for (name, entry) in ordered {
      let end = position + entry.byteCount
      members[name] = [
        "dtype": .string(entry.dtype.rawValue), "shape": .array(entry.shape.map { .integer(Int64($0)) }),
        "data_offsets": [.integer(Int64(position)), .integer(Int64(end))],
      ]
      position = end
    }
    var text = Array(JSONValue.object(members).sortedText.utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }

  private static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, _ path: String) throws {
    var done = 0
    while done < bytes.count, let base = bytes.baseAddress {
      let count = Foundation.write(descriptor, base + done, min(bytes.count - done, 1 << 30))
      if count < 0 {
        if errno == EINTR { continue }
        throw FileFailure.general("writing", path, errno)
      }
      done += count
    }
  }

  /// Makes the rename durable. A file system that cannot sync folders has renamed all the same.
  private static func syncFolder(of path: String) {
    let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = fsync(descriptor)
    close(descriptor)
  }
}
