// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation

/// One tensor inside a mapped file of weights. Keeps the mapping alive.
public struct SafeTensorView: @unchecked Sendable {  // points into read-only memory that `owner` keeps
  public let name: String
  /// Of the elements; f32 for those of `blocks`, which become f32 when they are read.
  public let dtype: DType
  /// How quantized weights are stored; nil for plain elements.
  public let blocks: BlockFormat?
  /// Row-major dimensions, outermost first. A scalar has none.
  public let shape: [Int]
  /// First byte of the data; only as aligned as the file's header made it, so read it with unaligned loads.
  public let rawBytes: UnsafeRawPointer
  public let byteCount: Int
  let owner: AnyObject
  public let path: String

  init(
    name: String, dtype: DType, blocks: BlockFormat? = nil, shape: [Int], rawBytes: UnsafeRawPointer, byteCount: Int, owner: AnyObject, path: String
  ) {
    self.name = name
    self.dtype = dtype
    self.blocks = blocks
    self.shape = shape
    self.rawBytes = rawBytes
    self.byteCount = byteCount
    self.owner = owner
    self.path = path
  }

  public var elementCount: Int { blocks.map { byteCount / $0.byteCount * $0.weightCount } ?? byteCount / dtype.byteCount }

  /// One of the outermost axis's slices; nil when there is no such slice.
  public func slice(_ index: Int) -> SafeTensorView? {
    guard let count = shape.first, index >= 0, index < count else { return nil }
    let size = byteCount / count
    return SafeTensorView(
      name: name, dtype: dtype, blocks: blocks, shape: Array(shape.dropFirst()), rawBytes: rawBytes + index * size, byteCount: size, owner: owner, path: path)
  }

  /// A copy in memory whose row `i` of the outermost axis is row `place(i)` of this one; the file's pages are given back.
  public func rows(_ place: (Int) -> Int) -> SafeTensorView {
    guard let count = shape.first, count > 0 else { return self }
    let size = byteCount / count
    let copy = OwnedBytes(byteCount)
    for row in 0..<count { (copy.start + row * size).copyMemory(from: rawBytes + place(row) * size, byteCount: size) }
    dropPages()
    return SafeTensorView(
      name: name, dtype: dtype, blocks: blocks, shape: shape, rawBytes: UnsafeRawPointer(copy.start), byteCount: byteCount, owner: copy, path: path)
  }

  /// Converts (f32, f16, bf16, f64) into `destination`: [elementCount] f32. Single-threaded, bandwidth-bound.
  /// - Throws: `invalidFile` when the tensor holds integers.
  public func copyFloat32(into destination: UnsafeMutablePointer<Float>) throws {
    if let blocks { return blocks.copyFloat32(rawBytes, from: 0, count: elementCount, into: destination) }
    switch dtype {
    case .f32: memcpy(destination, rawBytes, byteCount)
    case .f16: pk_f16_to_f32(rawBytes, destination, elementCount)
    case .bf16: pk_bf16_to_f32(rawBytes, destination, elementCount)
    case .f64: pk_f64_to_f32(rawBytes, destination, elementCount)
    default:
      throw PlatformError(
        .invalidFile, "tensor '\(name)' holds \(dtype.rawValue), not floating point", number: "PLT-4101", path: path)
    }
  }

  /// Converts `count` elements from element `first` on into `destination`.
  /// - Throws: `invalidFile` when the tensor holds integers, `invalidArgument` for elements that it does not have.
  public func copyFloat32(into destination: UnsafeMutablePointer<Float>, from first: Int, count: Int) throws {
    guard first >= 0, count >= 0, first <= elementCount, count <= elementCount - first else {
      throw PlatformError(.invalidArgument, "tensor '\(name)' has \(elementCount) elements, not \(count) from \(first) on", path: path)
    }
    if let blocks { return blocks.copyFloat32(rawBytes, from: first, count: count, into: destination) }
    let part = SafeTensorView(
      name: name, dtype: dtype, shape: [count], rawBytes: rawBytes + first * dtype.byteCount, byteCount: count * dtype.byteCount, owner: owner, path: path)
    try part.copyFloat32(into: destination)
  }

  /// Gives the memory of a mapped file's pages back that hold these elements, and of those around them; they are read again when they are asked for.
  public func dropPages(from first: Int = 0, count: Int? = nil) {
    guard let file = owner as? MappedFile else { return }
    func place(_ element: Int) -> Int { blocks.map { element / $0.weightCount * $0.byteCount } ?? element * dtype.byteCount }
    let (begin, end) = (place(first), min(place(first + (count ?? elementCount)), byteCount))
    if begin < end { file.dropPages(rawBytes + begin, end - begin) }
  }

