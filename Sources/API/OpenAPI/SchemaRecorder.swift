// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// JSON schemas of Codable types, found by letting each type decode itself from a decoder that answers every question with an empty value
/// and remembers the questions. So what is documented is what is decoded: there is no second list of members.
final class SchemaBuilder {
  /// By name; what `$ref` refers to.
  private(set) var components: [String: JSONValue] = [:]

  func schema(of type: Any.Type) -> JSONValue {
    switch type {
    case is String.Type: return ["type": "string"]
    case is Bool.Type: return ["type": "boolean"]
    case is Int64.Type, is Int.Type, is UInt64.Type, is UInt.Type: return ["type": "integer", "format": "int64"]
    case is Int32.Type, is UInt32.Type, is Int16.Type, is UInt16.Type, is Int8.Type, is UInt8.Type: return ["type": "integer", "format": "int32"]
    case is Double.Type, is Float.Type: return ["type": "number"]
    case is Date.Type: return ["type": "string", "format": "date-time"]
    case is UUID.Type: return ["type": "string", "format": "uuid"]
    case is JSONValue.Type: return [:]
    case let word as any APIEnum.Type: return ["type": "string", "enum": .array(word.spellings.map { .string($0) })]
    case let list as any ListShape.Type: return ["type": "array", "items": schema(of: list.element)]
    case let map as any MapShape.Type: return ["type": "object", "additionalProperties": schema(of: map.element)]
    case let some as any OptionalShape.Type: return schema(of: some.wrapped)
    case let object as any Decodable.Type: return reference(to: object)
    default: return [:]
    }
  }

  private func reference(to type: any Decodable.Type) -> JSONValue {
    let name = Self.name(of: type)
    if components[name] == nil {
      // Before its members are asked for, so that a type may hold itself.
      components[name] = ["type": "object"]
      let recording = Recording(self)
      // A type that checks its values may refuse empty ones; the members it asked for by then are known.
      _ = try? type.init(from: RecordingDecoder(recording: recording))
      components[name] = recording.schema
    }
    return ["$ref": .string("#/components/schemas/\(name)")]
  }

  /// `CatalogInfo` for `CatalogObject<CatalogFacts>`; otherwise the type's own name, with what it is nested in.
  static func name(of type: Any.Type) -> String {
    let whole = String(reflecting: type)
    let text = whole.split(separator: "<").map { $0.split(separator: ".").dropFirst().joined() }.joined(separator: "Of").replacing(">", with: "")
    if text.hasPrefix("CatalogObjectOf") { return String(text.dropFirst("CatalogObjectOf".count)).replacing("Facts", with: "Info") }
    return String(text.filter { $0.isLetter || $0.isNumber })
  }
}

/// The members that one type asked for.
final class Recording {
  let builder: SchemaBuilder
  private var members: [String: JSONValue] = [:]
  private var required: [String] = []

  init(_ builder: SchemaBuilder) { self.builder = builder }

  func note(_ name: String, _ type: Any.Type, required isRequired: Bool) {
    members[name] = builder.schema(of: type)
    if isRequired && !required.contains(name) { required.append(name) }
  }

  var schema: JSONValue {
    var schema: [String: JSONValue] = ["type": "object"]
    if !members.isEmpty { schema["properties"] = .object(members) }
    if !required.isEmpty { schema["required"] = .array(required.sorted().map { .string($0) }) }
    return .object(schema)
  }
}

// MARK: shapes

protocol ListShape { static var element: Any.Type { get } }
extension Array: ListShape { static var element: Any.Type { Element.self } }
protocol MapShape { static var element: Any.Type { get } }
extension Dictionary: MapShape { static var element: Any.Type { Value.self } }
protocol OptionalShape { static var wrapped: Any.Type { get } }
extension Optional: OptionalShape { static var wrapped: Any.Type { Wrapped.self } }

// MARK: the decoder

private struct RecordingDecoder: Decoder {
  let recording: Recording
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }
  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedDecodingContainer<Key> { KeyedDecodingContainer(RecordingMembers(recording: recording)) }
  func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw RecordingEnd() }
  func singleValueContainer() throws -> any SingleValueDecodingContainer { throw RecordingEnd() }
}

/// There is no value of the type to go on with.
private struct RecordingEnd: Error {}

private struct RecordingMembers<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let recording: Recording
  var codingPath: [any CodingKey] { [] }
  var allKeys: [Key] { [] }
  func contains(_ key: Key) -> Bool { true }
  func decodeNil(forKey key: Key) -> Bool { false }

  /// An empty value of the type.
  private func empty<T: Decodable>(_ type: T.Type) throws -> T {
    let known: Any? =
      switch type {
      case is String.Type: ""
      case is Bool.Type: false
      case is Int.Type: 0
      case is Int64.Type: Int64(0)
      case is Int32.Type: Int32(0)
      case is Double.Type: 0.0
      case is Float.Type: Float(0)
      case is Date.Type: Date(timeIntervalSince1970: 0)
      case is UUID.Type: UUID()
      case is JSONValue.Type: JSONValue.null
      case let word as any APIEnum.Type: Self.first(word)
      case let list as any EmptyInit.Type: list.init()
      default: nil
      }
    if let value = known as? T { return value }
    return try T(from: RecordingDecoder(recording: Recording(recording.builder)))
  }

  private static func first<E: APIEnum>(_ type: E.Type) -> Any? { E.allCases.first }

  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    recording.note(key.stringValue, type, required: true)
    return try empty(type)
  }
  func decodeIfPresent<T: Decodable>(_ type: T.Type, forKey key: Key) -> T? {
    recording.note(key.stringValue, type, required: false)
    return nil
  }
  private func optional<T>(_ type: T.Type, _ key: Key) -> T? {
    recording.note(key.stringValue, type, required: false)
    return nil
  }
  func decodeIfPresent(_ type: Bool.Type, forKey key: Key) -> Bool? { optional(type, key) }
  func decodeIfPresent(_ type: String.Type, forKey key: Key) -> String? { optional(type, key) }
  func decodeIfPresent(_ type: Double.Type, forKey key: Key) -> Double? { optional(type, key) }
  func decodeIfPresent(_ type: Float.Type, forKey key: Key) -> Float? { optional(type, key) }
  func decodeIfPresent(_ type: Int.Type, forKey key: Key) -> Int? { optional(type, key) }
  func decodeIfPresent(_ type: Int8.Type, forKey key: Key) -> Int8? { optional(type, key) }
  func decodeIfPresent(_ type: Int16.Type, forKey key: Key) -> Int16? { optional(type, key) }
  func decodeIfPresent(_ type: Int32.Type, forKey key: Key) -> Int32? { optional(type, key) }
  func decodeIfPresent(_ type: Int64.Type, forKey key: Key) -> Int64? { optional(type, key) }
  func decodeIfPresent(_ type: UInt.Type, forKey key: Key) -> UInt? { optional(type, key) }
  func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) -> UInt8? { optional(type, key) }
  func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) -> UInt16? { optional(type, key) }
  func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) -> UInt32? { optional(type, key) }
  func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) -> UInt64? { optional(type, key) }

  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedDecodingContainer<Nested> {
    KeyedDecodingContainer(RecordingMembers<Nested>(recording: Recording(recording.builder)))
  }
  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { throw RecordingEnd() }
  func superDecoder() -> any Decoder { RecordingDecoder(recording: recording) }
  func superDecoder(forKey key: Key) -> any Decoder { RecordingDecoder(recording: recording) }
}

private protocol EmptyInit { init() }
extension Array: EmptyInit {}
extension Dictionary: EmptyInit {}
