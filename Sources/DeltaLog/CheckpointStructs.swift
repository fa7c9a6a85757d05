// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a checkpoint says in columns of their own types, besides the texts that it has anyway: `stats_parsed` and `partitionValues_parsed` of its
/// files ("Checkpoint Schema"; table property `delta.checkpoint.writeStatsAsStruct`).
public struct CheckpointStructs: Sendable {
  /// The members of `add`, with their types. None: the table has no statistics, or no partitions.
  public let fields: [StructField]
  private let statistics: StructType?
  private let partitions: [StructField]
  private let keepsText: Bool

  static let statisticsMember = "stats_parsed"
  static let partitionsMember = "partitionValues_parsed"

  /// nil where the table's properties do not ask for it.
  init?(_ snapshot: Snapshot) {
    let properties = snapshot.properties
    guard properties.writesStatsAsStruct else { return nil }
    let leaves = FileStatistics.columns(of: snapshot)
    let bounds = Self.tree(leaves.filter { Self.hasBounds($0.type) }.map { ($0.path, $0.type) })
    let nulls = Self.tree(leaves.map { ($0.path, .primitive("long")) })
    var members = [StructField(name: "numRecords", type: .primitive("long"))]
    if !bounds.isEmpty { members += ["minValues", "maxValues"].map { StructField(name: $0, type: .structure(StructType(fields: bounds))) } }
    if !nulls.isEmpty { members.append(StructField(name: "nullCount", type: .structure(StructType(fields: nulls)))) }
    members.append(StructField(name: "tightBounds", type: .primitive("boolean")))
    let statistics = StructType(fields: members)
    let partitions = snapshot.metadata.partitionColumns.compactMap { name in
      snapshot.schema.fields.first { $0.name.lowercased() == name.lowercased() }.map { StructField(name: $0.physicalName, type: $0.type) }
    }
    self.statistics = statistics
    // Bytes have no text that every reader makes the same bytes of.
    self.partitions = partitions.contains { $0.type == .primitive("binary") } ? [] : partitions
    keepsText = properties.writesStatsAsJSON
    fields =
      [StructField(name: Self.statisticsMember, type: .structure(statistics))]
      + (self.partitions.isEmpty ? [] : [StructField(name: Self.partitionsMember, type: .structure(StructType(fields: self.partitions)))])
  }

  private static func hasBounds(_ type: DeltaType) -> Bool {
    guard case .primitive(let name) = type else { return false }
    return name != "boolean" && name != "binary"
  }

  /// Columns by their paths as fields within fields, in the order of the first of each.
  private static func tree(_ leaves: [(path: [String], type: DeltaType)]) -> [StructField] {
    var names: [String] = []
    for leaf in leaves where !names.contains(leaf.path[0]) { names.append(leaf.path[0]) }
    return names.map { name in
      let own = leaves.filter { $0.path[0] == name }
      if let leaf = own.first(where: { $0.path.count == 1 }) { return StructField(name: name, type: leaf.type) }
      return StructField(name: name, type: .structure(StructType(fields: tree(own.map { (Array($0.path.dropFirst()), $0.type) }))))
    }
  }

  /// An action as a line of JSON, with these members where it adds a file. Values are texts or numbers that mean one value of their type.
  func line(_ action: Action) -> Data {
    guard case .add(var file) = action else { return action.line }
    var members: [String: JSONValue] = [:]
    if let statistics, let value = file.stats.flatMap({ try? JSONScanner.value($0) }), value.objectValue != nil {  // unreadable counts as absent
      members[Self.statisticsMember] = Self.statistics(value, statistics)
      if !keepsText { file.stats = nil }
    }
    if !partitions.isEmpty, let values = Self.partitions(file.partitionValues, partitions) { members[Self.partitionsMember] = values }
    let line = Action.add(file).line
    guard !members.isEmpty, line.last == UInt8(ascii: "}") else { return line }
    // Behind the other members of `add`.
    return line.dropLast(2) + Data(",".utf8) + Data(JSONText.text(of: .object(members)).utf8.dropFirst().dropLast()) + Data("}}".utf8)
  }

  private static func statistics(_ value: JSONValue, _ type: StructType) -> JSONValue {
    var members: [String: JSONValue] = [:]
    for field in type.fields {
      guard let own = value[field.name], own != .null else { continue }
      if case .structure(let inner) = field.type {
        let isMaximum = field.name == "maxValues"
        members[field.name] = field.name == "nullCount" ? counts(own, inner) : bounds(own, inner, isMaximum: isMaximum)
      } else {
        members[field.name] = own
      }
    }
    return .object(members)
  }

  private static func counts(_ value: JSONValue, _ type: StructType) -> JSONValue {
    var members: [String: JSONValue] = [:]
    for field in type.fields {
      guard let own = value[field.name] else { continue }
      if case .structure(let inner) = field.type { members[field.name] = counts(own, inner) } else if own.intValue != nil { members[field.name] = own }
    }
    return .object(members)
  }

  private static func bounds(_ value: JSONValue, _ type: StructType, isMaximum: Bool) -> JSONValue {
    var members: [String: JSONValue] = [:]
    for field in type.fields {
      guard let own = value[field.name] else { continue }
      if case .structure(let inner) = field.type {
        members[field.name] = bounds(own, inner, isMaximum: isMaximum)
      } else if let literal = Literal(statistic: own, type: field.type, isMaximum: isMaximum) {
        members[field.name] = json(literal, field.type)
      }
    }
    return .object(members)
  }

  /// nil when one of them is no value of its type: the reader has the texts.
  private static func partitions(_ values: [String: String?], _ fields: [StructField]) -> JSONValue? {
    var members: [String: JSONValue] = [:]
    for field in fields {
      guard let text = values[field.name] else { return nil }
      // "An empty string for any type translates to a null partition value."
      guard let text, !text.isEmpty else { continue }
      guard let literal = try? Literal(partition: text, type: field.type) else { return nil }
      members[field.name] = json(literal, field.type)
    }
    return .object(members)
  }

  private static func json(_ literal: Literal, _ type: DeltaType) -> JSONValue? {
    switch literal {
    case .boolean(let value): .bool(value)
    case .integer(let value): .integer(value)
    case .number(let value): value.isFinite ? .number(value) : .string(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity")
    case .decimal(let text): fits(text, type) ? .string(text) : nil
    case .string, .date, .timestamp: .string(literal.partitionText(type: type))
    case .binary: nil
    }
  }

  private static func fits(_ text: String, _ type: DeltaType) -> Bool {
    guard let (precision, scale) = type.decimalSize, let digits = DecimalText(text) else { return false }
    return digits.whole.utf8.count <= precision - scale && digits.fraction.utf8.count <= scale
  }
}

extension DeltaType {
  /// Precision and scale of a decimal.
  var decimalSize: (precision: Int, scale: Int)? {
    guard case .primitive(let name) = self, name.hasPrefix("decimal") else { return nil }
    let numbers = name.split { !$0.isNumber }.compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
  }
}
