// SPDX-License-Identifier: Apache-2.0

/// Takes the text of an answer apart while it comes: reasoning, content, calls of tools.
///
/// However the text is cut into pieces, what comes out joins to the same. Text that may become a tag is held back until that is decided. A
/// call is told when it is whole and valid; where a grammar makes sure of that, its arguments are told as they come. What looks like a call
/// and is none stays content.
public struct AnswerParser: Sendable {
  public enum Piece: Sendable, Equatable {
    case reasoning(String)
    case content(String)
    /// A call begins; its arguments follow.
    case call(name: String)
    case arguments(String)
  }

  private enum Stage {
    case beginning, reasoning, text, call, behindCall
  }

  private let format: ToolCallFormat?
  private let names: Set<String>
  private let isConstrained: Bool
  private let isParallel: Bool
  private var stage: Stage
  private var held: [UInt8] = []
  private var pieces: [Piece] = []
  /// What was read since the last content, to be content if no call comes of it.
  private var attempt: [UInt8] = []
  private var scanner: ToolCallScanner?
  private var argumentsTold = 0
  private var isTold = false
  /// White space is left out where a part begins.
  private var isAtStart = true
  private var hasContent = false
  /// Calls that were told.
  public private(set) var callCount = 0

  /// - Parameters:
  ///   - format: how calls are written; nil: there are none.
  ///   - names: of the tools; a call of another one is content.
  ///   - isConstrained: whether a grammar allows nothing but valid calls.
  ///   - isParallel: whether calls behind the first one count; otherwise they are left out.
  public init(reasoning: ReasoningForm, format: ToolCallFormat? = nil, names: Set<String> = [], isConstrained: Bool = false, isParallel: Bool = true) {
    self.format = format
    self.names = names
    self.isConstrained = isConstrained
    self.isParallel = isParallel
    stage = reasoning == .opened ? .reasoning : reasoning == .tagged ? .beginning : .text
    isAtStart = reasoning == .opened
  }

  public var isReasoning: Bool { stage == .reasoning }

  /// Adds text of whole characters.
  public mutating func push(_ text: String) -> [Piece] {
    held += text.utf8
    return run(isEnd: false)
  }

  /// What is still held back when the text has ended.
  public mutating func finish() -> [Piece] { run(isEnd: true) }

  private mutating func run(isEnd: Bool) -> [Piece] {
    while step(isEnd) {}
    defer { pieces = [] }
    return pieces
  }

  /// Whether there is more to do.
  private mutating func step(_ isEnd: Bool) -> Bool {
    switch stage {
    case .beginning: beginning(isEnd)
    case .reasoning: reasoning(isEnd)
    case .text: text(isEnd)
    case .call: call(isEnd)
    case .behindCall: behindCall(isEnd)
    }
  }

  // MARK: stages

  private mutating func beginning(_ isEnd: Bool) -> Bool {
    let rest = held[space(0)...]
    let tag = Array(ReasoningForm.opener.utf8)
    if rest.starts(with: tag) {
      held = Array(rest.dropFirst(tag.count))
      stage = .reasoning
      isAtStart = true
      return true
    }
    if !isEnd && tag.starts(with: rest) { return false }
    stage = .text
    return true
  }

  private mutating func reasoning(_ isEnd: Bool) -> Bool {
    let (end, found) = find(ReasoningForm.closer, isEnd)
    tellText(upTo: end, dropsEnd: found || isEnd) { .reasoning($0) }
    guard found else { return false }
    held.removeFirst(space(0) + ReasoningForm.closer.utf8.count)
    stage = .text
    isAtStart = true
    return true
  }

  private mutating func text(_ isEnd: Bool) -> Bool {
    guard let format else {
      tellText(upTo: held.count, dropsEnd: false, holdsSpace: false) { .content($0) }
      return false
    }
    if let opener = format.opener {
      let (end, found) = find(opener, isEnd)
      tellText(upTo: end, dropsEnd: isEnd && callCount > 0, holdsSpace: found || !isEnd || callCount > 0) { .content($0) }
      guard found else { return false }
      take(space(0) + opener.utf8.count)
      stage = .call
      return true
    }
    let mark = Array("<|python_tag|>".utf8)
    let start = space(0)
    if !hasContent {
      if held[start...].starts(with: mark) {
        take(start + mark.count)
        stage = .call
        return true
      }
      if !isEnd && mark.starts(with: held[start...]) { return false }
      if start < held.count && held[start] == UInt8(ascii: "{") {
        stage = .call
        return true
      }
    }
    tellText(upTo: held.count, dropsEnd: isEnd && callCount > 0, holdsSpace: !isEnd || callCount > 0) { .content($0) }
    return false
  }

