// SPDX-License-Identifier: Apache-2.0

public import Core

/// The error object of every route outside `/v1`: what failed, its stable number, and how to mend it.
public struct ErrorBody: Codable, Sendable, Equatable {
  /// Databricks' and MLflow's word for the kind of failure.
  public var errorCode: String
  /// `PLT-1203`, or empty.
  public var code: String
  public var message: String
  public var hint: String
  public var path: String?
  public var line: Int?
  public var retryable: Bool
  public var requestID: String
  /// `PlatformError.Code`, so that our own client gets back what the server threw.
  public var kind: PlatformError.Code
  /// Further errors of the same request, when a file had several.
  public var others: [PlatformError]?
  /// What went wrong in words of a fixed set.
  public var details: [ErrorDetail]?

  public init(_ error: PlatformError, errorCode: String, requestID: String, others: [PlatformError]? = nil, details: [ErrorDetail]? = nil) {
    self.errorCode = errorCode
    code = error.number
    message = error.message
    hint = error.hint
    path = error.path
    line = error.line
    retryable = error.isRetryable
    self.requestID = requestID
    kind = error.code
    self.others = others
    self.details = details
  }

  public var platformError: PlatformError {
    PlatformError(kind, message, hint: hint, number: code, path: path, line: line)
  }

  enum CodingKeys: String, CodingKey {
    case code, message, hint, path, line, retryable, kind, others, details
    case errorCode = "error_code"
    case requestID = "request_id"
  }
}

/// A `google.rpc.ErrorInfo`, as Databricks' clients read it.
public struct ErrorDetail: Codable, Sendable, Equatable {
  public var type = "type.googleapis.com/google.rpc.ErrorInfo"
  /// As in `TABLE_ALREADY_EXISTS`.
  public var reason: String
  public var domain = "platform"
  public init(reason: String) { self.reason = reason }
  enum CodingKeys: String, CodingKey {
    case reason, domain
    case type = "@type"
  }
}
