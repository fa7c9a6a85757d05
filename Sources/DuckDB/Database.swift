// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core
import Foundation

/// A DuckDB database: in memory, or a file that this process alone has open.
public final class Database: @unchecked Sendable {  // the handle is only passed to thread-safe functions
  /// Limits, fixed when the database opens. Extensions are never installed or loaded by themselves.
  public struct Settings: Sendable {
    /// For example `512MB`; nil: 80 % of the machine.
    public var memoryLimit: String?
    /// nil: one for each core.
    public var threads: Int?
    /// Where queries spill; nil: they do not.
    public var temporaryDirectory: String?
    /// More settings by DuckDB's names.
    public var extra: [String: String]

    public init(
      memoryLimit: String? = nil, threads: Int? = nil, temporaryDirectory: String? = nil, extra: [String: String] = [:]
    ) {
      self.memoryLimit = memoryLimit
      self.threads = threads
      self.temporaryDirectory = temporaryDirectory
      self.extra = extra
    }
  }

  let engine: Engine
  private var handle: cd_database?

  /// Opens `path`, or a database in memory when it is nil. Blocks (10 ms in memory).
  /// - Throws: `badConfiguration` when the engine is not installed; `invalidArgument` with DuckDB's text otherwise.
  public init(path: String? = nil, settings: Settings = Settings()) throws {
    engine = try Engine.shared()
    let api = engine.api
    var options = settings.extra
    options["autoinstall_known_extensions"] = "false"
    options["autoload_known_extensions"] = "false"
    options["memory_limit"] = settings.memoryLimit
    options["threads"] = settings.threads.map(String.init)
    options["temp_directory"] = settings.temporaryDirectory ?? ""
    var config: cd_config?
    guard api.create_config_(&config) == 0 else { throw PlatformError(.resourceExhausted, "no memory for a database") }
    defer { api.destroy_config_(&config) }
    for (name, value) in options.sorted(by: { $0.key < $1.key }) where api.set_config_(config, name, value) != 0 {
      throw PlatformError(.invalidArgument, "the SQL engine refuses the setting \(name) = '\(value)'")
    }
    var text: UnsafeMutablePointer<CChar>?
    guard api.open_ext_(path ?? ":memory:", &handle, config, &text) == 0 else {
      defer { api.free_(text) }
      throw PlatformError(
        .invalidArgument, "cannot open the database: \(text.map { String(cString: $0) } ?? "unknown")", path: path)
    }
  }

  deinit { engine.api.close_(&handle) }

  /// A new connection. Use each from one thread at a time.
  public func connect() throws -> Connection {
    var connection: cd_connection?
    guard engine.api.connect_(handle, &connection) == 0, let connection else {
      throw PlatformError(.internalError, "the SQL engine refuses another connection")
    }
    return Connection(database: self, handle: connection)
  }

  /// The engine's version, for example `v1.5.5`.
  public static func engineVersion() throws -> String {
    try Engine.shared().api.library_version_().map { String(cString: $0) } ?? ""
  }
}
