// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar
import Transport

/// How tokens are drawn and where an answer ends: the parameters that all routes for generation share, vLLM's among them.
enum OpenAISampling {
  static let names: Set<String> = [
    "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "ignore_eos", "min_tokens", "stop",
    "stop_token_ids", "include_stop_str_in_output", "skip_special_tokens", "logit_bias", "seed",
  ]

  /// - Throws: `invalidArgument` naming the parameter.
  static func read(_ body: JSONValue, into call: inout GenerateCall) throws {
    let fields = OpenAIFields(body)
    call.temperature = try fields.number("temperature", in: 0...2) ?? 1
    call.topP = try fields.number("top_p", in: 0...1) ?? 1
    call.topK = try fields.int("top_k", in: -1...1_000_000).map { max(0, $0) } ?? 0
    call.minP = try fields.number("min_p", in: 0...1) ?? 0
    call.frequencyPenalty = try fields.number("frequency_penalty", in: -2...2) ?? 0
    call.presencePenalty = try fields.number("presence_penalty", in: -2...2) ?? 0
    call.repetitionPenalty = try fields.number("repetition_penalty", in: 0.01...10) ?? 1
    call.ignoreEOS = try fields.bool("ignore_eos") ?? false
    call.minTokens = try fields.int("min_tokens", in: 0...1_000_000)
    call.stopTokenIDs = try tokenIDs(body["stop_token_ids"])
    call.includesStop = try fields.bool("include_stop_str_in_output")
    call.keepsSpecialTokens = try fields.bool("skip_special_tokens").map { !$0 }
    call.stop = try stops(body["stop"])
    call.logitBias = try bias(body["logit_bias"])
    if let seed = body["seed"], seed != .null {
      guard let value = seed.intValue else { throw PlatformError(.invalidArgument, "'seed' must be an integer", number: "invalid_type") }
      call.seed = UInt64(bitPattern: Int64(value))
    } else {
      call.seed = UInt64.random(in: 0...UInt64(Int64.max))
    }
  }

  /// Makes the answer follow the form.
  static func constrain(_ call: inout GenerateCall, to source: GrammarSource) throws {
    guard call.minTokens ?? 0 == 0 else {
      throw PlatformError(.invalidArgument, "'min_tokens' cannot be kept together with a structured answer", number: "invalid_value")
    }
    call.grammar = try JSONValue(encoding: source).sortedText
  }

  /// Presents the tools in the prompt.
  static func present(_ tools: OpenAITools, in call: inout GenerateCall) throws {
    guard tools.listed == nil || call.grammar == nil else {
      throw PlatformError(.invalidArgument, "'tools' cannot be used together with a structured answer", number: "invalid_value")
    }
    guard tools.required == nil || call.minTokens ?? 0 == 0 else {
      throw PlatformError(.invalidArgument, "'min_tokens' cannot be kept together with a required tool", number: "invalid_value")
    }
    call.tools = tools.listed
    call.required = tools.required
    call.parallelCalls = tools.isParallel
    // Marks of calls are special tokens of some models.
    if tools.listed != nil { call.keepsSpecialTokens = call.keepsSpecialTokens ?? true }
  }

  private static func tokenIDs(_ value: JSONValue?) throws -> [Int32]? {
    guard let value, value != .null else { return nil }
    let ids = value.arrayValue?.compactMap { $0.intValue.flatMap { Int32(exactly: $0) } }
    guard let ids, ids.count == value.arrayValue?.count, ids.count <= 1024 else {
      throw PlatformError(.invalidArgument, "'stop_token_ids' must be an array of at most 1024 token ids", number: "invalid_type")
    }
    return ids
  }

  private static func stops(_ value: JSONValue?) throws -> [String] {
    switch value {
    case nil, .null: return []
    case .string(let text): return text.isEmpty ? [] : [text]
    case .array(let items):
      let texts = items.compactMap(\.stringValue).filter { !$0.isEmpty }
      guard texts.count == items.count, texts.count <= 16, texts.allSatisfy({ $0.utf8.count <= 1024 }) else { fallthrough }
      return texts
    default:
      throw PlatformError(.invalidArgument, "'stop' must be a string or up to 16 strings of at most 1024 bytes", number: "invalid_type")
    }
  }

  private static func bias(_ value: JSONValue?) throws -> [String: Double] {
    guard let value, value != .null else { return [:] }
    guard let entries = value.objectValue, entries.count <= 1024 else {
      throw PlatformError(.invalidArgument, "'logit_bias' must map token ids to numbers", number: "invalid_type")
    }
    return try entries.mapValues { bias in
      guard let number = bias.doubleValue, (-100...100).contains(number) else {
        throw PlatformError(.invalidArgument, "'logit_bias' values must be from -100 to 100", number: "invalid_value")
      }
      return number
    }
  }
}
