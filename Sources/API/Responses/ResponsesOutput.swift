// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// What a response says, built frame by frame: its items, and the events that tell of them in a stream.
///
/// An item begins with `response.output_item.added` and ends with `response.output_item.done`; one begins when the one before has ended. What a
/// whole answer has as `output` are the same items.
struct ResponsesOutput {
  private enum Kind { case reasoning, message, call }

  private struct Item {
    var kind: Kind
    var id: String
    var text = ""
    var name = ""
    var callID = ""
    var logprobs: [JSONValue] = []
  }

  /// One event of a stream, without its number.
  struct Event: Equatable {
    var type: String
    var fields: [String: JSONValue]
  }

  private var reader: ChoiceReader
  private let wantsLogprobs: Bool
  private var done: [JSONValue] = []
  private var open: Item?
  private var events: [Event] = []
  /// Of tokens whose text has not come yet.
  private var held: [JSONValue] = []
  private(set) var usage = OpenAIAnswer.Usage()
  /// `stop`, `tool_calls`, `length`; nil until the last frame.
  private(set) var finish: String?

  init(_ reader: ChoiceReader, wantsLogprobs: Bool) {
    self.reader = reader
    self.wantsLogprobs = wantsLogprobs
  }

  /// The items that have ended.
  var items: JSONValue { .array(done) }
  var isIncomplete: Bool { finish == "length" }

  /// Adds a frame and tells its events.
  mutating func read(_ frame: GenerateFrame) -> [Event] {
    let wasReasoning = reader.isReasoning
    let (pieces, finish) = reader.read(frame)
    if wantsLogprobs { held += (frame.logprobs ?? []).map(Self.logprob) }
    for piece in pieces { add(piece) }
    // Tokens of the span and its marks are no part of the text behind it.
    if wasReasoning || reader.isReasoning { held = [] }
    if let finish {
      self.finish = finish
      usage.add(frame, reasoning: reader.reasoningTokens, countsPrompt: true)
      end()
    }
    defer { events = [] }
    return events
  }

  private mutating func add(_ piece: AnswerParser.Piece) {
    switch piece {
    case .content(let text):
      begin(.message, "msg")
      open?.text += text
      tell("response.output_text.delta", ["content_index": 0, "delta": .string(text), "logprobs": .array(held)])
      open?.logprobs += held
    case .reasoning(let text):
      begin(.reasoning, "rs")
      open?.text += text
      tell("response.reasoning_text.delta", ["content_index": 0, "delta": .string(text)])
    case .call(let name):
      close(isCut: false)
      begin(.call, "fc", name: name)
    case .arguments(let text):
      open?.text += text
      tell("response.function_call_arguments.delta", ["delta": .string(text)])
    }
    held = []
  }

  /// The last item ends; an answer has one at least.
  private mutating func end() {
    if open == nil && done.isEmpty { begin(.message, "msg") }
    if open?.kind == .message, !held.isEmpty {
      tell("response.output_text.delta", ["content_index": 0, "delta": "", "logprobs": .array(held)])
      open?.logprobs += held
    }
    held = []
    close(isCut: isIncomplete)
  }

  /// Begins an item unless one of the kind is open.
  private mutating func begin(_ kind: Kind, _ prefix: String, name: String = "") {
    guard open?.kind != kind else { return }
    close(isCut: false)
    let id = "\(prefix)_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    open = Item(kind: kind, id: id, name: name, callID: kind == .call ? ChoiceReader.callID() : "")
    guard let item = open else { return }
    events.append(
      Event(type: "response.output_item.added", fields: ["output_index": .integer(Int64(done.count)), "item": Self.item(item, status: "in_progress")]))
    if kind != .call { tell("response.content_part.added", ["content_index": 0, "part": Self.part(item)]) }
  }

  private mutating func close(isCut: Bool) {
    guard let item = open else { return }
    switch item.kind {
    case .message:
      tell("response.output_text.done", ["content_index": 0, "text": .string(item.text), "logprobs": .array(item.logprobs)])
      tell("response.content_part.done", ["content_index": 0, "part": Self.part(item)])
    case .reasoning:
      tell("response.reasoning_text.done", ["content_index": 0, "text": .string(item.text)])
      tell("response.content_part.done", ["content_index": 0, "part": Self.part(item)])
    case .call: tell("response.function_call_arguments.done", ["name": .string(item.name), "arguments": .string(item.text)])
    }
    let rendered = Self.item(item, status: isCut ? "incomplete" : "completed")
    events.append(Event(type: "response.output_item.done", fields: ["output_index": .integer(Int64(done.count)), "item": rendered]))
    done.append(rendered)
    open = nil
  }

  /// An event of the open item.
  private mutating func tell(_ type: String, _ fields: [String: JSONValue]) {
    guard let item = open else { return }
    let place: [String: JSONValue] = ["item_id": .string(item.id), "output_index": .integer(Int64(done.count))]
    events.append(Event(type: type, fields: fields.merging(place) { first, _ in first }))
  }

  // MARK: shapes

  private static func item(_ item: Item, status: String) -> JSONValue {
    let begun = status != "in_progress"
    switch item.kind {
    case .message:
      return [
        "id": .string(item.id), "type": "message", "role": "assistant", "status": .string(status), "content": .array(begun ? [part(item)] : []),
      ]
    case .reasoning:
      return [
        "id": .string(item.id), "type": "reasoning", "summary": [], "content": .array(begun ? [part(item)] : []), "encrypted_content": .null,
        "status": .string(status),
      ]
    case .call:
      return [
        "id": .string(item.id), "type": "function_call", "call_id": .string(item.callID), "name": .string(item.name), "arguments": .string(item.text),
        "status": .string(status),
      ]
    }
  }

  private static func part(_ item: Item) -> JSONValue {
    if item.kind == .reasoning { return ["type": "reasoning_text", "text": .string(item.text)] }
    return ["type": "output_text", "text": .string(item.text), "annotations": [], "logprobs": .array(item.logprobs)]
  }

  private static func logprob(_ token: GenerateFrame.TokenLogprob) -> JSONValue {
    func entry(_ token: GenerateFrame.TokenLogprob) -> [String: JSONValue] {
      ["token": .string(token.token), "logprob": .number(token.logprob), "bytes": .array(token.bytes.map { .integer(Int64($0)) })]
    }
    var fields = entry(token)
    fields["top_logprobs"] = .array(token.top.map { .object(entry($0)) })
    return .object(fields)
  }
}
