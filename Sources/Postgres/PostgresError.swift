// SPDX-License-Identifier: Apache-2.0

public import Core

/// What the server (or libpq) said about a statement that failed. The pool and its sessions throw its `platformError`,
/// whose `number` keeps the SQLSTATE as `PG-23505`; read it back with `PlatformError.sqlState`.
public struct PostgresError: Error, Sendable, Equatable {
  /// Five characters; empty when the connection broke before the server could answer.
  public var sqlState: String
  /// The primary message. The server's DETAIL, which may quote row values, is left out.
  public var message: String
  public var constraint: String?
  public var table: String?

  /// No answer came within the bound of this side. Whether the statement was done is not known.
  public private(set) var isTimeout = false

  init(timeout message: String) {
    self.init(sqlState: "", message: message)
    isTimeout = true
  }

  init(sqlState: String, message: String, constraint: String? = nil, table: String? = nil) {
    self.sqlState = sqlState
    self.message = message
    self.constraint = constraint
    self.table = table
  }

  /// A transaction that failed this way was rolled back because of another one, and may simply be run again.
  public var isSerializationFailure: Bool { sqlState == "40001" || sqlState == "40P01" }

  /// The connection is of no more use.
  public var isConnectionLoss: Bool {
    sqlState.isEmpty || sqlState.hasPrefix("08") || ["57P01", "57P02", "57P03", "57P05", "25P03", "25006"].contains(sqlState)
  }

  /// Classes 08, 40, 53 and 57P become retryable codes, a unique violation `alreadyExists`.
  public var platformError: PlatformError {
    let code: PlatformError.Code
    var hint = ""
    switch sqlState {
    case "" where isTimeout:
      code = .timeout
      hint = "Is the server overloaded, stopped or cut off? Whether the statement was done is not known."
    case "": code = .unavailable
    case "23505", "42P04", "42P06", "42P07": code = .alreadyExists
    case "23503": code = .conflict
    case "25006":
      code = .unavailable
      hint = "The server is a read-only standby; connect to the primary."
    case "25P03", "55P03", "57014": code = .timeout
    case "42501": code = .permissionDenied
    case "3D000":
      code = .badConfiguration
      hint = "Create the database, or correct the connection string."
    case "42P01", "3F000":
      code = .internalError
      hint = "Were the migrations applied?"
    default:
      switch sqlState.prefix(2) {
      case "08", "57": code = .unavailable
      case "40": code = .conflict
      case "53", "54": code = .resourceExhausted
      case "22", "23": code = .invalidArgument
      case "28":
        code = .badConfiguration
        hint = "Check user and password in the connection string and the server's pg_hba.conf."
      case "58": code = .unavailable
      default: code = .internalError
      }
    }
    var text = message
    if let constraint, !text.contains(constraint) { text += " (constraint \(constraint))" }
    return PlatformError(code, "Postgres: \(text)", hint: hint, number: sqlState.isEmpty ? "PLT-1109" : "PG-\(sqlState)")
  }
}

extension PlatformError {
  /// The SQLSTATE that a Postgres server gave, or nil when the error came from elsewhere.
  public var sqlState: String? { number.hasPrefix("PG-") ? String(number.dropFirst(3)) : nil }
}
