// SPDX-License-Identifier: Apache-2.0

/// How a family of models writes calls of tools into its text.
public enum ToolCallFormat: String, Codable, Sendable, CaseIterable {
  /// `<tool_call>{"name": .., "arguments": {..}}</tool_call>`: Hermes, Qwen 2.5, Qwen 3.
  case hermes
  /// `{"name": .., "parameters": {..}}` at the beginning, with `;` between several: Llama 3.
  case llama3
  /// `[TOOL_CALLS][{"name": .., "arguments": {..}}, ..]`: Mistral.
  case mistral
  /// `<|tool_call|>[{"name": .., "arguments": {..}}, ..]`: Granite 3, Phi 4 mini.
  case granite

  /// What a chat template shows of its model's family; templates that show nothing known count as Hermes'. Nil for one that does not
  /// present tools at all.
  public init?(template: String) {
    guard template.contains("tools") else { return nil }
    if template.contains("[TOOL_CALLS]") {
      self = .mistral
    } else if template.contains("<|tool_call|>") {
      self = .granite
    } else if !template.contains("<tool_call>") && (template.contains("<|python_tag|>") || template.contains("\"parameters\"")) {
      self = .llama3
    } else {
      self = .hermes
    }
  }

  /// What begins calls; nil: they stand at the text's beginning without a mark.
  var opener: String? {
    switch self {
    case .hermes: "<tool_call>"
    case .llama3: nil
    case .mistral: "[TOOL_CALLS]"
    case .granite: "<|tool_call|>"
    }
  }

  /// What may come behind calls.
  var closer: String? {
    switch self {
    case .hermes: "</tool_call>"
    case .granite: "<|/tool_call|>"
    case .llama3, .mistral: nil
    }
  }

  /// Whether the calls behind an opener are a JSON list.
  var isList: Bool { self == .mistral || self == .granite }

  /// The text of one or more calls, whose arguments their schemas accept.
  /// - Parameter isParallel: whether there may be several.
  public func calls(_ tools: [(name: String, schema: String)], isParallel: Bool) -> GrammarSource {
    let frames = tools.map { tool in
      let head = "{\"name\": \(OrderedJSON.string(tool.name).text), \"\(self == .llama3 ? "parameters" : "arguments")\": "
      return self == .hermes
        ? GrammarSource.Framed.Frame(before: "<tool_call>\n" + head, schema: tool.schema, after: "}\n</tool_call>")
        : GrammarSource.Framed.Frame(before: head, schema: tool.schema, after: "}")
    }
    let separator = isList ? ", " : self == .hermes ? "\n" : "; "
    return .framed(
      .init(
        opening: isList ? (opener ?? "") + "[" : "", frames: frames, separator: separator, closing: isList ? "]" : "",
        maximum: isParallel ? nil : 1))
  }
}
