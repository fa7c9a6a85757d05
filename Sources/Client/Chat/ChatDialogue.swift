// SPDX-License-Identifier: Apache-2.0

public import Core

/// A conversation with one model or several, each of which remembers its own answers, and the settings that it is led with.
public struct ChatDialogue: Equatable, Sendable {
  public struct Turn: Equatable, Sendable {
    public var question: String
    /// By model. One that failed or was stopped before its first word has none.
    public var answers: [String: String] = [:]

    public init(question: String) { self.question = question }
  }

  public private(set) var models: [String]
  public private(set) var settings: [String: JSONValue] = [:]
  public var system: String?
  public private(set) var turns: [Turn] = []

  private enum Kind { case number, whole, text, texts }
  private static let kinds: [String: Kind] = [
    "temperature": .number, "top_p": .number, "top_k": .whole, "min_p": .number, "max_tokens": .whole, "seed": .whole, "stop": .texts,
    "presence_penalty": .number, "frequency_penalty": .number, "repetition_penalty": .number, "reasoning_effort": .text,
  ]

  public static var settingNames: String { (kinds.keys.sorted() + ["system"]).joined(separator: ", ") }

  public init(models: [String], settings: [String: JSONValue] = [:]) {
    self.models = models
    self.settings = settings
  }

  /// Changes a setting; nil takes it back.
  /// - Throws: `invalidArgument` for a name that is none, or a value of another kind. Whether it is in range the server says.
  public mutating func set(_ name: String, _ text: String?) throws {
    if name == "system" { return system = text }
    guard let kind = Self.kinds[name] else {
      throw PlatformError(.invalidArgument, "there is no setting \(name)", hint: "There are \(Self.settingNames).")
    }
    guard let text else { return settings[name] = .none }
    func refuse(_ wanted: String) -> PlatformError { PlatformError(.invalidArgument, "\(name) is \(wanted), not '\(text)'") }
    switch kind {
    case .number:
      guard let value = Double(text), value.isFinite else { throw refuse("a number") }
      settings[name] = .number(value)
    case .whole:
      guard let value = Int64(text) else { throw refuse("a whole number") }
      settings[name] = .integer(value)
    case .text: settings[name] = .string(text)
    case .texts:
      // A JSON list of texts, a JSON text, or the words as they stand.
      guard let json = try? JSONValue(parsing: text) else { return settings[name] = [.string(text)] }
      if let items = json.arrayValue, items.allSatisfy({ $0.stringValue != nil }) {
        settings[name] = json
      } else {
        settings[name] = [.string(json.stringValue ?? text)]
      }
    }
  }

  public mutating func ask(_ question: String) { turns.append(Turn(question: question)) }

  public mutating func answer(_ text: String, by model: String) {
    guard !turns.isEmpty, !text.isEmpty else { return }
    turns[turns.count - 1].answers[model] = text
  }

  /// Forgets the last question when nobody answered it.
  public mutating func dropUnanswered() {
    if turns.last?.answers.isEmpty == true { turns.removeLast() }
  }

  public mutating func clear() { turns = [] }

  /// What `/v1/chat/completions` is asked for the last question.
  public func request(to model: String) -> JSONValue {
    var messages: [JSONValue] = system.map { [["role": "system", "content": .string($0)]] } ?? []
    for (index, turn) in turns.enumerated() {
      // A question that this model has not answered would stand before the next one.
      guard turn.answers[model] != nil || index == turns.count - 1 else { continue }
      messages.append(["role": "user", "content": .string(turn.question)])
      if let answer = turn.answers[model], index < turns.count - 1 { messages.append(["role": "assistant", "content": .string(answer)]) }
    }
    var body = settings
    body["model"] = .string(model)
    body["messages"] = .array(messages)
    body["stream"] = true
    body["stream_options"] = ["include_usage": true]
    return .object(body)
  }

  // MARK: files

  public var saved: JSONValue {
    var members: [String: JSONValue] = [
      "models": .array(models.map { .string($0) }), "settings": .object(settings),
      "turns": .array(turns.map { ["question": .string($0.question), "answers": .object($0.answers.mapValues { .string($0) })] }),
    ]
    if let system { members["system"] = .string(system) }
    return .object(members)
  }

  /// What `saved` made; the models stay those of this conversation.
  /// - Throws: `invalidFile` for anything else.
  public mutating func restore(_ json: JSONValue, path: String) throws {
    let refusal = PlatformError(.invalidFile, "this is no conversation that was kept with /save", path: path)
    guard let settings = json["settings"]?.objectValue, let turns = json["turns"]?.arrayValue else { throw refusal }
    let read = try turns.map { turn in
      guard let question = turn["question"]?.stringValue, let answers = turn["answers"]?.objectValue else { throw refusal }
      var read = Turn(question: question)
      for (model, text) in answers {
        guard let text = text.stringValue else { throw refusal }
        read.answers[model] = text
      }
      return read
    }
    guard settings.keys.allSatisfy({ Self.kinds[$0] != nil }) else { throw refusal }
    self.turns = read
    self.settings = settings
    system = json["system"]?.stringValue
  }
}
