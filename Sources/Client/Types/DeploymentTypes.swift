// SPDX-License-Identifier: Apache-2.0

public import Core

// Deployments of projects: which resource of a project is which job or object of the catalog.

/// A deployment with what it has made.
public struct DeploymentInfo: Codable, Sendable, Equatable {
  /// Tells deployments apart.
  public var rootPath: String
  public var bundle: String
  public var target: String
  /// Another one with every deployment that begins; 0: there was none yet.
  public var version: Int64
  /// `IN_PROGRESS` from the beginning of a deployment to its end, then `DEPLOYED`; empty: there was none yet.
  public var state: String
  public var deployedBy: String
  /// Milliseconds since 1970.
  public var deployedAt: Int64
  public var resources: [DeploymentResource]

  public init(
    rootPath: String, bundle: String = "", target: String = "", version: Int64 = 0, state: String = "", deployedBy: String = "", deployedAt: Int64 = 0,
    resources: [DeploymentResource] = []
  ) {
    self.rootPath = rootPath
    self.bundle = bundle
    self.target = target
    self.version = version
    self.state = state
    self.deployedBy = deployedBy
    self.deployedAt = deployedAt
    self.resources = resources
  }

  enum CodingKeys: String, CodingKey {
    case bundle, target, version, state, resources
    case rootPath = "root_path"
    case deployedBy = "deployed_by"
    case deployedAt = "deployed_at"
  }
}

public struct DeploymentResource: Codable, Sendable, Equatable {
  /// As in project files: `jobs`, `schemas`, ..
  public var kind: String
  public var key: String
  /// A job's number, or the full name of an object of the catalog.
  public var id: String
  /// Noted before it is made, and nobody has said since that it was.
  public var pending: Bool
  /// Milliseconds since 1970.
  public var notedAt: Int64
  /// A job's settings as they are now.
  public var settings: JSONValue?
  /// SHA-256 of the texts that came with a job, by path.
  public var files: [String: String]?

  public init(kind: String, key: String, id: String, pending: Bool, notedAt: Int64, settings: JSONValue? = nil, files: [String: String]? = nil) {
    self.kind = kind
    self.key = key
    self.id = id
    self.pending = pending
    self.notedAt = notedAt
    self.settings = settings
    self.files = files
  }

  enum CodingKeys: String, CodingKey {
    case kind, key, id, pending, settings, files
    case notedAt = "noted_at"
  }
}

/// Begins a deployment: others of the same path that are under way can change nothing any more.
public struct DeploymentBegin: Codable, Sendable, Equatable {
  public var rootPath: String
  public var bundle: String
  public var target: String
  /// The version that was planned with.
  public var planned: Int64
  public init(rootPath: String, bundle: String, target: String, planned: Int64) {
    self.rootPath = rootPath
    self.bundle = bundle
    self.target = target
    self.planned = planned
  }
  enum CodingKeys: String, CodingKey {
    case bundle, target, planned
    case rootPath = "root_path"
  }
}

public struct DeploymentVersion: Codable, Sendable, Equatable {
  public var version: Int64
  public init(version: Int64) { self.version = version }
}

/// What a deployment does to one of its resources. Jobs are made, changed and deleted together with the note of it.
public struct DeploymentChange: Codable, Sendable, Equatable {
  public var rootPath: String
  /// What `begin` has answered.
  public var version: Int64
  public var kind: String
  public var key: String
  /// The full name of an object of the catalog; of a job the number of one that exists and is taken over.
  public var id: String?
  /// It is about to be made.
  public var pending: Bool?
  public var settings: JSONValue?
  /// Texts of files that a job's tasks name.
  public var files: [String: String]?

  public init(
    rootPath: String, version: Int64, kind: String, key: String, id: String? = nil, pending: Bool? = nil, settings: JSONValue? = nil,
    files: [String: String]? = nil
  ) {
    self.rootPath = rootPath
    self.version = version
    self.kind = kind
    self.key = key
    self.id = id
    self.pending = pending
    self.settings = settings
    self.files = files
  }

  enum CodingKeys: String, CodingKey {
    case version, kind, key, id, pending, settings, files
    case rootPath = "root_path"
  }
}

/// The end of a deployment. One that has nothing left is forgotten.
public struct DeploymentEnd: Codable, Sendable, Equatable {
  public var rootPath: String
  public var version: Int64
  public init(rootPath: String, version: Int64) {
    self.rootPath = rootPath
    self.version = version
  }
  enum CodingKeys: String, CodingKey {
    case version
    case rootPath = "root_path"
  }
}

public struct DeploymentList: Codable, Sendable, Equatable {
  public var deployments: [DeploymentInfo]
  public init(deployments: [DeploymentInfo]) { self.deployments = deployments }
}
