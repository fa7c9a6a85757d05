// SPDX-License-Identifier: Apache-2.0

import Core

/// A value of a GGUF file's metadata.
public enum GGUFValue: Sendable, Equatable {
  case integer(Int64)
  case number(Double)
  case flag(Bool)
  case text(String)
  case list([GGUFValue])

  public var int: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }
  public var double: Double? {
    switch self {
    case .number(let value): value
    case .integer(let value): Double(value)
    default: nil
    }
  }
  public var flag: Bool? { if case .flag(let value) = self { value } else { nil } }
  public var text: String? { if case .text(let value) = self { value } else { nil } }
  public var list: [GGUFValue]? { if case .list(let value) = self { value } else { nil } }
}

/// A GGUF file of version 2 or 3, mapped read-only. Everything in front of the data is checked against the file's length before use.
///
/// Layout (ggml's docs/gguf.md): "GGUF", u32 version, u64 tensors, u64 metadata pairs; pairs {key, u32 type, value}; tensors {name, u32 axes,
/// u64 sizes with the innermost axis first, u32 type, u64 offset}; then data, which begins at the next multiple of
/// `general.alignment` (32) and whose tensors begin at such multiples. Numbers are little-endian, texts a u64 length and UTF-8.
public final class GGUFFile: SafeTensorSource {
  private struct Entry: Sendable {
    var dtype: DType
    var blocks: BlockFormat?
    var shape: [Int]
    var begin: Int
    var byteCount: Int
  }

  public let path: String
  public let metadata: [String: GGUFValue]
  /// Of tensors, sorted.
  public let names: [String]
  private let file: MappedFile
  private let entries: [String: Entry]

  /// Maps the file and reads what is in front of the data.
  /// - Throws: `notFound`, `permissionDenied`, or `invalidFile` (PLT-5210) saying what is wrong and at which byte; PLT-5211 for a kind of
  ///   tensor that is not built.
  public convenience init(path: String) throws { try self.init(MappedFile(path: path)) }

  init(_ file: MappedFile) throws {
    var reader = Reader(bytes: file.bytes, path: file.path)
    (metadata, entries) = try reader.file()
    path = file.path
    self.file = file
    names = entries.keys.sorted()
  }

  public func contains(_ name: String) -> Bool { entries[name] != nil }

  public func tensor(_ name: String) throws -> SafeTensorView {
    guard let entry = entries[name], let base = file.bytes.baseAddress else {
      throw PlatformError(.invalidFile, "there is no tensor '\(name)'", number: "PLT-5210", path: path)
    }
    return SafeTensorView(
      name: name, dtype: entry.dtype, blocks: entry.blocks, shape: entry.shape, rawBytes: base + entry.begin, byteCount: entry.byteCount,
      owner: file, path: path)
  }

  /// Whether the file at `path` begins as GGUF files do.
  public static func isGGUF(_ path: String) -> Bool {
    guard let file = try? MappedFile(path: path) else { return false }  // a folder, for one
    return file.bytes.count >= 4 && file.bytes.prefix(4).elementsEqual(Reader.magic)
  }

  // MARK: Reading

  private struct Reader {
    static let magic = Array("GGUF".utf8)
    /// Lists inside lists; the format has no bound, files have one level.
    static let depthLimit = 4

    /// Values in all lists together: 60 times a vocabulary of 250,000, and 400 MB of memory.
    static let listLimit = 1 << 24

    let bytes: UnsafeRawBufferPointer
    let path: String
    var position = 0
    private var listed = 0

    init(bytes: UnsafeRawBufferPointer, path: String) {
      self.bytes = bytes
      self.path = path
    }

    func bad(_ message: String, at place: Int? = nil) -> PlatformError {
      PlatformError(
        .invalidFile, "\(message), at byte \(place ?? position)", hint: "Copy or download the file again.", number: "PLT-5210", path: path)
    }

    mutating func number<T: FixedWidthInteger>(_ what: @autoclosure () -> String, as type: T.Type = T.self) throws -> T {
      let size = MemoryLayout<T>.size
      guard bytes.count - position >= size else { throw bad("truncated: \(what()) needs \(size) bytes, \(bytes.count - position) are left") }
      defer { position += size }
      return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
    }

