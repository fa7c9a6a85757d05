// SPDX-License-Identifier: Apache-2.0

import Core
import NIOHTTP1

/// What an answer other than success means.
struct S3Failure {
  var status: Int
  /// `NoSuchKey`, `SlowDown`, ..; empty when the answer has none.
  var code: String
  var platformError: PlatformError
  /// Whether the same request may succeed.
  var isRepeatable: Bool
  /// Whether the request may have been carried out all the same.
  var isOutcomeUnknown: Bool

  init(_ answer: S3Client.Answer, call: S3Client.Call, name: String, configuration: S3Configuration) {
    status = answer.status
    // An answer of HEAD has no body; a proxy's is no XML.
    let root = answer.body.count <= 64 << 10 ? try? S3XML.parse(answer.body) : nil
    let error = root?.name == "Error" ? root : nil
    code = String((error?["Code"]?.text ?? "").prefix(60))
    let text = String((error?["Message"]?.text ?? "").prefix(200)).filter { !$0.isNewline }
    isOutcomeUnknown = status >= 500 && status != 501
    isRepeatable =
      [500, 502, 503, 504, 429].contains(status)
      || ["SlowDown", "RequestTimeout", "InternalError", "OperationAborted", "ConditionalRequestConflict"].contains(code)
    let said = [code, text].filter { !$0.isEmpty }.joined(separator: ": ")
    let message = "cannot \(call.verb): \(said.isEmpty ? "HTTP \(status)" : said)"
    switch (status, code) {
    case (_, "NoSuchBucket"):
      platformError = PlatformError(
        .notFound, "there is no bucket '\(configuration.bucket)'", hint: "Check the name, the region and the endpoint.", number: "PLT-3404", path: name)
    case (404, _): platformError = PlatformError(.notFound, "object not found", path: name)
    case (412, _): platformError = PlatformError(.alreadyExists, "object exists already", path: name)
    case (416, _): platformError = PlatformError(.invalidArgument, "the range starts behind the end of the object", path: name)
    case (_, "RequestTimeTooSkewed"):
      platformError = PlatformError(.badConfiguration, message, hint: "Set this machine's clock.", number: "PLT-3404", path: name)
    case (401, _), (403, _):
      platformError = PlatformError(
        .permissionDenied, message, hint: "Check the credentials and what they may do in the bucket.", number: "PLT-3404", path: name)
    case (301, _), (307, _), (308, _), (302, _):
      let region = answer.headers.first(name: "x-amz-bucket-region").map { " \($0.prefix(40))" } ?? ""
      platformError = PlatformError(
        .badConfiguration, "the bucket is in another region\(region) or at another endpoint", hint: "Set PLATFORM_S3_REGION or PLATFORM_S3_ENDPOINT.",
        number: "PLT-3404", path: name)
    case (501, _), (_, "NotImplemented"):
      platformError = PlatformError(.badConfiguration, message, hint: "The store does not support this.", number: "PLT-3405", path: name)
    case (507, _), (_, "QuotaExceeded"), (_, "XMinioStorageFull"):
      platformError = PlatformError(.resourceExhausted, message, number: "PLT-3404", path: name)
    case (409, _): platformError = PlatformError(.conflict, message, number: "PLT-3404", path: name)
    case (429, _), (500..., _):
      platformError = PlatformError(.unavailable, message, hint: "Try again later.", number: "PLT-3403", path: name)
    default: platformError = PlatformError(.invalidArgument, message, number: "PLT-3404", path: name)
    }
  }
}
