// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Glibc
import Synchronization

/// `platform chat`: a conversation with one served model, or the same one with several at once.
struct ChatCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat", abstract: "Talk to served models.",
    discussion: """
      In a conversation /? lists the commands: settings, keeping and loading, messages of several lines. Ctrl-C stops an answer. Several models get the
      same questions and answer side by side where the terminal is wide enough. Lines from a pipe are messages and commands as well.

      EXAMPLES
        platform chat demo-lm                       a conversation; /bye or Ctrl-D ends
        platform chat demo-lm -m "The GNU General"  one answer, then exit
        platform chat assistant candidate           two models side by side
      """)
  @Argument(help: "Endpoints; the only one when omitted.") var models: [String] = []
  @Option(name: .shortAndLong, help: "One message instead of a conversation.") var message: String?
  @Option(help: "What the models are told to be.") var system: String?
  @Option(help: "At most this many tokens an answer.") var maxTokens: Int = 128
  @Option(help: "0 always takes the likeliest token.") var temperature: Double = 0.7
  @Option(help: "Same seed, same answer.") var seed: UInt64?
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let client = try options.client()
    var names = models
    if names.isEmpty {
      let list: EndpointList = try await client.get("/api/2.0/serving-endpoints")
      let generating = list.endpoints.filter { $0.kind == "generate" }.map(\.name)
      guard let first = generating.first else {
        throw PlatformError(.notFound, "no model is being served", hint: "Serve one: platform endpoints create NAME hf:ORG/MODEL, or run 'platform demo'.")
      }
      guard generating.count == 1 else {
        throw PlatformError(
          .invalidArgument, "several models are being served: \(generating.joined(separator: ", "))", hint: "Name the one to talk to, or several.")
      }
      names = [first]
    }
    guard Set(names).count == names.count else { throw PlatformError(.invalidArgument, "a model is named twice") }
    var settings: [String: JSONValue] = ["max_tokens": .integer(Int64(maxTokens)), "temperature": .number(temperature)]
    if let seed { settings["seed"] = .integer(Int64(clamping: seed)) }
    var dialogue = ChatDialogue(models: names, settings: settings)
    dialogue.system = system
    let voice = ChatVoice(client)
    if let message {
      dialogue.ask(message)
      let answers = await voice.answers(to: dialogue, tellsSpeed: false)
      if let failure = answers.compactMap(\.failure).first { throw failure }
      return
    }
    var session = ChatSession(dialogue, voice)
    try await session.run()
  }
}

/// A conversation line by line.
private struct ChatSession {
  private var dialogue: ChatDialogue
  private let voice: ChatVoice
  private let editor: LineEditor?
  private var lines = ChatLines()

  init(_ dialogue: ChatDialogue, _ voice: ChatVoice) {
    self.dialogue = dialogue
    self.voice = voice
    editor = isatty(STDIN_FILENO) == 1 ? LineEditor(historyPath: nil) : nil
    editor?.complete = { word in ChatLine.commands.map { String($0.0.prefix { $0 != " " }) }.filter { $0.hasPrefix(word) } }
  }

  mutating func run() async throws {
    let names = dialogue.models.joined(separator: ", ")
    Report.note("\(names) \(dialogue.models.count == 1 ? "is" : "are") listening; /? lists commands, /bye ends.")
    while let line = next() {
      guard let meaning = lines.feed(line) else { continue }
      do {
        guard try await act(meaning) else { return }
      } catch {
        Report.failure(PlatformError.from(error), json: false)
      }
    }
  }

  private mutating func next() -> String? {
    guard let editor else { return readLine() }
    while true {
      switch editor.read(lines.isOpen ? "... " : ">>> ") {
      case .line(let line):
        editor.remember(line)
        return line
      case .interrupted:
        if !lines.isOpen { Report.note("/bye or Ctrl-D ends.") }
        lines.cancel()
      case .end: return nil
      }
    }
  }

