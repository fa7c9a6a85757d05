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
