// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// The only place where error codes become HTTP statuses and the words of the client families.
enum StatusMapping {
  static func status(_ code: PlatformError.Code) -> HTTPResponse.Status {
    switch code {
    case .invalidArgument, .invalidFile, .failed: .badRequest
    case .notFound: .notFound
    case .alreadyExists, .conflict: .conflict
    case .unauthenticated: .unauthorized
    case .permissionDenied: .forbidden
    case .resourceExhausted: .tooManyRequests
    case .unavailable, .badConfiguration: .serviceUnavailable
    case .timeout: .gatewayTimeout
    case .cancelled: .init(code: 499, reasonPhrase: "Client Closed Request")
    case .internalError: .internalServerError
    }
  }

  /// Whether the request met a database that was away, or a coordinator that does not lead any more.
  static func isOutage(_ failure: PlatformError) -> Bool { ["PLT-1109", "PLT-1301"].contains(failure.number) }

  /// Databricks' and MLflow's `error_code`.
  static func errorCode(_ code: PlatformError.Code) -> String {
    switch code {
    case .invalidArgument, .invalidFile: "INVALID_PARAMETER_VALUE"
    case .notFound: "RESOURCE_DOES_NOT_EXIST"
    case .alreadyExists: "RESOURCE_ALREADY_EXISTS"
    case .conflict: "RESOURCE_CONFLICT"
    case .unauthenticated: "UNAUTHENTICATED"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "REQUEST_LIMIT_EXCEEDED"
    case .unavailable, .badConfiguration: "TEMPORARILY_UNAVAILABLE"
    case .timeout: "DEADLINE_EXCEEDED"
    case .cancelled: "CANCELLED"
    case .internalError: "INTERNAL_ERROR"
    case .failed: "BAD_REQUEST"
    }
  }

  /// What went wrong in one word, for clients that want more than `error_code`: `TABLE_ALREADY_EXISTS`, `SCHEMA_DOES_NOT_EXIST`.
  static func details(_ failure: PlatformError) -> [ErrorDetail]? {
    let ending: String
    switch failure.number {
    case "PLT-3002": ending = "DOES_NOT_EXIST"
    case "PLT-3003": ending = "ALREADY_EXISTS"
    case "PLT-1701": return [ErrorDetail(reason: "NOT_EMPTY")]
    case "PLT-1706": return [ErrorDetail(reason: "FILES_API_API_IS_NOT_ENABLED")]
    default: return nil
    }
    guard let quote = failure.message.firstIndex(of: "'") else { return nil }
    let noun = failure.message[..<quote].uppercased().split(separator: " ").joined(separator: "_")
    guard noun.allSatisfy({ $0 == "_" || $0.isLetter }), noun.count < 40 else { return nil }
    return [ErrorDetail(reason: "\(noun)_\(ending)")]
  }

  /// OpenAI's `error.param`: the parameter that a message about a request begins with.
  static func openAIParameter(_ failure: PlatformError) -> JSONValue {
    guard failure.code == .invalidArgument else { return .null }
    if failure.number == "missing_model" { return "model" }
    if failure.number == "PLT-4201" { return "messages" }
    let text = failure.message
    let name: Substring
    if text.hasPrefix("'") {
      name = text.dropFirst().prefix { $0 != "'" }
    } else {
      name = text.prefix { $0 != " " && $0 != ":" }
      // Names have an underscore or are one of these; other messages begin with a word.
      let isParameter = name.contains("_") || ["messages", "temperature", "logprobs", "stop", "seed", "tools"].contains { name.hasPrefix($0) }
      guard isParameter else { return .null }
    }
    return name.isEmpty || name.count > 64 ? .null : .string(String(name))
  }

  /// OpenAI's `error.type`.
  static func openAIType(_ code: PlatformError.Code) -> String {
    switch code {
    case .invalidArgument, .invalidFile, .notFound, .alreadyExists, .conflict: "invalid_request_error"
    case .unauthenticated: "authentication_error"
    case .permissionDenied: "permission_error"
    case .resourceExhausted: "rate_limit_error"
    default: "server_error"
    }
  }
}