  /// Whether the conversation goes on.
  private mutating func act(_ line: ChatLine) async throws -> Bool {
    switch line {
    case .nothing: break
    case .bye: return false
    case .say(let text):
      dialogue.ask(text)
      for answer in await voice.answers(to: dialogue, tellsSpeed: true) {
        dialogue.answer(answer.text, by: answer.model)
        if let failure = answer.failure { Report.failure(failure, json: false) }
      }
      dialogue.dropUnanswered()
    case .set(let name, let value): try dialogue.set(name, value)
    case .show: show()
    case .clear: dialogue.clear()
    case .help: for (command, what) in ChatLine.commands { Report.note("  \(command.padding(toLength: 18, withPad: " ", startingAt: 0))\(what)") }
    case .save(let file):
      try Data(dialogue.saved.sortedText.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
      Report.note("kept in \(file): \(dialogue.turns.count) questions; /load \(file) goes on")
    case .load(let file):
      try dialogue.restore(JSONValue(parsing: String(decoding: ModelFiles.bytes(file), as: UTF8.self)), path: file)
      Report.note("\(dialogue.turns.count) questions and their answers are known again")
    case .wrong(let why): throw PlatformError(.invalidArgument, why, hint: "/? lists the commands.")
    }
    return true
  }

  private func show() {
    Report.data("models    \(dialogue.models.joined(separator: ", "))")
    if let system = dialogue.system { Report.data("system    \(system)") }
    for (name, value) in dialogue.settings.sorted(by: { $0.key < $1.key }) { Report.data("\(name) = \(value.sortedText)") }
    Report.data("turns     \(dialogue.turns.count)")
  }
}

/// Asks models and shows what they say while they say it.
private struct ChatVoice {
  struct Answer: Sendable {
    var model: String
    var text = ""
    var failure: PlatformError?
    var firstSeconds: Double?
    var seconds = 0.0
    var promptTokens = 0
    var tokens = 0

    /// `TTFT 210 ms · 61 tokens/s · 34 + 120 tokens`
    var speed: String {
      guard let firstSeconds, tokens > 0 else { return "no tokens" }
      let rate = tokens > 1 && seconds > firstSeconds ? String(format: " · %.1f tokens/s", Double(tokens - 1) / (seconds - firstSeconds)) : ""
      return String(format: "TTFT %.0f ms", firstSeconds * 1000) + rate + " · \(promptTokens) + \(tokens) tokens"
    }
  }

  private let client: PlatformClient

  init(_ client: PlatformClient) { self.client = client }

  /// One answer of each model, in their order. Ctrl-C ends them where they are.
  func answers(to dialogue: ChatDialogue, tellsSpeed: Bool) async -> [Answer] {
    let models = dialogue.models
    let width = Self.width
    let showsColumns = SideBySide.fits(models.count, width: width)
    let task = Task {
      await withTaskGroup(of: (Int, Answer).self) { group in
        var known: [Answer?] = Array(repeating: nil, count: models.count)
        for (index, model) in models.enumerated() {
          let request = dialogue.request(to: model)
          // Of one model the words are shown as they come.
          group.addTask { (index, await answer(of: model, request, streams: models.count == 1)) }
        }
        var shown = 0
        for await (index, answer) in group {
          known[index] = answer
          guard !showsColumns else { continue }
          while shown < models.count, let next = known[shown] {
            if models.count > 1 { Report.data("\(next.model):\n\(next.text)") } else { Report.data("") }
            if tellsSpeed, next.failure == nil { Self.dim(next.speed) }
            shown += 1
          }
        }
        return known.compactMap { $0 }
      }
    }
    Interrupts.shared.handle { task.cancel() }
    defer { Interrupts.shared.forget() }
    let answers = await task.value
    if showsColumns {
      for line in SideBySide.lines(answers.map { ($0.model, $0.text) }, width: width) { Report.data(line) }
      if tellsSpeed { for answer in answers where answer.failure == nil { Self.dim("\(answer.model): \(answer.speed)") } }
    }
    return answers
  }

  private func answer(of model: String, _ request: JSONValue, streams: Bool) async -> Answer {
    var answer = Answer(model: model)
    let began = ContinuousClock.now
    func passed() -> Double { (ContinuousClock.now - began) / .seconds(1) }
    do {
      let data = try JSONEncoder.platform.encode(request)
      for try await event in client.events("POST", "/v1/chat/completions", body: data) {
        if event.data == "[DONE]" { break }
        let chunk = try JSONValue(parsing: event.data)
        if let failure = chunk["error"]?["message"]?.stringValue { throw PlatformError(.unavailable, failure) }
        if let usage = chunk["usage"], let tokens = usage["completion_tokens"]?.intValue {
          (answer.promptTokens, answer.tokens) = (usage["prompt_tokens"]?.intValue ?? 0, tokens)
        }
        guard let text = chunk["choices"]?.arrayValue?.first?["delta"]?["content"]?.stringValue, !text.isEmpty else { continue }
        if answer.firstSeconds == nil { answer.firstSeconds = passed() }
        answer.text += text
        if streams { StandardStreams.out(text) }
      }
    } catch {
      answer.failure = PlatformError.from(error)
    }
    answer.seconds = passed()
    return answer
  }

  private static var width: Int {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else { return 0 }
    return Int(size.ws_col)
  }

  /// A remark on the terminal, not part of what is piped on.
  private static func dim(_ text: String) {
    let hasColour = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
    Report.note(hasColour ? "\u{1B}[2m\(text)\u{1B}[0m" : text)
  }
}
