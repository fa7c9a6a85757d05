// SPDX-License-Identifier: Apache-2.0

import Core

/// A JSON document that keeps the order of its members and the spelling of its numbers: schemas say in which order a value is to be written.
public enum OrderedJSON: Sendable, Hashable {
  case null
  case bool(Bool)
  /// As it was written.
  case number(String)
  case string(String)
  case array([OrderedJSON])
  case object([Member])

  public struct Member: Sendable, Hashable {
    public var name: String
    public var value: OrderedJSON
    public init(_ name: String, _ value: OrderedJSON) {
      self.name = name
      self.value = value
    }
  }

  /// Of equal names the last counts, as other readers have it.
  public subscript(name: String) -> OrderedJSON? {
    if case .object(let members) = self { members.last { $0.name == name }?.value } else { nil }
  }

  public var stringValue: String? { if case .string(let text) = self { text } else { nil } }
  public var boolValue: Bool? { if case .bool(let flag) = self { flag } else { nil } }
  public var arrayValue: [OrderedJSON]? { if case .array(let items) = self { items } else { nil } }
  public var members: [Member]? { if case .object(let members) = self { members } else { nil } }
  public var doubleValue: Double? { if case .number(let text) = self { Double(text) } else { nil } }
  public var intValue: Int? { doubleValue.flatMap { Int(exactly: $0) } }

  /// Depth of nesting that is read; deeper documents are refused.
  public static let depthLimit = 200

  /// - Throws: `invalidArgument` with the place of the fault.
  public init(parsing text: String) throws {
    var reader = Reader(bytes: Array(text.utf8))
    self = try reader.document()
  }

  /// Compact JSON text.
  public var text: String {
    var result = ""
    write(&result)
    return result
  }

  private func write(_ result: inout String) {
    switch self {
    case .null: result += "null"
    case .bool(let flag): result += flag ? "true" : "false"
    case .number(let text): result += text
    case .string(let text): result += Self.quoted(text)
    case .array(let items):
      result += "["
      for (index, item) in items.enumerated() {
        if index > 0 { result += "," }
        item.write(&result)
      }
      result += "]"
    case .object(let members):
      result += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { result += "," }
        result += Self.quoted(member.name) + ":"
        member.value.write(&result)
      }
      result += "}"
    }
  }

  /// `text` as a JSON string; the same spelling as inside generated strings (`CharacterSet.json`).
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars { result += JSONCharacter.escaped(scalar.value) ?? String(scalar) }
    return result + "\""
  }
}

extension OrderedJSON {
  private struct Reader {
    let bytes: [UInt8]
    var place = 0

    func fault(_ what: String) -> PlatformError { PlatformError(.invalidArgument, "not valid JSON at byte \(place): \(what)") }

    mutating func document() throws -> OrderedJSON {
      let value = try value(depth: 0)
      skipSpace()
      guard place == bytes.count else { throw fault("text behind the value") }
      return value
    }

    mutating func skipSpace() {
      while place < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[place]) { place += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
      guard place < bytes.count, bytes[place] == byte else { return false }
      place += 1
      return true
    }

    mutating func value(depth: Int) throws -> OrderedJSON {
      guard depth < OrderedJSON.depthLimit else { throw fault("nested deeper than \(OrderedJSON.depthLimit)") }
      skipSpace()
      guard place < bytes.count else { throw fault("it ends too early") }
      switch bytes[place] {
      case UInt8(ascii: "{"):
        place += 1
        var members: [Member] = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object([]) }
        repeat {
          skipSpace()
          let name = try string()
          skipSpace()
          guard take(UInt8(ascii: ":")) else { throw fault("':' is missing") }
          members.append(Member(name, try value(depth: depth + 1)))
          skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw fault("'}' is missing") }
        return .object(members)
      case UInt8(ascii: "["):
        place += 1
        var items: [OrderedJSON] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array([]) }
        repeat {
          items.append(try value(depth: depth + 1))
          skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw fault("']' is missing") }
        return .array(items)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"): return try word("true", .bool(true))
      case UInt8(ascii: "f"): return try word("false", .bool(false))
      case UInt8(ascii: "n"): return try word("null", .null)
      default: return .number(try number())
      }
    }

    mutating func word(_ text: String, _ value: OrderedJSON) throws -> OrderedJSON {
      guard bytes[place...].starts(with: text.utf8) else { throw fault("unknown word") }
      place += text.utf8.count
      return value
    }

    mutating func number() throws -> String {
      let start = place
      func digits() -> Int {
        var end = place
        while end < bytes.count, bytes[end] >= 0x30, bytes[end] <= 0x39 { end += 1 }
        return end - place
      }
      _ = take(UInt8(ascii: "-"))
      let whole = digits()
      guard whole > 0, whole == 1 || bytes[place] != 0x30 else { throw fault("no number") }
      place += whole
      if take(UInt8(ascii: ".")) {
        let count = digits()
        guard count > 0 else { throw fault("digits are missing") }
        place += count
      }
      if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
        _ = take(UInt8(ascii: "+")) || take(UInt8(ascii: "-"))
        let count = digits()
        guard count > 0 else { throw fault("digits are missing") }
        place += count
      }
      guard place - start <= 400 else { throw fault("a number of more than 400 characters") }
      return String(decoding: bytes[start..<place], as: UTF8.self)
    }

    mutating func hex() throws -> UInt32 {
      guard place + 4 <= bytes.count, let value = UInt32(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16) else {
        throw fault("four hexadecimal digits are missing")
      }
      place += 4
      return value
    }

    mutating func string() throws -> String {
      guard take(UInt8(ascii: "\"")) else { throw fault("a string is missing") }
      var result: [UInt8] = []
      while place < bytes.count {
        let byte = bytes[place]
        place += 1
        if byte == UInt8(ascii: "\"") { return String(decoding: result, as: UTF8.self) }
        guard byte >= 0x20 else { throw fault("a control character in a string") }
        guard byte == UInt8(ascii: "\\") else {
          result.append(byte)
          continue
        }
        guard place < bytes.count else { break }
        let escape = bytes[place]
        place += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(escape)
        case UInt8(ascii: "b"): result.append(8)
        case UInt8(ascii: "f"): result.append(12)
        case UInt8(ascii: "n"): result.append(10)
        case UInt8(ascii: "r"): result.append(13)
        case UInt8(ascii: "t"): result.append(9)
        case UInt8(ascii: "u"):
          var scalar = try hex()
          if (0xD800..<0xDC00).contains(scalar), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
            let low = try hex()
            guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
            scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
          }
          guard let known = Unicode.Scalar(scalar) else { throw fault("half a surrogate pair") }
          result += Array(String(known).utf8)
        default: throw fault("unknown escape")
        }
      }
      throw fault("a string does not end")
    }
  }
}
