// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// The packages that a person's program needs beside Python itself.
public struct PythonEnvironment: Codable, Sendable, Equatable {
  /// A wheel that the job brings along.
  public struct Wheel: Codable, Sendable, Equatable {
    /// Of the file, as pip wants it: `name-version-...whl`.
    public var name: String
    /// Of its bytes when the run was started.
    public var sha256: String
    /// Where it lies.
    public var path: String?
    /// Or its bytes, as base64.
    public var data: String?

    public init(name: String, sha256: String, path: String? = nil, data: String? = nil) {
      self.name = name
      self.sha256 = sha256
      self.path = path
      self.data = data
    }
  }

  /// As the job calls it, for messages.
  public var name: String
  /// Lines as in a requirements file of pip.
  public var requirements: [String]
  public var wheels: [Wheel]
  /// What the run's first attempt with these packages got; nil: to be found out.
  public var lock: PythonLock?

  public init(name: String, requirements: [String], wheels: [Wheel] = [], lock: PythonLock? = nil) {
    self.name = name
    self.requirements = requirements
    self.wheels = wheels
    self.lock = lock
  }

  /// Of what is asked for, whatever it is called: the same packages have the same digest.
  public var digest: String { Self.digest(requirements, wheels) }

  static func digest(_ lines: [String], _ wheels: [Wheel]) -> String {
    SHA256Digest.hex((lines.sorted() + ["--"] + wheels.map { "\($0.name) \($0.sha256)" }.sorted()).joined(separator: "\n"))
  }

  /// The name under which a machine keeps the environment of exactly this on this interpreter.
  /// - Parameter isLocked: the lines are those of a lock, installed without what they need in turn.
  public func key(on interpreter: PythonInterpreter, isLocked: Bool = false) -> String {
    let lines = isLocked ? (lock?.requirements(on: interpreter) ?? []) : requirements
    let facts = ["environment 1", interpreter.path, interpreter.version, interpreter.platform, isLocked ? "locked" : "open", Self.digest(lines, wheels)]
    return String(SHA256Digest.hex(facts.joined(separator: "\n")).prefix(40))
  }
}

/// A Python that environments are made from.
public struct PythonInterpreter: Codable, Sendable, Equatable {
  public var path: String
  public var version: String
  /// As `sysconfig.get_platform()` says it.
  public var platform: String

  public init(path: String, version: String, platform: String) {
    self.path = path
    self.version = version
    self.platform = platform
  }
}

/// The exact packages of an environment, without the wheels that the job brought along.
public struct PythonLock: Codable, Sendable, Equatable {
  public struct Package: Codable, Sendable, Equatable {
    public var name: String
    public var version: String
    /// Of the file that was installed.
    public var sha256: String?
    /// Where it came from, when the requirement said so itself.
    public var url: String?

    public init(name: String, version: String, sha256: String? = nil, url: String? = nil) {
      self.name = name
      self.version = version
      self.sha256 = sha256
      self.url = url
    }
  }

  public var python: String
  public var platform: String
  /// By name.
  public var packages: [Package]
  /// Options of the requirements, such as where packages come from.
  public var options: [String]

  public init(python: String, platform: String, packages: [Package], options: [String] = []) {
    self.python = python
    self.platform = platform
    self.packages = packages
    self.options = options
  }

  /// Lines that install exactly this. Files are named by their hashes where every package has one and the machine is of the same kind: others
  /// need other files of the same version.
  public func requirements(on interpreter: PythonInterpreter) -> [String] {
    let hashes = isHashed(on: interpreter)
    return options
      + packages.map { package in
        let what = package.url.map { "\(package.name) @ \($0)" } ?? "\(package.name)==\(package.version)"
        return hashes ? "\(what) --hash=sha256:\(package.sha256 ?? "")" : what
      }
  }