    /// A u64 that counts things of at least `size` bytes each, so that no count can be larger than the file.
    mutating func count(_ what: @autoclosure () -> String, of size: Int) throws -> Int {
      let place = position
      let promised = try number(what(), as: UInt64.self)
      guard promised <= UInt64((bytes.count - position) / size) else {
        throw bad("\(what()) is \(promised), more than the \(bytes.count - position) bytes that are left can hold", at: place)
      }
      return Int(promised)
    }

    mutating func text(_ what: @autoclosure () -> String) throws -> String {
      let place = position
      let length = try count("the length of \(what())", of: 1)
      guard let text = String(validating: UnsafeRawBufferPointer(rebasing: bytes[position..<position + length]), as: UTF8.self) else {
        throw bad("\(what()) is not UTF-8", at: place)
      }
      position += length
      return text
    }

    mutating func value(_ type: UInt32, _ key: String, depth: Int = 0) throws -> GGUFValue {
      let what = "'\(key)'"
      switch type {
      case 0: return .integer(Int64(try number(what, as: UInt8.self)))
      case 1: return .integer(Int64(try number(what, as: Int8.self)))
      case 2: return .integer(Int64(try number(what, as: UInt16.self)))
      case 3: return .integer(Int64(try number(what, as: Int16.self)))
      case 4: return .integer(Int64(try number(what, as: UInt32.self)))
      case 5: return .integer(Int64(try number(what, as: Int32.self)))
      case 6: return .number(Double(Float(bitPattern: try number(what, as: UInt32.self))))
      case 7:
        let place = position
        let byte = try number(what, as: UInt8.self)
        guard byte <= 1 else { throw bad("\(what) is neither true nor false", at: place) }
        return .flag(byte == 1)
      case 8: return .text(try text(what))
      case 9:
        let place = position
        guard depth < Self.depthLimit else { throw bad("\(what) is nested too deeply") }
        let inner = try number(what, as: UInt32.self)
        guard let size = Self.leastBytes(inner) else { throw bad("\(what) is a list of type \(inner), which does not exist", at: place) }
        let count = try count("the number of entries of \(what)", of: size)
        listed += count
        guard listed <= Self.listLimit else { throw bad("\(what) makes more than \(Self.listLimit) values in lists", at: place) }
        var list: [GGUFValue] = []
        list.reserveCapacity(count)
        for _ in 0..<count { list.append(try value(inner, key, depth: depth + 1)) }
        return .list(list)
      case 10:
        let place = position
        let wide = try number(what, as: UInt64.self)
        guard let value = Int64(exactly: wide) else { throw bad("\(what) is \(wide), which is too large", at: place) }
        return .integer(value)
      case 11: return .integer(try number(what, as: Int64.self))
      case 12: return .number(Double(bitPattern: try number(what, as: UInt64.self)))
      default: throw bad("\(what) has type \(type), which does not exist", at: position - 4)
      }
    }

    /// The fewest bytes that a value takes.
    static func leastBytes(_ type: UInt32) -> Int? {
      switch type {
      case 0, 1, 7: 1
      case 2, 3: 2
      case 4, 5, 6: 4
      case 8, 10, 11, 12: 8
      case 9: 12
      default: nil
      }
    }

    mutating func file() throws -> ([String: GGUFValue], [String: Entry]) {
      guard bytes.count >= 4, bytes.prefix(4).elementsEqual(Self.magic) else { throw bad("not a GGUF file") }
      position = 4
      let version = try number("the version", as: UInt32.self)
      guard version == 2 || version == 3 else {
        let why = version.byteSwapped == 2 || version.byteSwapped == 3 ? "is big-endian" : "has version \(version)"
        throw PlatformError(
          .invalidFile, "the file \(why); known are little-endian files of versions 2 and 3", hint: "Convert the model again.", number: "PLT-5211", path: path)
      }
      // A tensor takes at least 24 bytes, a pair 13.
      let tensorCount = try count("the number of tensors", of: 24)
      let pairCount = try count("the number of metadata pairs", of: 13)
      var metadata: [String: GGUFValue] = [:]
      for index in 0..<pairCount {
        let place = position
        let key = try text("the key of pair \(index)")
        let type = try number("the type of '\(key)'", as: UInt32.self)
        guard metadata.updateValue(try value(type, key), forKey: key) == nil else { throw bad("'\(key)' is there twice", at: place) }
      }
      var alignment = 32
      if let stated = metadata["general.alignment"] {
        guard let value = stated.int, value >= 8, value <= 1 << 16, value % 8 == 0 else { throw bad("'general.alignment' is no multiple of 8 up to 65536") }
        alignment = value
      }
      var found: [(name: String, entry: Entry, place: Int)] = []
      for index in 0..<tensorCount {
        let place = position
        let (name, entry) = try tensor(index)
        guard entry.begin % alignment == 0 else { throw bad("tensor '\(name)' begins at \(entry.begin) of the data, no multiple of \(alignment)", at: place) }
        found.append((name, entry, place))
      }
      return (metadata, try placed(found, alignment))
    }

