// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// One column as the catalog shows it.
public struct ColumnEntry: Sendable, Codable, Equatable {
  public var name: String
  /// SQL type text, as in `decimal(10,2)`.
  public var type: String
  public var comment: String?
  /// nil: the table's log says it.
  public var isNullable: Bool?
  public init(name: String, type: String, comment: String? = nil, isNullable: Bool? = nil) {
    self.name = name
    self.type = type
    self.comment = comment
    self.isNullable = isNullable
  }
}

public struct CatalogEntry: Sendable, Equatable {
  public var id: UUID
  public var name: String
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

public struct SchemaEntry: Sendable, Equatable {
  public var id: UUID
  public var catalog: String
  public var name: String
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

public struct TableEntry: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The platform chose the folder, and may remove it with the table.
    case managed
    /// Somebody else's folder; the platform only knows where it is.
    case external
    /// A query with a name; it has no folder.
    case view
  }

  public var id: UUID
  public var name: ThreePartName
  public var kind: Kind
  /// Absolute folder of the Delta table; empty for a view.
  public var location: String
  /// What a view shows.
  public var view: ViewDefinition?
  public var columns: [ColumnEntry]
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String

  /// A table that the catalog does not know yet.
  public init(new name: ThreePartName, location: String, by actor: String) {
    let now = Date()
    self.init(
      id: UUID(), name: name, kind: .managed, location: location, view: nil, columns: [], comment: "", owner: actor, properties: [:], createdAt: now,
      createdBy: actor, updatedAt: now, updatedBy: actor)
  }

  init(
    id: UUID, name: ThreePartName, kind: Kind, location: String, view: ViewDefinition?, columns: [ColumnEntry], comment: String, owner: String,
    properties: [String: String], createdAt: Date, createdBy: String, updatedAt: Date, updatedBy: String
  ) {
    (self.id, self.name, self.kind, self.location, self.view, self.columns) = (id, name, kind, location, view, columns)
    (self.comment, self.owner, self.properties) = (comment, owner, properties)
    (self.createdAt, self.createdBy, self.updatedAt, self.updatedBy) = (createdAt, createdBy, updatedAt, updatedBy)
  }
}

public struct ModelEntry: Sendable, Equatable {
  public var id: UUID
  public var name: ThreePartName
  public var comment: String
  public var owner: String
  public var newestVersion: Int?
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

/// One version of a registered model.
public struct ModelVersionEntry: Sendable, Equatable {
  public var model: ThreePartName
  public var version: Int
  /// `generate`, `embed` or `adapter`; `files` for what no endpoint serves.
  public var kind: String
  /// Absolute folder in Hugging Face layout.
  public var location: String
  public var runID: String?
  /// Parameters, metrics, source table versions.
  public var facts: JSONValue
  public var createdAt: Date
  public var id = UUID()
  public var comment = ""
  public var status = Status.ready
  /// Where a client says that the files came from; nil: from `location`.
  public var source: String?
  /// The platform chose the folder, and removes it with the version.
  public var isManaged = false
  public var createdBy = ""
  public var updatedAt: Date
  public var updatedBy = ""

  /// A version that clients make begins as pending, and is ready when they say that its files are written. One that waits for longer than
  /// a day has failed.
  public enum Status: String, Sendable, CaseIterable {
    case pending = "PENDING_REGISTRATION"
    case ready = "READY"
    case failed = "FAILED_REGISTRATION"
  }

