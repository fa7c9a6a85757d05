// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Synchronization

/// Connections on which texts are parsed. Opening a database takes 10 ms, parsing a statement a tenth of one.
enum ParserConnections {
  /// Idle connections that are kept; above it they are closed.
  private static let limit = 8
  private struct State {
    var database: Database?
    var idle: [Connection] = []
  }
  private static let state = Mutex(State())

  /// A connection with the time zone UTC and no way to files; give it back.
  static func take() throws -> Connection {
    let database = try state.withLock { state throws -> Database in
      if let database = state.database { return database }
      let made = try Database(settings: .init(threads: 1))
      try made.connect().execute("SET GLOBAL TimeZone='UTC'; SET enable_external_access=false; SET lock_configuration=true")
      state.database = made
      return made
    }
    return try state.withLock { $0.idle.popLast() } ?? database.connect()
  }

  static func give(_ connection: Connection) {
    state.withLock { if $0.idle.count < limit { $0.idle.append(connection) } }
  }
}