    mutating func tensor(_ index: Int) throws -> (String, Entry) {
      let place = position
      let name = try text("the name of tensor \(index)")
      let axes = try number("the number of axes of tensor '\(name)'", as: UInt32.self)
      guard axes <= 4 else { throw bad("tensor '\(name)' has \(axes) axes", at: position - 4) }
      var shape: [Int] = []
      var elements = 1
      for _ in 0..<axes {
        let size = try number("the shape of tensor '\(name)'", as: UInt64.self)
        let (product, overflow) = elements.multipliedReportingOverflow(by: Int(clamping: size))
        guard size > 0, !overflow, product <= 1 << 50 else { throw bad("tensor '\(name)' has a shape whose size overflows or is 0", at: position - 8) }
        elements = product
        shape.insert(Int(size), at: 0)
      }
      let type = try number("the type of tensor '\(name)'", as: UInt32.self)
      let offset = try number("the offset of tensor '\(name)'", as: UInt64.self)
      guard offset < 1 << 62 else { throw bad("tensor '\(name)' begins at \(offset) of the data", at: position - 8) }
      var entry = Entry(dtype: .f32, shape: shape, begin: Int(offset), byteCount: 0)
      if let format = BlockFormat(rawValue: Int32(clamping: type)) {
        guard let width = shape.last, width % format.weightCount == 0 else {
          throw bad("tensor '\(name)' of type \(format) has rows of \(shape.last ?? 0) weights, no multiple of \(format.weightCount)", at: place)
        }
        entry.blocks = format
        entry.byteCount = elements / format.weightCount * format.byteCount
      } else if let dtype = Self.plain[type] {
        entry.dtype = dtype
        entry.byteCount = elements * dtype.byteCount
      } else {
        throw PlatformError(
          .invalidFile, "tensor '\(name)' has type \(Self.others[type] ?? String(type)), which is not built, at byte \(place)",
          hint: "Known are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K and IQ4_NL.", number: "PLT-5211", path: path)
      }
      return (name, entry)
    }

    /// Entries with offsets in the file; none is outside of it or overlaps another.
    func placed(_ found: [(name: String, entry: Entry, place: Int)], _ alignment: Int) throws -> [String: Entry] {
      let start = (position + alignment - 1) / alignment * alignment
      var entries: [String: Entry] = [:]
      var end = 0
      var previous = ""
      for (name, entry, place) in found.sorted(by: { ($0.entry.begin, $0.entry.byteCount, $0.name) < ($1.entry.begin, $1.entry.byteCount, $1.name) }) {
        guard entry.begin <= bytes.count - start, entry.byteCount <= bytes.count - start - entry.begin else {
          throw bad(
            "truncated: tensor '\(name)' has \(entry.byteCount) bytes from byte \(start + entry.begin) on, the file has \(bytes.count)", at: place)
        }
        guard entry.begin >= end else { throw bad("tensors '\(previous)' and '\(name)' overlap at byte \(start + entry.begin)", at: place) }
        var whole = entry
        whole.begin += start
        guard entries.updateValue(whole, forKey: name) == nil else { throw bad("tensor '\(name)' is there twice", at: place) }
        end = entry.begin + entry.byteCount
        previous = name
      }
      return entries
    }

    static let plain: [UInt32: DType] = [0: .f32, 1: .f16, 24: .i8, 25: .i16, 26: .i32, 27: .i64, 28: .f64, 30: .bf16]
    static let others: [UInt32: String] = [
      9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S",
      23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]
  }
}