  /// Whether its lines carry hashes there.
  public func isHashed(on interpreter: PythonInterpreter) -> Bool {
    interpreter.version == python && interpreter.platform == platform && packages.allSatisfy { $0.sha256 != nil }
  }
}

extension PythonLock {
  /// From what pip reports of an installation (`pip install --report`). The report was written by the program's user: what is not of the right
  /// shape is refused.
  /// - Parameter wheels: files that the job brought along; they are not part of the lock.
  /// - Throws: `failed` PLT-4330.
  public init(report: JSONValue, requirements: [String], wheels: [PythonEnvironment.Wheel], on interpreter: PythonInterpreter) throws {
    func bad(_ text: String) -> PlatformError { PlatformError(.failed, "what pip reports of an installation \(text)", number: "PLT-4330") }
    guard let items = report["install"]?.arrayValue, items.count <= 5_000 else { throw bad("cannot be read") }
    let own = Set(wheels.map(\.name))
    var found: [Package] = []
    for item in items {
      guard let name = item["metadata"]?["name"]?.stringValue, let version = item["metadata"]?["version"]?.stringValue,
        Self.isPlain(name, also: "._-"), Self.isPlain(version, also: ".!+_-")
      else { throw bad("names a package that has no usable name or version") }
      let source = item["download_info"]
      let url = source?["url"]?.stringValue ?? ""
      let isDirect = item["is_direct"]?.boolValue == true
      if isDirect, url.hasPrefix("file://"), own.contains(url.split(separator: "/").last.map(String.init)?.removingPercentEncoding ?? "") { continue }
      let archive = source?["archive_info"]
      let given = archive?["hashes"]?["sha256"]?.stringValue ?? archive?["hash"]?.stringValue.map { String($0.trimmingPrefix("sha256=")) }
      let hash = given.flatMap { $0.utf8.count == 64 && $0.allSatisfy(\.isHexDigit) ? $0.lowercased() : nil }
      var package = Package(name: name, version: version, sha256: hash)
      if isDirect {
        guard url.hasPrefix("https://"), !url.contains(where: \.isWhitespace), url.utf8.count < 4_000 else {
          throw bad("names a place that is no https address")
        }
        let commit = source?["vcs_info"]?["commit_id"]?.stringValue
        package.url = commit.map { "git+\(url)@\($0)" } ?? url
      }
      found.append(package)
    }
    self.init(
      python: interpreter.version, platform: interpreter.platform, packages: found.sorted { $0.name.lowercased() < $1.name.lowercased() },
      options: requirements.filter { $0.hasPrefix("-") })
  }

  private static func isPlain(_ text: String, also: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 200
      && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || also.utf8.contains($0) }
  }
}

/// Members that the work of a program has beside those of `CommandWork`.
public struct ProgramNeeds: Codable, Sendable, Equatable {
  public var python: PythonEnvironment?
  /// Variables of its environment that hold secrets: `scope/key` by name. The values are in no record.
  public var secrets: [String: String]?
  /// The notebook that the program runs, and where it is kept with its outputs.
  public var notebook: Notebook?
  /// Where the files that it leaves are kept.
  public var artifacts: String?
  /// Files that lie in its folder when it begins: the JSON text of a `ProgramFiles`.
  public var files: String?

  public struct Notebook: Codable, Sendable, Equatable {
    public var source: String
    public var keptAt: String

    public init(source: String, keptAt: String) {
      self.source = source
      self.keptAt = keptAt
    }
  }

  public init(python: PythonEnvironment? = nil, secrets: [String: String]? = nil) {
    self.python = python
    self.secrets = secrets
  }
}

/// The making of an environment, before the program that needs it: work of the kind `environment`. What comes out is a `PythonLock`.
public struct EnvironmentWork: Codable, Sendable, Equatable {
  public static let kind = "environment"

  public var python: PythonEnvironment
  public var limits: CommandLimits

  public init(python: PythonEnvironment, limits: CommandLimits) {
    self.python = python
    self.limits = limits
  }
}
