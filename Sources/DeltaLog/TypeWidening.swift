// SPDX-License-Identifier: Apache-2.0

import Core

/// Changes of a column's type that need no rewriting ("Type Widening").
public enum TypeWidening {
  static let changesKey = "delta.typeChanges"

  /// One entry of `delta.typeChanges`.
  public struct Change: Sendable, Hashable {
    public var from: DeltaType
    public var to: DeltaType
    /// `element`, `key`, `value`, joined by dots; empty for the field itself.
    public var fieldPath: String

    var json: JSONValue {
      var members: [String: JSONValue] = ["fromType": from.json, "toType": to.json]
      if !fieldPath.isEmpty { members["fieldPath"] = .string(fieldPath) }
      return .object(members)
    }
  }

  /// Whether values of `from` can be read as `to`. The list of the protocol.
  public static func allows(_ from: DeltaType, _ to: DeltaType) -> Bool {
    guard case .primitive(let from) = from, case .primitive(let to) = to else { return false }
    let whole = ["byte", "short", "integer", "long"]
    if let start = whole.firstIndex(of: from), let end = whole.firstIndex(of: to) { return start < end }
    if let target = DecimalShape(to) {
      switch from {
      case "byte", "short", "integer": return target.precision - target.scale >= 10
      case "long": return target.precision - target.scale >= 20
      default:
        guard let source = DecimalShape(from), source != target else { return false }
        return target.scale >= source.scale && target.precision - target.scale >= source.precision - source.scale
      }
    }
    switch (from, to) {
    case ("float", "double"), ("byte", "double"), ("short", "double"), ("integer", "double"), ("date", "timestamp_ntz"): return true
    default: return false
    }
  }

  /// The type that values of both can be read as, fields of structs by the names that files have for them: those of `type`, each in the wider type.
  /// - Returns: nil when neither takes the values of the other.
  static func common(_ type: DeltaType, _ other: DeltaType) -> DeltaType? {
    if type == other { return type }
    switch (type, other) {
    case (.structure(let own), .structure(let others)): return common(own, others).schema.map { .structure($0) }
    case (.array(let item, let hasNull), .array(let otherItem, _)): return common(item, otherItem).map { .array($0, containsNull: hasNull) }
    case (.map(let key, let value, let hasNull), .map(let otherKey, let otherValue, _)):
      guard let key = common(key, otherKey), let value = common(value, otherValue) else { return nil }
      return .map(key, value, valueContainsNull: hasNull)
    default:
      // Every single value is a text.
      if case (.primitive("string"), .primitive) = (type, other) { return type }
      return allows(other, type) ? type : allows(type, other) ? other : nil
    }
  }

  /// `schema` in types that also take the values of a table that had `other`.
  /// - Returns: no schema, and the name of the first field for which there is no such type.
  public static func common(_ schema: StructType, _ other: StructType) -> (schema: StructType?, clash: String?) {
    var result = schema
    for (index, field) in schema.fields.enumerated() {
      guard let old = other.fields.first(where: { $0.physicalName == field.physicalName }) else { continue }
      guard let type = common(field.type, old.type) else { return (nil, field.name) }
      result.fields[index].type = type
    }
    return (result, nil)
  }

  /// The changes that lead from one type to the other, within arrays and maps too.
  /// - Returns: nil when no allowed change does. Structs inside are compared by the caller, field by field.
  static func changes(_ from: DeltaType, _ to: DeltaType, path: [String] = []) -> [Change]? {
    if from == to { return [] }
    switch (from, to) {
    case (.array(let old, _), .array(let new, _)): return changes(old, new, path: path + ["element"])
    case (.map(let oldKey, let oldValue, _), .map(let newKey, let newValue, _)):
      guard let keys = changes(oldKey, newKey, path: path + ["key"]), let values = changes(oldValue, newValue, path: path + ["value"])
      else { return nil }
      return keys + values
    default:
      return allows(from, to) ? [Change(from: from, to: to, fieldPath: path.joined(separator: "."))] : nil
    }
  }

  /// - Throws: `invalidFile` for a recorded change that this reader could not follow.
  public static func validate(_ schema: StructType) throws {
    var problem: PlatformError?
    schema.forEachField { field in
      guard let changes = field.metadata[changesKey]?.arrayValue else { return }
      for change in changes {
        guard let from = change["fromType"].flatMap({ try? DeltaType(json: $0) }), let to = change["toType"].flatMap({ try? DeltaType(json: $0) }),
          allows(from, to)
        else {
          problem = PlatformError(
            .invalidFile, "the column '\(field.name.prefix(100))' changed its type in a way that this reader does not know")
          return
        }
      }
    }
    if let problem { throw problem }
  }
}
