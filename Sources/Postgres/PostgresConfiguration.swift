// SPDX-License-Identifier: Apache-2.0

import Core

/// How to reach a server and what every connection is set to.
public struct PostgresConfiguration: Sendable {
  /// A libpq connection string or URI, as in `host=/run/postgresql user=platform dbname=platform`.
  public var connectionString: String
  /// The schema that unqualified names mean. Lower-case letters, digits and underscores.
  public var schema = "platform"
  /// Connections, and threads that use them. Ten times more only moves the queue into the server.
  public var poolSize = 4
  /// Calls that may wait for a connection; one more is refused with `resourceExhausted`.
  public var queueLimit = 10_000
  public var applicationName = "platform"
  /// Bounds finding the server and logging in; libpq counts whole seconds, at least two.
  public var connectTimeout: Duration = .seconds(5)
  /// Bounds each statement in the server. Zero: no bound.
  public var statementTimeout: Duration = .seconds(30)
  /// Bounds each statement on this side, when the server hangs and keeps no bound itself: after it the statement is cancelled and
  /// its connection closed. Longer than `statementTimeout`, so that a server that is well speaks first. A call may give its own.
  public var answerTimeout: Duration = .seconds(60)
  public var lockTimeout: Duration = .seconds(2)
  public var idleInTransactionTimeout: Duration = .seconds(10)
  /// How long a call waits for a server that cannot be reached, and goes on trying what a lost connection certainly left undone. Counted
  /// from the call; zero: it fails at once.
  public var outagePatience: Duration = .zero
  /// An answer that takes longer makes the pool ask the server for a sign of life on another connection; where none comes, the call ends
  /// as one that was not answered, long before `answerTimeout`. Zero: nobody asks.
  public var silenceLimit: Duration = .zero
  /// Refuses a standby server (`target_session_attrs=read-write`).
  public var requiresWritable = true

  public init(connectionString: String, schema: String = "platform", poolSize: Int = 4) {
    self.connectionString = connectionString
    self.schema = schema
    self.poolSize = poolSize
  }

  /// - Throws: `badConfiguration` naming the field.
  func validate() throws {
    guard PostgresIdentifier.isPlain(schema) else {
      throw PlatformError(
        .badConfiguration, "the Postgres schema name '\(schema)' is not usable",
        hint: "Use 1 to 63 lower-case letters, digits and underscores, beginning with a letter or underscore.")
    }
    guard (1...256).contains(poolSize), queueLimit > 0 else {
      throw PlatformError(.badConfiguration, "the Postgres pool needs 1 to 256 connections and a queue limit above 0")
    }
    guard answerTimeout > .zero else { throw PlatformError(.badConfiguration, "the Postgres answer timeout has to be above 0") }
    guard !connectionString.utf8.contains(0), !applicationName.utf8.contains(0) else {
      throw PlatformError(.badConfiguration, "the Postgres connection string holds a NUL character")
    }
  }
}

extension Duration {
  /// Whole milliseconds, rounded up and clamped to what a 32-bit setting holds.
  var settingMilliseconds: Int {
    let (seconds, attoseconds) = components
    if seconds > 2_000_000 { return 2_000_000_000 }
    let fraction = (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    return max(0, Int(seconds) * 1000 + Int(fraction))
  }
}

/// Names inside statements. Parameters cannot carry them, so they are quoted here and nowhere else.
public enum PostgresIdentifier {
  /// `name` in double quotes.
  /// - Throws: `invalidArgument` when it is empty, longer than 63 bytes (the server would cut it) or holds NUL.
  public static func quote(_ name: String) throws -> String {
    guard !name.isEmpty, name.utf8.count <= 63, !name.utf8.contains(0) else {
      throw PlatformError(.invalidArgument, "a Postgres name has 1 to 63 bytes and no NUL character")
    }
    return "\"" + name.replacing("\"", with: "\"\"") + "\""
  }

  /// Needs no quotes: `[a-z_][a-z0-9_]*`, at most 63 bytes.
  static func isPlain(_ name: String) -> Bool {
    guard let first = name.utf8.first, name.utf8.count <= 63, !(48...57).contains(first) else { return false }
    return name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 95 }
  }
}
