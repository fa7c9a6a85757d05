// SPDX-License-Identifier: Apache-2.0

/// What a line of a conversation at a terminal means.
public enum ChatLine: Equatable, Sendable {
  case nothing
  case say(String)
  /// Without a value: back to what the server takes by itself.
  case set(name: String, value: String?)
  case show, clear, help, bye
  case save(String), load(String)
  /// A command that is none, or lacks what it needs; why.
  case wrong(String)

  public static let commands = [
    ("/set NAME VALUE", "change a setting; without VALUE back to the server's own"), ("/show", "settings, models and the length of the conversation"),
    ("/clear", "begin again with the same settings"), ("/save FILE", "keep the conversation and its settings"), ("/load FILE", "go on with one that was kept"),
    ("/?", "this list"), ("/bye", "end; Ctrl-D as well"), (#"""""#, "begins and ends a message of several lines"),
  ]

  public init(_ text: String) {
    let text = text.trimmed
    guard text.hasPrefix("/") else {
      self = text.isEmpty ? .nothing : .say(text)
      return
    }
    let (word, rest) = text.firstWord
    switch (word, rest) {
    case ("/bye", _), ("/exit", _), ("/quit", _): self = .bye
    case ("/?", _), ("/help", _): self = .help
    case ("/show", _): self = .show
    case ("/clear", _): self = .clear
    case ("/set", ""): self = .wrong("/set needs the name of a setting: \(ChatDialogue.settingNames)")
    case ("/set", _):
      let (name, value) = rest.firstWord
      self = .set(name: name, value: value.isEmpty ? nil : value)
    case ("/save", ""), ("/load", ""): self = .wrong("\(word) needs the name of a file")
    case ("/save", _): self = .save(rest)
    case ("/load", _): self = .load(rest)
    default: self = .wrong("there is no command \(word); there are \(Self.commands.dropLast().map { $0.0.firstWord.0 }.joined(separator: " "))")
    }
  }
}

/// Puts lines between `"""` together to one message.
public struct ChatLines: Sendable {
  private var open: [String]?

  public init() {}

  /// Whether a message of several lines has begun.
  public var isOpen: Bool { open != nil }

  /// What a line means; nil while a message is not at its end.
  public mutating func feed(_ line: String) -> ChatLine? {
    let mark = #"""""#
    if var lines = open {
      guard line.trimmed.hasSuffix(mark) else {
        open = lines + [line]
        return nil
      }
      lines.append(String(line.trimmed.dropLast(mark.count)))
      open = nil
      return Self.message(lines)
    }
    let text = line.trimmed
    guard text.hasPrefix(mark) else { return ChatLine(line) }
    let rest = String(text.dropFirst(mark.count))
    if rest.hasSuffix(mark) { return Self.message([String(rest.dropLast(mark.count))]) }
    open = [rest]
    return nil
  }

  /// Drops what was begun.
  public mutating func cancel() { open = nil }

  private static func message(_ lines: [String]) -> ChatLine {
    let text = lines.joined(separator: "\n").trimmed
    return text.isEmpty ? .nothing : .say(text)
  }
}

extension String {
  fileprivate var trimmed: String {
    var part = self[...]
    while let last = part.last, last.isWhitespace { part.removeLast() }
    while let first = part.first, first.isWhitespace { part.removeFirst() }
    return String(part)
  }

  /// The word in front, and what is behind it.
  fileprivate var firstWord: (String, String) {
    let word = prefix { !$0.isWhitespace }
    return (String(word), String(dropFirst(word.count)).trimmed)
  }
}
