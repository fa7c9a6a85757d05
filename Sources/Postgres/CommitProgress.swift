// SPDX-License-Identifier: Apache-2.0

/// How far a transaction has come that may lose its connection at any point. Before its COMMIT is sent it can simply run again; after
/// that the server is asked by its number how it ended (PostgreSQL manual, "Transaction ID and Snapshot Information Functions").
final class CommitProgress<T>: @unchecked Sendable {  // used by the one thread that runs the transaction
  private struct Sent {
    var number: String
    /// The server's timeline: another server that took over may have used the number again.
    var timeline: String
    var result: T
  }
  private var sent: Sent?
  private var isUnclear = false

  /// To be called right before COMMIT.
  func prepare(_ connection: PostgresConnection, _ result: T) throws {
    let row = try connection.run(
      "SELECT pg_current_xact_id_if_assigned()::text AS number, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline", []
    ).rows.first
    guard let row, let number = try row.get("number", as: String?.self) else { return }
    sent = Sent(number: number, timeline: try row.string("timeline"), result: result)
  }

  /// The server has answered: there was no commit.
  func refused() { sent = nil }

  /// Whether the transaction may run again on a new connection: it will first look how the last attempt ended.
  var mayRepeat: Bool { !isUnclear }

  /// - Returns: the result, when an earlier attempt has committed.
  /// - Throws: a connection loss where that cannot be known.
  func settle(_ connection: PostgresConnection) throws -> T? {
    guard let last = sent else { return nil }
    while true {
      let timeline = try connection.run("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline", []).rows.first?.string("timeline")
      guard timeline == last.timeline,
        let status = try connection.run("SELECT pg_xact_status($1::xid8) AS status", [.text(last.number)]).rows.first?.get("status", as: String?.self)
      else {
        isUnclear = true
        throw PostgresError(sqlState: "", message: "the connection was lost during COMMIT, and another server has taken over: whether it was done is not known")
      }
      switch status {
      case "committed": return last.result
      case "aborted":
        sent = nil
        return nil
      default:
        // Its process still works on it, or has not noticed that nobody is there any more.
        _ = try connection.run("SELECT pg_sleep(0.05)", [])
      }
    }
  }
}
