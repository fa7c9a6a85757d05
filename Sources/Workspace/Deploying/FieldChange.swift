// SPDX-License-Identifier: Apache-2.0

public import Core

/// A field that is another one than before.
public struct FieldChange: Sendable, Equatable, Codable {
  /// As in `tasks[ingest].max_retries`.
  public var field: String
  /// Nil: it was not there.
  public var old: JSONValue?
  /// Nil: it goes.
  public var new: JSONValue?

  public init(field: String, old: JSONValue?, new: JSONValue?) {
    self.field = field
    self.old = old
    self.new = new
  }

  /// What names the parts of a list, where something does.
  private static let keys = ["task_key", "job_cluster_key", "environment_key", "name"]

  /// Fields in which two values differ, by name. Parts of lists that have keys are told apart by them.
  public static func all(from old: JSONValue?, to new: JSONValue?, _ field: String = "") -> [FieldChange] {
    if isSame(old, new) { return [] }
    if case .object(let before)? = old, case .object(let after)? = new {
      return Set(before.keys).union(after.keys).sorted().flatMap { key in
        all(from: before[key], to: after[key], field.isEmpty ? key : "\(field).\(key)")
      }
    }
    if case .array(let before)? = old, case .array(let after)? = new {
      if let before = keyed(before), let after = keyed(after) {
        let order = before.map(\.key) + after.map(\.key).filter { key in !before.contains { $0.key == key } }
        var found = order.flatMap { key in
          all(from: before.first { $0.key == key }?.value, to: after.first { $0.key == key }?.value, "\(field)[\(key)]")
        }
        if found.isEmpty { found = [FieldChange(field: field, old: .array(before.map { .string($0.key) }), new: .array(after.map { .string($0.key) }))] }
        return found
      }
      if before.count == after.count {
        return before.indices.flatMap { all(from: before[$0], to: after[$0], "\(field)[\($0)]") }
      }
    }
    return [FieldChange(field: field, old: old, new: new)]
  }

  private static func keyed(_ items: [JSONValue]) -> [(key: String, value: JSONValue)]? {
    for name in keys {
      let found = items.compactMap { item in item[name]?.stringValue.map { ($0, item) } }
      if found.count == items.count, !items.isEmpty, Set(found.map(\.0)).count == items.count { return found }
    }
    return nil
  }

  /// Whether two values mean the same; null is like nothing, and 1.0 is 1.
  static func isSame(_ a: JSONValue?, _ b: JSONValue?) -> Bool {
    switch (a ?? .null, b ?? .null) {
    case (.array(let a), .array(let b)): return a.count == b.count && zip(a, b).allSatisfy { isSame($0, $1) }
    case (.object(let a), .object(let b)): return Set(a.keys).union(b.keys).allSatisfy { isSame(a[$0], b[$0]) }
    case (let a, let b):
      if let a = a.doubleValue, let b = b.doubleValue { return a == b }
      return a == b
    }
  }
}
