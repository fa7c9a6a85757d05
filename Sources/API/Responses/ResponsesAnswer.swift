// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Transport

/// The `response` object, and the events of a stream with their numbers.
struct ResponsesAnswer {
  let id: String
  let model: String
  let echoed: [String: JSONValue]
  private let created = Int64(Date().timeIntervalSince1970)
  /// Of the next event.
  private var sequence: Int64 = 0

  init(id: String, model: String, echoed: [String: JSONValue]) {
    self.id = id
    self.model = model
    self.echoed = echoed
  }

  /// - Parameter output: nil while the answer is being written.
  func response(_ output: ResponsesOutput?, failure: PlatformError? = nil) -> JSONValue {
    var fields = echoed
    fields["id"] = .string(id)
    fields["object"] = "response"
    fields["created_at"] = .integer(created)
    fields["model"] = .string(model)
    fields["output"] = output?.items ?? []
    fields["error"] = .null
    fields["incomplete_details"] = .null
    fields["usage"] = .null
    fields["status"] = "in_progress"
    if let failure {
      fields["status"] = "failed"
      fields["error"] = ["code": .string(Self.code(failure.code)), "message": .string(failure.message)]
    } else if let output {
      fields["status"] = output.isIncomplete ? "incomplete" : "completed"
      if output.isIncomplete { fields["incomplete_details"] = ["reason": "max_output_tokens"] }
      fields["completed_at"] = .integer(Int64(Date().timeIntervalSince1970))
      fields["usage"] = Self.usage(output.usage)
    }
    return .object(fields)
  }

  /// The events that every stream begins with.
  mutating func opening() -> String {
    let response = response(nil)
    return event("response.created", ["response": response]) + event("response.in_progress", ["response": response])
  }

  mutating func events(_ told: [ResponsesOutput.Event]) -> String { told.map { event($0.type, $0.fields) }.joined() }

  /// The last event.
  mutating func closing(_ output: ResponsesOutput, failure: PlatformError? = nil) -> String {
    let type = failure != nil ? "failed" : output.isIncomplete ? "incomplete" : "completed"
    return event("response.\(type)", ["response": response(output, failure: failure)])
  }

  private mutating func event(_ type: String, _ fields: [String: JSONValue]) -> String {
    defer { sequence += 1 }
    var whole = fields
    whole["type"] = .string(type)
    whole["sequence_number"] = .integer(sequence)
    return "event: \(type)\ndata: \(JSONValue.object(whole).sortedText)\n\n"
  }

  private static func usage(_ usage: OpenAIAnswer.Usage) -> JSONValue {
    [
      "input_tokens": .integer(Int64(usage.prompt)),
      // What the cache took in is not counted.
      "input_tokens_details": ["cached_tokens": .integer(Int64(usage.cached)), "cache_write_tokens": 0],
      "output_tokens": .integer(Int64(usage.completion)), "output_tokens_details": ["reasoning_tokens": .integer(Int64(usage.reasoning))],
      "total_tokens": .integer(Int64(usage.prompt + usage.completion)),
    ]
  }

  /// Of the codes that the API has.
  private static func code(_ code: PlatformError.Code) -> String {
    switch code {
    case .invalidArgument: "invalid_prompt"
    case .resourceExhausted: "rate_limit_exceeded"
    default: "server_error"
    }
  }
}