  /// `models:/catalog.schema.name/3`
  public var uri: String { "models:/\(model)/\(version)" }
}

/// A folder of files with a name in the catalog.
public struct VolumeEntry: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The platform chose the folder, and may remove it with the volume.
    case managed
    /// Somebody else's folder; the platform only knows where it is.
    case external
  }

  public var id: UUID
  public var name: ThreePartName
  public var kind: Kind
  /// Absolute; without links when the volume was made.
  public var location: String
  public var comment: String
  public var owner: String
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String

  init(
    id: UUID = UUID(), name: ThreePartName, kind: Kind, location: String, comment: String, owner: String, createdAt: Date = Date(),
    createdBy: String? = nil, updatedAt: Date? = nil, updatedBy: String? = nil
  ) {
    self.id = id
    self.name = name
    self.kind = kind
    self.location = location
    self.comment = comment
    self.owner = owner
    self.createdAt = createdAt
    self.createdBy = createdBy ?? owner
    self.updatedAt = updatedAt ?? createdAt
    self.updatedBy = updatedBy ?? owner
  }

  /// The absolute path of `relative`, which need not exist. Looks at the file system, so call it on a thread that may block. Whoever
  /// can write into the volume can put a link there later: open what is returned without delay, or with `O_NOFOLLOW`.
  /// - Throws: `invalidArgument` PLT-3001 for an absolute path, an empty part, `.`, `..` or a control character; `permissionDenied`
  ///   when a link leads out of the volume or nowhere.
  public func path(_ relative: String) throws -> String {
    let path = ([location] + (try VolumePath.parts(relative))).joined(separator: "/")
    // The folder itself may have moved behind a link since (a mount point, a renamed disk): that is the operator's doing.
    let home = try VolumePath.reached(location)
    let reached = try VolumePath.reached(path)
    guard VolumePath.isInside(reached, home) else {
      throw PlatformError(.permissionDenied, "a link leads out of volume '\(name)'", path: path)
    }
    return reached
  }
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
  public var adapters: [EndpointAdapter] = []

  public init(name: String, kind: String, model: String, replicas: Int, createdAt: Date, adapters: [EndpointAdapter] = []) {
    self.name = name
    self.kind = kind
    self.model = model
    self.replicas = replicas
    self.createdAt = createdAt
    self.adapters = adapters
  }
}

/// An adapter that an endpoint serves as a model of its own.
public struct EndpointAdapter: Sendable, Equatable, Codable {
  public var name: String
  /// `models:/catalog.schema.name/3`
  public var model: String
  /// Folder of that version.
  public var location: String
  /// Whether a request brought it, instead of a deployment.
  public var isLoaded: Bool
  public init(name: String, model: String, location: String, isLoaded: Bool = false) {
    self.isLoaded = isLoaded
    self.name = name
    self.model = model
    self.location = location
  }
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
  /// Who; nil where it was not recorded.
  public var actor: String?
  /// When; set by the store.
  public var recordedAt: Date?

  public init(
    sourceKind: String, source: String, sourceVersion: Int64? = nil, targetKind: String, target: String,
    targetVersion: Int64? = nil, runID: String? = nil, taskKey: String? = nil, actor: String? = nil, recordedAt: Date? = nil
  ) {
    self.actor = actor
    self.recordedAt = recordedAt
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

/// A column that reaches a column of another table or view.
public struct ColumnLineageEdge: Sendable, Equatable {
  public var source: String
  public var sourceColumn: String
  public var sourceVersion: Int64?
  public var target: String
  public var targetColumn: String
  public var targetVersion: Int64?
  public var runID: String?
  public var taskKey: String?
  public var actor: String?
  /// When; set by the store.
  public var recordedAt: Date?

  public init(
    source: String, sourceColumn: String, sourceVersion: Int64? = nil, target: String, targetColumn: String, targetVersion: Int64? = nil,
    runID: String? = nil, taskKey: String? = nil, actor: String? = nil, recordedAt: Date? = nil
  ) {
    self.source = source
    self.sourceColumn = sourceColumn
    self.sourceVersion = sourceVersion
    self.target = target
    self.targetColumn = targetColumn
    self.targetVersion = targetVersion
    self.runID = runID
    self.taskKey = taskKey
    self.actor = actor
    self.recordedAt = recordedAt
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

/// Who did what to which object.
public struct AuditEntry: Sendable, Equatable {
  public var at: Date
  public var actor: String
  public var action: String
  public var object: String
  public var outcome: String
}
