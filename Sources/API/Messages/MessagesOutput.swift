// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// What a message says, built frame by frame: its blocks, and the events that tell of them in a stream. A block begins when the one before has ended.
struct MessagesOutput {
  private enum Kind { case thinking, text, call }

  /// One event of a stream.
  struct Event: Equatable {
    var type: String
    var fields: [String: JSONValue]
  }

  private struct Block {
    var kind: Kind
    var text = ""
    var id = ""
    var name = ""
  }

  private var reader: ChoiceReader
  private let stops: [String]
  private let maxTokens: Int?
  private var done: [JSONValue] = []
  /// Blocks that have ended, also those that are left out.
  private var ended = 0
  private var open: Block?
  private var events: [Event] = []
  private(set) var usage = OpenAIAnswer.Usage()
  /// Nil until the last frame.
  private(set) var stopReason: String?
  private(set) var stopSequence: String?

  init(_ call: GenerateCall, tools: Set<String>) {
    reader = ChoiceReader(call, tools: tools)
    stops = call.stop
    maxTokens = call.maxTokens
  }

  /// The blocks that have ended.
  var content: JSONValue { .array(done) }

  /// Adds a frame and tells its events.
  mutating func read(_ frame: GenerateFrame) -> [Event] {
    let (pieces, finish) = reader.read(frame)
    for piece in pieces {
      switch piece {
      case .content(let text): add(text, to: .text, ["type": "text_delta", "text": .string(text)])
      case .reasoning(let text): add(text, to: .thinking, ["type": "thinking_delta", "thinking": .string(text)])
      case .call(let name):
        close()
        begin(.call, name: name)
      case .arguments(let text): add(text, to: .call, ["type": "input_json_delta", "partial_json": .string(text)])
      }
    }
    if let finish {
      close()
      usage.add(frame, reasoning: reader.reasoningTokens, countsPrompt: true)
      end(finish, frame)
    }
    defer { events = [] }
    return events
  }

  private mutating func end(_ finish: String, _ frame: GenerateFrame) {
    switch finish {
    case "tool_calls": stopReason = "tool_use"
    case "length":
      let isOutOfContext = maxTokens.map { frame.completionTokens ?? 0 < $0 } ?? true
      stopReason = isOutOfContext ? "model_context_window_exceeded" : "max_tokens"
    default:
      stopSequence = frame.stop.flatMap { stops.contains($0) ? $0 : nil }
      stopReason = stopSequence == nil ? "end_turn" : "stop_sequence"
    }
  }

  private mutating func add(_ text: String, to kind: Kind, _ delta: JSONValue) {
    begin(kind)
    open?.text += text
    events.append(Event(type: "content_block_delta", fields: ["index": .integer(Int64(ended)), "delta": delta]))
  }

  /// Begins a block unless one of the kind is open.
  private mutating func begin(_ kind: Kind, name: String = "") {
    guard open?.kind != kind else { return }
    close()
    let block = Block(
      kind: kind, id: "toolu_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased().prefix(24), name: name)
    open = block
    events.append(
      Event(type: "content_block_start", fields: ["index": .integer(Int64(ended)), "content_block": Self.shape(block, input: [:])]))
  }

  private mutating func close() {
    guard let block = open else { return }
    events.append(Event(type: "content_block_stop", fields: ["index": .integer(Int64(ended))]))
    ended += 1
    open = nil
    guard block.kind == .call else {
      done.append(Self.shape(block, input: [:]))
      return
    }
    // Arguments that were cut off are no object; a stream has told what there is of them.
    if let input = try? JSONValue(parsing: block.text), input.objectValue != nil { done.append(Self.shape(block, input: input)) }
  }

  private static func shape(_ block: Block, input: JSONValue) -> JSONValue {
    switch block.kind {
    // There is nothing that a signature would have to vouch for: thinking may come back as it is.
    case .thinking: ["type": "thinking", "thinking": .string(block.text), "signature": ""]
    case .text: ["type": "text", "text": .string(block.text), "citations": .null]
    case .call: ["type": "tool_use", "id": .string(block.id), "name": .string(block.name), "input": input]
    }
  }
}
