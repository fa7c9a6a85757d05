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

  public init(_ error: PlatformError, errorCode: String, requestID: String, others: [PlatformError]? = nil) {
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
  }

  public var platformError: PlatformError {
    PlatformError(kind, message, hint: hint, number: code, path: path, line: line)
  }

  enum CodingKeys: String, CodingKey {
    case code, message, hint, path, line, retryable, kind, others
    case errorCode = "error_code"
    case requestID = "request_id"
  }
}
