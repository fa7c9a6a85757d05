// SPDX-License-Identifier: Apache-2.0

/// Where a model's text has its reasoning.
public enum ReasoningForm: String, Codable, Sendable {
  /// Nowhere.
  case none
  /// The text may begin with `<think>`, reasoning, `</think>`.
  case tagged
  /// The prompt has opened the span: the text begins inside it.
  case opened

  static let opener = "<think>"
  static let closer = "</think>"

  /// - Parameters:
  ///   - template: the model's chat template.
  ///   - prompt: what it made of a conversation.
  public init(template: String, prompt: String) {
    guard template.contains(Self.closer) else {
      self = .none
      return
    }
    let end = String(prompt.trimmingSuffix(while: \.isWhitespace))
    self = end.hasSuffix(Self.opener) ? .opened : end.hasSuffix(Self.closer) ? .none : .tagged
  }

  /// The grammar of an answer whose part behind the reasoning is what `source` says.
  public func behind(_ source: GrammarSource) -> GrammarSource {
    switch self {
    case .none: source
    case .tagged: .reasoned(source, isOpen: false)
    case .opened: .reasoned(source, isOpen: true)
    }
  }

  /// Any text up to the first closing tag, then `rest`: an automaton that knows at each byte how much of the tag has been read (Knuth, Morris
  /// and Pratt, 1977), as rules that call each other at their ends, which needs no stack.
  static func untilClosed(_ rules: inout GrammarRules, then rest: GrammarExpression) -> GrammarExpression {
    let tag = Array(closer.utf8)
    let places = tag.indices.map { rules.declare("reasoning\($0)") }
    for place in tag.indices {
      var sets: [Int: ByteSet] = [:]
      for byte in UInt8.min...UInt8.max {
        let read = tag[..<place] + [byte]
        // The longest beginning of the tag that what was read ends with.
        let next = (0...place + 1).last { read.suffix($0).elementsEqual(tag.prefix($0)) } ?? 0
        sets[next, default: ByteSet()].insert(byte)
      }
      let choices = sets.sorted { $0.key < $1.key }.map { next, set in
        GrammarExpression.sequence([.set(set), next == tag.count ? rest : .rule(places[next])])
      }
      rules.define(places[place], .choice(choices))
    }
    return .rule(places[0])
  }
}

extension StringProtocol {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> SubSequence {
    var end = endIndex
    while end > startIndex, predicate(self[index(before: end)]) { end = index(before: end) }
    return self[..<end]
  }
}
