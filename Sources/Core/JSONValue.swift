// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A JSON document of any shape. Objects keep no order; encode with `sortedText` where bytes must be stable.
public enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  public subscript(key: String) -> JSONValue? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  public var stringValue: String? { if case .string(let text) = self { text } else { nil } }
  public var boolValue: Bool? { if case .bool(let flag) = self { flag } else { nil } }
  public var arrayValue: [JSONValue]? { if case .array(let items) = self { items } else { nil } }
  public var objectValue: [String: JSONValue]? { if case .object(let members) = self { members } else { nil } }
  /// The number as an `Int`; a double only when it is a whole number that fits.
  public var intValue: Int? {
    switch self {
    case .integer(let value): Int(exactly: value)
    case .number(let value): Int(exactly: value)
    default: nil
    }
  }
  public var doubleValue: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// Parses UTF-8 JSON. Depth above 512, NaN, lone surrogates and bad UTF-8 are refused by Foundation's decoder.
  /// - Throws: `PlatformError.invalidArgument`.
  public init(parsing data: Data) throws {
    if let value = JSONReader.read(data) {
      self = value
      return
    }
    do {
      self = try JSONDecoder().decode(JSONValue.self, from: data)
    } catch {
      throw PlatformError(.invalidArgument, "not valid JSON: \(Self.reason(error))")
    }
  }

  public init(parsing text: String) throws { try self.init(parsing: Data(text.utf8)) }

  /// Any encodable value as JSON.
  public init(encoding value: some Encodable) throws {
    if let value = value as? JSONValue {
      self = value
      return
    }
    let data = try JSONEncoder.platform.encode(value)
    self = try JSONReader.read(data) ?? JSONDecoder().decode(JSONValue.self, from: data)
  }

  public func decode<T: Decodable>(_ type: T.Type = T.self) throws -> T {
    try JSONDecoder.platform.decode(type, from: Data(JSONWriter.text(self)))
  }

  /// Compact text with sorted keys.
  public var sortedText: String { String(decoding: JSONWriter.text(self), as: UTF8.self) }

  /// The same as bytes.
  public var sortedData: Data { Data(JSONWriter.text(self)) }

  /// What went wrong in a decoding error, in words, with the key path.
  public static func reason(_ error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.isEmpty ? "" : " at " + path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .keyNotFound(let key, let context): return "missing '\(key.stringValue)'" + place(context.codingPath)
    case .typeMismatch(let type, let context): return "expected \(type)" + place(context.codingPath)
    case .valueNotFound(let type, let context): return "expected \(type), found null" + place(context.codingPath)
    case .dataCorrupted(let context): return context.debugDescription + place(context.codingPath)
    @unknown default: return "\(error)"
    }
  }
}

extension JSONValue: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(String.self) {  // each attempt that fails only rules that type out
      // Before numbers: decoders may take the texts "NaN" and "Infinity" for some.
      self = .string(value)
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): if value.isFinite { try container.encode(value) } else { try container.encodeNil() }
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .number(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(Dictionary(elements, uniquingKeysWith: { $1 }))
  }
  public init(nilLiteral: ()) { self = .null }
}

extension JSONEncoder {
  /// Sorted keys, no escaped slashes, RFC 3339 dates: the same value always gives the same bytes.
  public static var platform: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .iso8601
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return encoder
  }
}

extension JSONDecoder {
  public static var platform: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return decoder
  }
}
