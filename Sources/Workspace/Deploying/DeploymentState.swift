// SPDX-License-Identifier: Apache-2.0

public import Core

/// What the cluster knows of a deployment, and how the things look that it made.
public struct DeploymentState: Sendable {
  /// Changes with every deployment that begins; 0: there was none.
  public var version: Int64 = 0
  public var resources: [Resource] = []
  /// Objects of the catalog that are there, whoever made them, by `KIND NAME`; only those that the project or the deployment names.
  public var objects: [String: Object] = [:]

  public init() {}

  /// What a deployment has made, or was about to make.
  public struct Resource: Sendable, Equatable {
    public var kind: ProjectResource.Kind
    public var key: String
    /// A job's number, or the full name of an object of the catalog.
    public var id: String
    /// It was about to be made and nobody has said since that it was.
    public var isPending: Bool
    /// Milliseconds since 1970.
    public var notedAt: Int64
    /// A job as it is now; nil when it was deleted since.
    public var job: Job?

    public init(kind: ProjectResource.Kind, key: String, id: String, isPending: Bool = false, notedAt: Int64 = 0, job: Job? = nil) {
      self.kind = kind
      self.key = key
      self.id = id
      self.isPending = isPending
      self.notedAt = notedAt
      self.job = job
    }
  }

  public struct Job: Sendable, Equatable {
    public var settings: JSONValue
    /// SHA-256 of the texts that came with it, by path.
    public var files: [String: String]
    public init(settings: JSONValue, files: [String: String]) {
      self.settings = settings
      self.files = files
    }

    /// Without what a project that says nothing of it does not look at: rights, and who owns the job.
    func settings(comparedWith wanted: JSONValue) -> JSONValue {
      guard case .object(var members) = settings, let rights = members["access_control_list"]?.arrayValue else { return settings }
      func isOwner(_ entry: JSONValue) -> Bool { entry["permission_level"] == "IS_OWNER" }
      let wanted = wanted["access_control_list"]?.arrayValue
      members["access_control_list"] = wanted.map { wanted in .array(wanted.contains(where: isOwner) ? rights : rights.filter { !isOwner($0) }) }
      return .object(members)
    }
  }

  public struct Object: Sendable, Equatable {
    /// `comment`, `properties` and the like.
    public var facts: JSONValue
    /// Milliseconds since 1970.
    public var createdAt: Int64
    public init(facts: JSONValue, createdAt: Int64) {
      self.facts = facts
      self.createdAt = createdAt
    }
  }

  public static func name(_ kind: ProjectResource.Kind, _ name: String) -> String { "\(kind.rawValue) \(name.lowercased())" }

  func object(_ kind: ProjectResource.Kind, _ name: String) -> Object? { objects[Self.name(kind, name)] }

  /// Numbers of the deployment's jobs that are there, as references name them.
  public var jobNumbers: [String: Int64] {
    Dictionary(
      resources.filter { $0.kind == .jobs && $0.job != nil }.compactMap { one in Int64(one.id).map { ("resources.jobs.\(one.key).id", $0) } },
      uniquingKeysWith: { $1 })
  }
}
