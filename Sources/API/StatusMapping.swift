// SPDX-License-Identifier: Apache-2.0

import Core
import Hummingbird

/// The only place where error codes become HTTP statuses and the words of the client families.
enum StatusMapping {
  static func status(_ code: PlatformError.Code) -> HTTPResponse.Status {
    switch code {
    case .invalidArgument, .invalidFile: .badRequest
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
    }
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
