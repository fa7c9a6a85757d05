// SPDX-License-Identifier: Apache-2.0

public import Core

/// What a project means beyond its files.
public struct ProjectContext: Sendable {
  /// The target asked for; nil: the default one.
  public var target: String?
  /// Values of variables that were given for this call, over all others.
  public var variables: [String: String] = [:]
  /// `BUNDLE_VAR_NAME` gives a variable its value.
  public var environment: [String: String] = [:]
  /// Who deploys.
  public var user = ""
  public var host = ""
  public var git = GitFacts()

  public struct GitFacts: Sendable, Equatable {
    public var branch: String?
    public var commit: String?
    public init(branch: String? = nil, commit: String? = nil) {
      self.branch = branch
      self.commit = commit
    }
  }

  public init(target: String? = nil, user: String = "") {
    self.target = target
    self.user = user
  }

  /// The part of a user's name that names carry: `jane.doe@example.com` is `jane_doe`.
  public var shortUser: String { Self.normalized(String(user.prefix { $0 != "@" })) }

  /// Letters, digits and `_` alone, as Databricks' command line makes names of texts.
  static func normalized(_ text: String) -> String {
    var result = ""
    for scalar in text.lowercased().unicodeScalars {
      if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
        result.unicodeScalars.append(scalar)
      } else if result.last != "_" {
        result += "_"
      }
    }
    while result.hasPrefix("_") { result.removeFirst() }
    while result.hasSuffix("_") { result.removeLast() }
    return result
  }
}

/// A project for one target, everything filled in but identifiers that only a deployment knows.
public struct Project: Sendable {
  public enum Mode: String, Sendable {
    case development, production
  }

  public struct Identity: Sendable, Equatable {
    public var name: String
    public var target: String
    public var mode: Mode?
    /// What tells deployments apart: the same project deployed to the same place is the same deployment, whoever does it.
    public var rootPath: String
    /// Where the target says that it is deployed.
    public var host: String?
  }

  public var identity: Identity
  /// In the order in which they are made.
  public var resources: [ProjectResource]
  /// Names of jobs that the project only looks up.
  public var lookups: [JobLookup]
  /// As Databricks' `bundle validate -o json` shows it.
  public var configuration: JSONValue

  public func resource(_ key: String) -> ProjectResource? { resources.first { $0.key == key } }
}

/// A job that is looked up by its name when the project is deployed.
public struct JobLookup: Sendable, Equatable {
  public var job: String
  public var path: String
  public var line: Int
  /// Stands for the job's number until it is known.
  public var token: String
}

/// Something in `resources`.
public struct ProjectResource: Sendable, Equatable {
  /// In the order in which they are made.
  public enum Kind: String, Sendable, CaseIterable, Codable, Comparable {
    case catalogs, schemas, volumes
    case registeredModels = "registered_models"
    case jobs

    /// Whether deleting one deletes data.
    public var holdsData: Bool { self != .jobs }
    /// For people.
    public var noun: String {
      switch self {
      case .catalogs: "catalog"
      case .schemas: "schema"
      case .volumes: "volume"
      case .registeredModels: "model"
      case .jobs: "job"
      }
    }
    private var order: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    public static func < (a: Kind, b: Kind) -> Bool { a.order < b.order }
  }

  public var kind: Kind
  public var key: String
  /// The full name in the catalog, or a job's name.
  public var name: String
  /// Settings of a job; `comment`, `properties` and the like of an object of the catalog. References to jobs may be left in it.
  public var definition: JSONValue
  /// Texts of the files that a job's tasks name.
  public var attachments: [String: String] = [:]
  public var path: String
  public var line: Int
  /// Keys of jobs of the project whose numbers it needs.
  public var needs: [String] = []

  /// With the numbers of jobs filled in, as far as they are known.
  /// - Parameter ids: by `resources.jobs.KEY.id`, or the token of a lookup.
  public func definition(ids: [String: Int64]) -> JSONValue { Self.fill(definition, ids) }

  private static func fill(_ value: JSONValue, _ ids: [String: Int64]) -> JSONValue {
    switch value {
    case .array(let items): return .array(items.map { fill($0, ids) })
    case .object(let members): return .object(members.mapValues { fill($0, ids) })
    case .string(let text):
      guard text.contains("${") else { return value }
      var result = text
      for (name, id) in ids {
        if text == "${\(name)}" { return .integer(id) }
        result = result.replacing("${\(name)}", with: String(id))
      }
      return .string(result)
    default: return value
    }
  }
}

/// What reading a project has found.
public struct ProjectReading: Sendable {
  /// Nil when there are errors.
  public var project: Project?
  /// Known as soon as the file says what it is, also when other parts have errors.
  public var identity: Project.Identity?
  /// All at once, by file and line; `invalidFile` with path and line.
  public var errors: [PlatformError] = []
  public var warnings: [Warning] = []
  /// Names of the targets that there are.
  public var targets: [String] = []

  public struct Warning: Sendable, Equatable {
    public var message: String
    public var path: String
    public var line: Int
  }
}
