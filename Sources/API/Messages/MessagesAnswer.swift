// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Serving

/// The `message` object, and the events of a stream.
struct MessagesAnswer {
  let id: String
  let model: String

  /// - Parameter output: nil while the answer is being written.
  func message(_ output: MessagesOutput?) -> JSONValue {
    [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model), "content": output?.content ?? [],
      "stop_reason": Self.text(output?.stopReason), "stop_sequence": Self.text(output?.stopSequence), "usage": Self.usage(output?.usage ?? .init()),
    ]
  }

  func opening() -> String { Self.event("message_start", ["message": message(nil)]) }

  func events(_ told: [MessagesOutput.Event]) -> String { told.map { Self.event($0.type, $0.fields) }.joined() }

  /// How it ended, with the tokens of the whole message.
  func closing(_ output: MessagesOutput) -> String {
    let delta: JSONValue = ["stop_reason": Self.text(output.stopReason), "stop_sequence": Self.text(output.stopSequence)]
    return Self.event("message_delta", ["delta": delta, "usage": Self.usage(output.usage)]) + Self.event("message_stop", [:])
  }

  /// The status line has left already.
  static func failure(_ error: PlatformError) -> String { event("error", ["error": errorObject(error)]) }

  /// What a request is answered that fails.
  static func errorBody(_ error: PlatformError, requestID: String) -> JSONValue {
    ["type": "error", "error": errorObject(error), "request_id": .string(requestID)]
  }

  private static func errorObject(_ error: PlatformError) -> JSONValue {
    let type =
      switch error.code {
      case .unauthenticated: "authentication_error"
      case .permissionDenied: "permission_error"
      case .notFound: "not_found_error"
      case .resourceExhausted: "rate_limit_error"
      case .timeout: "timeout_error"
      case .unavailable, .badConfiguration: "overloaded_error"
      case .invalidArgument, .invalidFile, .alreadyExists, .conflict, .failed: "invalid_request_error"
      case .internalError, .cancelled: "api_error"
      }
    return [
      "type": .string(type), "message": .string(error.message), "code": .string(error.number.isEmpty ? error.code.rawValue : error.number),
    ]
  }

  /// An endpoint or adapter as this API's list of models has it.
  static func model(_ served: ServedModel) -> JSONValue {
    [
      "id": .string(name(served)), "type": "model", "display_name": .string(name(served)), "lifecycle": "active",
      "created_at": .string(served.endpoint.createdAt.formatted(.iso8601)),
    ]
  }

  private static func name(_ served: ServedModel) -> String { served.adapter?.name ?? served.endpoint.name }

  /// All in one page.
  static func models(_ served: [ServedModel]) -> JSONValue {
    [
      "data": .array(served.map(model)), "has_more": false, "first_id": text(served.first.map(name)), "last_id": text(served.last.map(name)),
    ]
  }

  private static func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }

  private static func usage(_ usage: OpenAIAnswer.Usage) -> JSONValue {
    [
      // In this API the tokens that the cache had are not among those of the input.
      "input_tokens": .integer(Int64(usage.prompt - usage.cached)), "cache_read_input_tokens": .integer(Int64(usage.cached)),
      "cache_creation_input_tokens": 0, "output_tokens": .integer(Int64(usage.completion)),
      "output_tokens_details": ["thinking_tokens": .integer(Int64(usage.reasoning))], "service_tier": "standard",
    ]
  }

  private static func event(_ type: String, _ fields: [String: JSONValue]) -> String {
    var whole = fields
    whole["type"] = .string(type)
    return "event: \(type)\ndata: \(JSONValue.object(whole).sortedText)\n\n"
  }
}
