// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// The schema of an Avro file ("Apache Avro Specification", 1.11). Named types are kept once and referred to by position.
struct AvroSchema {
  indirect enum Node {
    case null, boolean, int, long, float, double, bytes, string
    /// Position in `named`.
    case named(Int)
    case array(Node)
    case map(Node)
    case union([Node])
    case date
    case time(perSecond: Int64)
    case timestamp(perSecond: Int64, isLocal: Bool)
    case decimal(Int, Int)
  }
  enum Named {
    case record([(name: String, type: Node)])
    case enumeration([String])
    /// Bytes; `decimal` when they are an unscaled number.
    case fixed(Int, decimal: (Int, Int)?)
  }

  private(set) var named: [Named] = []
  private(set) var root = Node.null
  private var positions: [String: Int] = [:]
  private var count = 0

  static func damaged(_ what: String) -> PlatformError { PlatformError(.invalidFile, "not an Avro file: \(what)", number: "PLT-3112") }

  init(parsing text: String) throws {
    guard text.utf8.count <= 4 << 20 else { throw Self.damaged("its schema is too large") }
    let tree: JSONValue
    do { tree = try JSONValue(parsing: text) } catch { throw Self.damaged("its schema is no JSON") }
    root = try node(tree, space: "", depth: 0)
  }

  private mutating func node(_ tree: JSONValue, space: String, depth: Int) throws -> Node {
    count += 1
    guard depth < 64, count < 20_000 else { throw Self.damaged("its schema is nested too deeply or too large") }
    switch tree {
    case .string(let name):
      switch name {
      case "null": return .null
      case "boolean": return .boolean
      case "int": return .int
      case "long": return .long
      case "float": return .float
      case "double": return .double
      case "bytes": return .bytes
      case "string": return .string
      default:
        guard let found = positions[name.contains(".") || space.isEmpty ? name : "\(space).\(name)"] ?? positions[name] else {
          throw Self.damaged("its schema names an unknown type")
        }
        return .named(found)
      }
    case .array(let items):
      guard !items.isEmpty, items.count <= 1000 else { throw Self.damaged("a union without types") }
      var nodes: [Node] = []
      for item in items { nodes.append(try node(item, space: space, depth: depth + 1)) }
      return .union(nodes)
    case .object(let members):
      guard let type = members["type"] else { throw Self.damaged("a type without 'type'") }
      guard let word = type.stringValue else { return try node(type, space: space, depth: depth + 1) }
      switch word {
      case "array": return .array(try node(members["items"] ?? .null, space: space, depth: depth + 1))
      case "map": return .map(try node(members["values"] ?? .null, space: space, depth: depth + 1))
      case "record", "error", "enum", "fixed": return try namedType(word, members, space: space, depth: depth)
      default: return try logical(members, of: try node(type, space: space, depth: depth + 1))
      }
    default: throw Self.damaged("a type that is no text, list or object")
    }
  }

  private func logical(_ members: [String: JSONValue], of base: Node) throws -> Node {
    switch (members["logicalType"]?.stringValue, base) {
    case ("date", .int): .date
    case ("time-millis", .int): .time(perSecond: 1000)
    case ("time-micros", .long): .time(perSecond: 1_000_000)
    case ("timestamp-millis", .long): .timestamp(perSecond: 1000, isLocal: false)
    case ("timestamp-micros", .long): .timestamp(perSecond: 1_000_000, isLocal: false)
    case ("timestamp-nanos", .long): .timestamp(perSecond: 1_000_000_000, isLocal: false)
    case ("local-timestamp-millis", .long): .timestamp(perSecond: 1000, isLocal: true)
    case ("local-timestamp-micros", .long): .timestamp(perSecond: 1_000_000, isLocal: true)
    case ("local-timestamp-nanos", .long): .timestamp(perSecond: 1_000_000_000, isLocal: true)
    case ("decimal", .bytes): Self.decimal(members).map { .decimal($0, $1) } ?? .bytes
    default: base
    }
  }

  private static func decimal(_ members: [String: JSONValue]) -> (Int, Int)? {
    guard members["logicalType"]?.stringValue == "decimal", let width = members["precision"]?.intValue, (1...38).contains(width) else { return nil }
    let scale = members["scale"]?.intValue ?? 0
    return (0...width).contains(scale) ? (width, scale) : nil
  }

  private mutating func namedType(_ kind: String, _ members: [String: JSONValue], space: String, depth: Int) throws -> Node {
    guard let name = members["name"]?.stringValue, !name.isEmpty else { throw Self.damaged("a named type without name") }
    var own = members["namespace"]?.stringValue ?? space
    var full = own.isEmpty ? name : "\(own).\(name)"
    if let dot = name.lastIndex(of: ".") {
      own = String(name[..<dot])
      full = name
    }
    guard positions[full] == nil else { throw Self.damaged("a type is defined twice") }
    let position = named.count
    positions[full] = position
    named.append(.record([]))
    switch kind {
    case "enum":
      named[position] = .enumeration((members["symbols"]?.arrayValue ?? []).compactMap(\.stringValue))
    case "fixed":
      guard let size = members["size"]?.intValue, (0...(1 << 24)).contains(size) else { throw Self.damaged("a fixed type without usable size") }
      named[position] = .fixed(size, decimal: Self.decimal(members))
    default:
      var fields: [(name: String, type: Node)] = []
      for field in members["fields"]?.arrayValue ?? [] {
        guard let label = field["name"]?.stringValue, let type = field["type"] else { throw Self.damaged("a field without name or type") }
        fields.append((label, try node(type, space: own, depth: depth + 1)))
      }
      named[position] = .record(fields)
    }
    return .named(position)
  }

  // MARK: columns

  /// The fields of the root as columns; a file of plain values has one column `value`.
  var columns: [Column] {
    if case .named(let position) = root, case .record(let fields) = named[position] {
      return fields.map { Column($0.name, type($0.type, isNested: false, inside: [position])) }
    }
    return [Column("value", type(root, isNested: false, inside: []))]
  }

  /// Bytes inside of other values, and types that contain themselves, are text (base64 and JSON).
  private func type(_ node: Node, isNested: Bool, inside: Set<Int>) -> SQLType {
    switch node {
    case .null, .string, .time: return .varchar
    case .boolean: return .boolean
    case .int: return .integer
    case .long: return .bigint
    case .float: return .float
    case .double: return .double
    case .bytes: return isNested ? .varchar : .blob
    case .date: return .date
    case .timestamp(_, let isLocal): return isLocal ? .timestamp : .timestampTZ
    case .decimal(let width, let scale): return .decimal(width, scale)
    case .array(let item): return .list(type(item, isNested: true, inside: inside))
    case .map(let value): return .map(.varchar, type(value, isNested: true, inside: inside))
    case .union(let choices):
      let real = choices.filter { if case .null = $0 { false } else { true } }
      return real.count == 1 ? type(real[0], isNested: isNested, inside: inside) : .varchar
    case .named(let position):
      guard !inside.contains(position) else { return .varchar }
      switch named[position] {
      case .enumeration: return .varchar
      case .fixed(_, let decimal?): return .decimal(decimal.0, decimal.1)
      case .fixed: return isNested ? .varchar : .blob
      case .record(let fields):
        if fields.isEmpty { return .varchar }
        return .structure(fields.map { SQLField(name: $0.name, type: type($0.type, isNested: true, inside: inside.union([position]))) })
      }
    }
  }
}
