// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar

/// What a request says its answer has to be: `response_format`, or vLLM's `guided_*` and `structured_outputs`.
enum OpenAIConstraint {
  static let names: Set<String> = ["response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"]

  /// - Parameter body: the request with its members' order, which is the order of the answer's.
  /// - Throws: `invalidArgument` naming the parameter.
  static func source(_ body: OrderedJSON) throws -> GrammarSource? {
    var found: [GrammarSource] = []
    if let format = body.given("response_format"),
      let source = try self.format(format, schema: format["json_schema"]?["schema"], "response_format", "response_format.json_schema.schema")
    {
      found.append(source)
    }
    if let text = body.given("text") {
      // Of `/v1/responses`, where the schema stands beside the type.
      guard text.members != nil else { throw refusal("'text' must be an object") }
      if let format = text.given("format"), let source = try self.format(format, schema: format["schema"], "text.format", "text.format.schema") {
        found.append(source)
      }
    }
    for (name, kind) in [("guided_json", "json"), ("guided_regex", "regex"), ("guided_choice", "choice"), ("guided_grammar", "grammar")] {
      if let value = body.given(name) { found.append(try guided(kind, value, name)) }
    }
    if let outer = body.given("structured_outputs") {
      guard let members = outer.members else { throw refusal("'structured_outputs' must be an object") }
      for member in members where member.value != .null && member.value != .bool(false) {
        found.append(try guided(member.name, member.value, "structured_outputs.\(member.name)"))
      }
    }
    guard found.count <= 1 else {
      let first = body.given("text") == nil ? "response_format" : "text.format"
      throw refusal("'\(first)', 'guided_*' and 'structured_outputs' ask for several things; give one")
    }
    return found.first
  }

  private static func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }

  private static func format(_ format: OrderedJSON, schema: OrderedJSON?, _ name: String, _ schemaName: String) throws -> GrammarSource? {
    switch format["type"]?.stringValue {
    case "text": return nil
    case "json_object": return .jsonObject
    case "json_schema":
      guard let schema, schema.members != nil || schema.boolValue != nil else { throw refusal("'\(schemaName)' must be a JSON schema") }
      return .jsonSchema(schema.text)
    default: throw refusal("'\(name).type' must be 'text', 'json_object' or 'json_schema'")
    }
  }

  private static func guided(_ kind: String, _ value: OrderedJSON, _ name: String) throws -> GrammarSource {
    switch kind {
    case "json":
      // As an object, or as its text.
      if value.members != nil { return .jsonSchema(value.text) }
      if let text = value.stringValue { return .jsonSchema(text) }
      throw refusal("'\(name)' must be a JSON schema")
    case "json_object":
      guard value.boolValue != nil else { throw refusal("'\(name)' must be true or false") }
      return .jsonObject
    case "regex", "grammar":
      guard let text = value.stringValue else { throw refusal("'\(name)' must be a text") }
      return kind == "regex" ? .regex(text) : .notation(text)
    case "choice":
      let texts = value.arrayValue?.compactMap(\.stringValue) ?? []
      guard !texts.isEmpty, texts.count == value.arrayValue?.count, !texts.contains("") else { throw refusal("'\(name)' must be a list of texts") }
      return .choice(texts)
    default: throw PlatformError(.invalidArgument, "'\(name)' is not supported by this server", number: "unsupported_parameter")
    }
  }
}

extension OrderedJSON {
  /// The member, unless it is null.
  func given(_ name: String) -> OrderedJSON? { self[name].flatMap { $0 == .null ? nil : $0 } }
}
