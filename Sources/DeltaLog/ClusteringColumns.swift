// SPDX-License-Identifier: Apache-2.0

import Core

/// The columns that a clustered table's files are arranged by ("Clustered Table").
public enum ClusteringColumns {
  public static let domain = "delta.clustering"

  /// Physical names, nested ones as paths. Empty: the table is not clustered.
  public static func read(_ domains: [String: DomainMetadata]) throws -> [[String]] {
    guard let text = domains[domain]?.configuration else { return [] }
    guard let columns = try JSONScanner.value(text)["clusteringColumns"]?.arrayValue else { return [] }
    return try columns.map { column in
      if let name = column.stringValue { return [name] }
      guard let path = column.arrayValue?.map(\.stringValue), !path.isEmpty, path.allSatisfy({ $0 != nil }) else {
        throw PlatformError(.invalidFile, "the table's clustering columns cannot be read")
      }
      return path.compactMap { $0 }
    }
  }

  /// The action that sets the columns, by display name.
  /// - Throws: `invalidArgument` for columns that are absent, repeated, nested in a list or map, or no plain values.
  public static func action(_ columns: [[String]], schema: StructType) throws -> Action {
    guard Set(columns).count == columns.count, columns.count <= 4 else {
      throw PlatformError(.invalidArgument, "a table is clustered by up to four different columns")
    }
    let physical = try columns.map { column -> JSONValue in
      guard let found = schema.field(at: column), case .primitive = found.field.type else {
        throw PlatformError(.invalidArgument, "'\(column.joined(separator: "."))' is no plain column of the table")
      }
      return .array(found.physicalPath.map { .string($0) })
    }
    return .domain(
      DomainMetadata(domain: domain, configuration: JSONText.text(of: ["clusteringColumns": .array(physical)])))
  }
}

extension StructType {
  /// The field that `path` leads to through structs, by display names in any case, with the physical names on the way.
  public func field(at path: [String]) -> (field: StructField, physicalPath: [String])? {
    var fields = self.fields
    var physical: [String] = []
    for (index, name) in path.enumerated() {
      guard let field = fields.first(where: { $0.name == name }) ?? fields.first(where: { $0.name.lowercased() == name.lowercased() })
      else { return nil }
      physical.append(field.physicalName)
      if index == path.count - 1 { return (field, physical) }
      guard case .structure(let inner) = field.type else { return nil }
      fields = inner.fields
    }
    return nil
  }
}