  private mutating func call(_ isEnd: Bool) -> Bool {
    if scanner == nil {
      var start = space(0)
      if start < held.count, format?.isList == true, held[start] == UInt8(ascii: "[") { start = space(start + 1) }
      if start < held.count {
        guard held[start] == UInt8(ascii: "{") else { return giveUp() }
        take(start)
        scanner = ToolCallScanner()
        argumentsTold = 0
        isTold = false
      }
    }
    guard var reading = scanner else { return isEnd ? giveUp() : false }
    scanner = nil
    var count = 0
    while count < held.count && !reading.isComplete {
      reading.take(held[count])
      count += 1
    }
    take(count)
    if isConstrained { tell(reading) }
    guard reading.isComplete else {
      scanner = reading
      guard isEnd else { return false }
      if isTold {
        attempt = []
        return false
      }
      return giveUp()
    }
    guard let arguments = reading.arguments, let name = reading.name, names.contains(name) else { return giveUp() }
    if !isTold && (isParallel || callCount == 0) {
      pieces += [.call(name: name), .arguments(arguments)]
      callCount += 1
    }
    attempt = []
    stage = .behindCall
    return true
  }

  private mutating func behindCall(_ isEnd: Bool) -> Bool {
    let start = space(0)
    let rest = held[start...]
    guard let byte = rest.first else {
      if isEnd { held = [] }
      return false
    }
    isAtStart = true
    if let closer = format?.closer.map({ Array($0.utf8) }) {
      if rest.starts(with: closer) {
        held = Array(rest.dropFirst(closer.count))
        stage = .text
        return true
      }
      if !isEnd && closer.starts(with: rest) { return false }
    }
    if format?.isList == true && (byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")) || format == .llama3 && byte == UInt8(ascii: ";") {
      held = Array(rest.dropFirst())
      return true
    }
    stage = byte == UInt8(ascii: "{") && format?.opener.map({ _ in format?.isList == true }) ?? true ? .call : .text
    return true
  }

  // MARK: parts

  /// Tells what has come of a call that the grammar makes sure of.
  private mutating func tell(_ reading: ToolCallScanner) {
    guard let name = reading.name, let start = reading.argumentsStart, isParallel || callCount == 0 || isTold else { return }
    if !isTold {
      pieces.append(.call(name: name))
      callCount += 1
      isTold = true
    }
    let end = reading.argumentsEnd ?? reading.bytes.count
    if start + argumentsTold < end {
      pieces.append(.arguments(String(decoding: reading.bytes[start + argumentsTold..<end], as: UTF8.self)))
      argumentsTold = end - start
    }
  }

  /// No call came of the attempt: it is content, and so may be what follows.
  private mutating func giveUp() -> Bool {
    let text = String(decoding: attempt + (attempt.isEmpty ? held.prefix(1) : []), as: UTF8.self)
    if attempt.isEmpty { held.removeFirst(min(1, held.count)) }
    if !text.isEmpty {
      pieces.append(.content(text))
      hasContent = true
      isAtStart = false
    }
    attempt = []
    scanner = nil
    stage = .text
    return true
  }

  /// Moves the first bytes into the attempt.
  private mutating func take(_ count: Int) {
    attempt += held[..<count]
    held.removeFirst(count)
  }

  /// The first place that is no white space.
  private func space(_ start: Int) -> Int {
    held[start...].firstIndex { ![UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t")].contains($0) } ?? held.count
  }

  /// Where the tag begins, or what may become it.
  private func find(_ tag: String, _ isEnd: Bool) -> (place: Int, found: Bool) {
    let tag = Array(tag.utf8)
    for place in held.indices where held[place] == tag[0] {
      let rest = held[place...]
      if rest.starts(with: tag) { return (place, true) }
      if !isEnd && tag.starts(with: rest) { return (place, false) }
    }
    return (held.count, false)
  }

  /// Tells held text. White space at its end waits for what follows it.
  private mutating func tellText(upTo end: Int, dropsEnd: Bool, holdsSpace: Bool = true, _ piece: (String) -> Piece) {
    var start = 0
    if isAtStart { start = min(space(0), end) }
    var stop = end
    if holdsSpace {
      while stop > start, [UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t")].contains(held[stop - 1]) { stop -= 1 }
    }
    if stop > start {
      pieces.append(piece(String(decoding: held[start..<stop], as: UTF8.self)))
      isAtStart = false
      if stage == .text { hasContent = true }
    }
    held.removeFirst(dropsEnd ? end == held.count ? end : stop : stop)
  }
}