  /// The elements as f32.
  /// - Throws: `invalidFile` when the tensor holds integers.
  public func float32() throws -> [Float] {
    try [Float](unsafeUninitializedCapacity: elementCount) { buffer, count in
      if let base = buffer.baseAddress, byteCount > 0 { try copyFloat32(into: base) }
      count = elementCount
    }
  }

  /// The elements of an i32 or i64 tensor.
  /// - Throws: `invalidFile` for other types.
  public func int64() throws -> [Int64] {
    switch dtype {
    case .i64: return (0..<elementCount).map { rawBytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self) }
    case .i32: return (0..<elementCount).map { Int64(rawBytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
    default:
      throw PlatformError(
        .invalidFile, "tensor '\(name)' holds \(dtype.rawValue), not i32 or i64", number: "PLT-4101", path: path)
    }
  }
}

/// Memory that is freed with the object.
private final class OwnedBytes {
  let start: UnsafeMutableRawPointer

  init(_ count: Int) { start = .allocate(byteCount: max(count, 64), alignment: 64) }

  deinit { start.deallocate() }
}

/// Named tensors from one file or from the shards of a folder.
public protocol SafeTensorSource: Sendable {
  /// Sorted.
  var names: [String] { get }
  func contains(_ name: String) -> Bool
  /// - Throws: `invalidFile` when there is no such tensor.
  func tensor(_ name: String) throws -> SafeTensorView
  /// How a tensor's numbers are put together in blocks, if they are.
  /// - Throws: as `tensor`.
  func blocks(of name: String) throws -> BlockFormat?
}

extension SafeTensorSource {
  public func blocks(of name: String) throws -> BlockFormat? { try tensor(name).blocks }

  /// The tensor's elements as f32, converted from f32, f16, bf16 or f64.
  /// - Throws: `invalidFile` when it is missing, holds integers, or has another shape than `shape` (when given).
  public func float32(_ name: String, shape: [Int]? = nil) throws -> [Float] {
    let view = try tensor(name)
    if let shape, view.shape != shape {
      throw PlatformError(
        .invalidFile, "tensor '\(name)' has shape \(view.shape), expected \(shape)", number: "PLT-4101", path: view.path)
    }
    return try view.float32()
  }
}

/// A safetensors file, mapped read-only. Everything in the header is checked against the file's length before use.
///
/// Layout (https://github.com/huggingface/safetensors, "Format"): u64 little-endian header length N, N bytes of JSON
/// `{name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {..}}`, then the data that the offsets index
/// without gaps or overlaps.
public final class SafeTensorsFile: SafeTensorSource {
  private struct Entry: Sendable {
    var dtype: DType
    var shape: [Int]
    var begin: Int
    var end: Int
  }

  /// The same bound as the reference implementation; a larger header is an attack or garbage.
  static let headerLimit = 100_000_000

  public let path: String
  /// `__metadata__` of the header; `["format": "pt"]` for most files.
  public let metadata: [String: String]
  public let names: [String]
  private let file: MappedFile
  private let entries: [String: Entry]
  private let dataStart: Int

  /// Maps the file and reads its header; tensor data is read when it is used.
  /// - Throws: `notFound`, `permissionDenied`, or `invalidFile` (PLT-4101) saying what is wrong with the file.
  public convenience init(path: String) throws { try self.init(MappedFile(path: path)) }

  init(_ file: MappedFile) throws {
    let parsed = try Self.parse(file.bytes, path: file.path)
    path = file.path
    self.file = file
    self.metadata = parsed.metadata
    self.entries = parsed.entries
    self.dataStart = parsed.dataStart
    self.names = parsed.entries.keys.sorted()
  }

  public func contains(_ name: String) -> Bool { entries[name] != nil }

  public func tensor(_ name: String) throws -> SafeTensorView {
    guard let entry = entries[name] else { throw Self.bad("there is no tensor '\(name)'", path) }
    guard let base = file.bytes.baseAddress else { throw Self.bad("the file is empty", path) }
    return SafeTensorView(
      name: name, dtype: entry.dtype, shape: entry.shape, rawBytes: base + dataStart + entry.begin,
      byteCount: entry.end - entry.begin, owner: file, path: path)
  }

