// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// One column as the catalog shows it.
public struct ColumnEntry: Sendable, Codable, Equatable {
  public var name: String
  /// SQL type text, as in `decimal(10,2)`.
  public var type: String
  public init(name: String, type: String) {
    self.name = name
    self.type = type
  }
}

public struct TableEntry: Sendable, Equatable {
  public var id: UUID
  public var name: ThreePartName
  /// Absolute folder of the Delta table.
  public var location: String
  public var columns: [ColumnEntry]
  public var comment: String
  public var owner: String
  public var createdAt: Date
  public var updatedAt: Date
}

/// One version of a registered model.
public struct ModelVersionEntry: Sendable, Equatable {
  public var model: ThreePartName
  public var version: Int
  /// `generate` or `embed`.
  public var kind: String
  /// Absolute folder in Hugging Face layout.
  public var location: String
  public var runID: String?
  /// Parameters, metrics, source table versions.
  public var facts: JSONValue
  public var createdAt: Date

  /// `models:/catalog.schema.name/3`
  public var uri: String { "models:/\(model)/\(version)" }
}

public struct VectorIndexEntry: Sendable, Equatable {
  public var name: ThreePartName
  public var sourceTable: String
  public var sourceVersion: Int64
  public var location: String
  public var facts: JSONValue
  public init(name: ThreePartName, sourceTable: String, sourceVersion: Int64, location: String, facts: JSONValue) {
    self.name = name
    self.sourceTable = sourceTable
    self.sourceVersion = sourceVersion
    self.location = location
    self.facts = facts
  }
}

public struct EndpointEntry: Sendable, Equatable {
  public var name: String
  public var kind: String
  public var model: String
  public var replicas: Int
  public var createdAt: Date
}

/// One edge of the lineage graph.
public struct LineageEdge: Sendable, Equatable, Codable {
  /// `table`, `model`, `index`, `endpoint`, `path`.
  public var sourceKind: String
  public var source: String
  public var sourceVersion: Int64?
  public var targetKind: String
  public var target: String
  public var targetVersion: Int64?
  public var runID: String?
  public var taskKey: String?

  public init(
    sourceKind: String, source: String, sourceVersion: Int64? = nil, targetKind: String, target: String,
    targetVersion: Int64? = nil, runID: String? = nil, taskKey: String? = nil
  ) {
    self.sourceKind = sourceKind
    self.source = source
    self.sourceVersion = sourceVersion
    self.targetKind = targetKind
    self.target = target
    self.targetVersion = targetVersion
    self.runID = runID
    self.taskKey = taskKey
  }
}

public struct DriftEntry: Sendable, Equatable {
  public var table: String
  public var column: String
  public var baseline: String
  public var runID: String
  public var psi: Double?
  public var ks: Double?
  public var js: Double?
  public var alert: Bool
  public init(table: String, column: String, baseline: String, runID: String, psi: Double?, ks: Double?, js: Double?, alert: Bool) {
    self.table = table
    self.column = column
    self.baseline = baseline
    self.runID = runID
    self.psi = psi
    self.ks = ks
    self.js = js
    self.alert = alert
  }
}