  private static func parse(
    _ bytes: UnsafeRawBufferPointer, path: String
  ) throws -> (entries: [String: Entry], metadata: [String: String], dataStart: Int) {
    guard bytes.count >= 8 else { throw bad("truncated: a header length needs 8 bytes, file has \(bytes.count)", path) }
    let promised = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard let headerCount = Int(exactly: promised), headerCount <= headerLimit else {
      throw bad("not a safetensors file: header length \(promised) is above \(headerLimit)", path)
    }
    let dataStart = 8 + headerCount
    guard dataStart <= bytes.count else {
      throw bad("truncated: header promises \(dataStart) bytes, file has \(bytes.count)", path)
    }
    let header: JSONValue
    do {
      header = try JSONValue(parsing: Data(bytes[8..<dataStart]))
    } catch {
      throw bad("header is \(PlatformError.from(error).message)", path)
    }
    guard let members = header.objectValue else { throw bad("header is not a JSON object", path) }
    var metadata: [String: String] = [:]
    var entries: [String: Entry] = [:]
    for (name, member) in members {
      if name == "__metadata__" {
        guard let values = member.objectValue else { throw bad("__metadata__ is not an object", path) }
        for (key, value) in values {
          guard let text = value.stringValue else { throw bad("__metadata__ '\(key)' is not a string", path) }
          metadata[key] = text
        }
      } else {
        entries[name] = try entry(name, member, path: path)
      }
    }
    try checkCoverage(entries, dataCount: bytes.count - dataStart, dataStart: dataStart, path: path)
    return (entries, metadata, dataStart)
  }

  private static func entry(_ name: String, _ member: JSONValue, path: String) throws -> Entry {
    guard let typeName = member["dtype"]?.stringValue else { throw bad("tensor '\(name)' has no dtype", path) }
    guard let dtype = DType(rawValue: typeName) else {
      throw bad("tensor '\(name)' has dtype '\(typeName)', which is not supported", path)
    }
    guard let dimensions = member["shape"]?.arrayValue else { throw bad("tensor '\(name)' has no shape", path) }
    var shape: [Int] = []
    var byteCount = dtype.byteCount
    for dimension in dimensions {
      guard let value = dimension.intValue, value >= 0 else {
        throw bad("tensor '\(name)' has a dimension that is not a count", path)
      }
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: value)
      guard !overflow else { throw bad("tensor '\(name)' has a shape whose size overflows", path) }
      byteCount = product
      shape.append(value)
    }
    guard let offsets = member["data_offsets"]?.arrayValue, offsets.count == 2, let begin = offsets[0].intValue,
      let end = offsets[1].intValue, begin >= 0, begin <= end
    else { throw bad("tensor '\(name)' has no valid data_offsets", path) }
    guard end - begin == byteCount else {
      throw bad(
        "tensor '\(name)' is \(typeName) \(shape) and needs \(byteCount) bytes, its offsets span \(end - begin)", path)
    }
    return Entry(dtype: dtype, shape: shape, begin: begin, end: end)
  }

  /// The tensors cover the data exactly: no overlap, no hole, nothing beyond the end.
  private static func checkCoverage(
    _ entries: [String: Entry], dataCount: Int, dataStart: Int, path: String
  ) throws {
    let ordered = entries.sorted { ($0.value.begin, $0.value.end, $0.key) < ($1.value.begin, $1.value.end, $1.key) }
    if let largest = entries.values.map(\.end).max(), largest > dataCount {
      let (needed, overflow) = largest.addingReportingOverflow(dataStart)
      let cut = ordered.first { $0.value.end > dataCount }  // the first tensor that is not whole
      throw bad(
        "truncated: header promises \(overflow ? "too many" : String(needed)) bytes, file has \(dataStart + dataCount); "
          + "tensor '\(cut?.key ?? "")' should begin at byte \(dataStart.addingReportingOverflow(cut?.value.begin ?? 0).partialValue)", path)
    }
    var position = 0
    var previous = ""
    for (name, entry) in ordered {
      if entry.begin < position {
        throw bad("tensors '\(previous)' and '\(name)' overlap at byte \(dataStart + entry.begin)", path)
      }
      if entry.begin > position {
        throw bad("there is a hole of \(entry.begin - position) bytes before '\(name)' at byte \(dataStart + position)", path)
      }
      position = entry.end
      previous = name
    }
    guard position == dataCount else {
      throw bad("\(dataCount - position) bytes at the end belong to no tensor", path)
    }
  }

  static func bad(_ message: String, _ path: String) -> PlatformError {
    PlatformError(
      .invalidFile, message, hint: "Copy or download the file again.", number: "PLT-4101", path: path)
  }
}
