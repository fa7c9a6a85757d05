// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// How the lines of a text end, and which of them are comments. The engine goes on with the first kind of line end that it meets and gives up a
/// file with several; and it takes the sign of a comment for one anywhere in a line. Of such files a copy is made.
struct LineEnds {
  /// A text that the engine can read.
  struct Copy {
    /// Whether what stands in the file stands at another place in the copy.
    var isMoved: Bool
    /// What comments begin with in the copy; nothing else has it. Nil: as in the file.
    var comment: String?
  }

  /// What the text is, as far as it matters here.
  struct Rules {
    /// Nil: nothing is quoted.
    var quoting: CSVQuoting?
    /// What becomes of a carriage return that no line feed follows.
    var lone: UInt8
    /// Begins a line that is a comment; nil: there are none.
    var comment: UInt8?
    /// Lines at the beginning that are passed over, whatever they are.
    var skippedLines = 0
  }

  private struct Kinds: OptionSet {
    let rawValue: UInt8
    static let feed = Kinds(rawValue: 1)
    static let both = Kinds(rawValue: 2)
    static let carriage = Kinds(rawValue: 4)
    var isOne: Bool { rawValue.nonzeroBitCount < 2 }
  }

  private let rules: Rules
  private var quotes: CSVQuoting.Scanner
  private var kinds: Kinds = []
  private var isPending = false
  private var isLineStart = true
  private var isComment = false
  private var skippedLines: Int
  /// How much of a mark of UTF-8 was seen; 4 behind it, or where there is none.
  private var marked = 0
  /// Whether the sign of comments stands elsewhere, too.
  private var hasOtherSigns = false
  /// Whether the text begins with a mark of UTF-8 and a comment, which the engine does not see behind it.
  private var hasMarkedComment = false
  /// Which of the bytes below 32 there are.
  private var controls: UInt32 = 0
  /// What the sign of comments becomes.
  private var sign: UInt8?

  private init(_ rules: Rules) {
    self.rules = rules
    quotes = CSVQuoting.Scanner(rules.quoting)
    skippedLines = rules.skippedLines
  }

  /// Writes a copy of the text when the engine could not read it as it is: all lines end in a line feed, those inside of quotes stay as they are.
  /// Packed files are looked at to their end, and their copies are not packed.
  /// - Returns: nil: no copy is needed.
  /// - Throws: `PackedDamage`; `invalidFile` when no copy can be made; `unavailable` and the like when file or copy cannot be read or written.
  static func unify(_ text: UnpackedText, _ rules: Rules, copy: String) throws -> Copy? {
    // Most files need no more than this, which is fast.
    var look = Look(comment: rules.comment)
    try text.forEach { piece, _ in
      look.take(piece)
      return text.isPacked || !look.needsSurvey
    }
    look.finish()
    guard look.needsSurvey else { return nil }
    var survey = LineEnds(rules)
    try text.forEach { piece, _ in
      for byte in piece { _ = survey.step(byte) }
      return rules.comment != nil || survey.kinds.isOne
    }
    if survey.isPending { survey.kinds.insert(.carriage) }
    guard !survey.kinds.isOne || survey.hasOtherSigns || survey.hasMarkedComment else { return nil }
    var ends = LineEnds(rules)
    if survey.hasOtherSigns {
      guard let free = (Array(1...8) + Array(14...31)).first(where: { survey.controls >> UInt32($0) & 1 == 0 }) else {
        throw PlatformError(.invalidFile, "its comments cannot be told from its values: it has all control characters")
      }
      ends.sign = UInt8(free)
    }
    try ends.rewrite(text, to: copy, keepsEnds: survey.kinds.isOne, dropsMark: survey.hasMarkedComment)
    return Copy(isMoved: !survey.kinds.isOne || survey.hasMarkedComment, comment: ends.sign.map { String(decoding: [$0], as: UTF8.self) })
  }

  private mutating func rewrite(_ text: UnpackedText, to copy: String, keepsEnds: Bool, dropsMark: Bool) throws {
    let output = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("open", copy) }
    defer { close(output) }
    var out: [UInt8] = []
    func put() throws {
      try WholeWrite.write(out, to: output, copy)
      out.removeAll(keepingCapacity: true)
    }
    try text.forEach { piece, position in
      for (index, byte) in piece.enumerated() {
        let (first, second) = step(byte)
        if dropsMark, position + Int64(index) < 3 { continue }
        if keepsEnds {
          out.append(second == sign ? second ?? byte : byte)
        } else {
          if let first { out.append(first) }
          if let second { out.append(second) }
        }
      }
      try put()
      return true
    }
    if isPending, !keepsEnds { out.append(rules.lone) }
    try put()
  }

  /// - Returns: what stands in the copy, at most two bytes.
  private mutating func step(_ byte: UInt8) -> (UInt8?, UInt8?) {
    var before: UInt8?
    if byte < 32 { controls |= 1 << UInt32(byte) }
    if isPending {
      isPending = false
      if byte == 10 {
        kinds.insert(.both)
        return (10, nil)
      }
      kinds.insert(.carriage)
      before = rules.lone
    }
    var isBehindMark = false
    if marked < 4 {
      if marked < 3, byte == ([0xEF, 0xBB, 0xBF] as [UInt8])[marked] {
        marked += 1
        return (before, byte)
      }
      isBehindMark = marked == 3
      marked = 4
    }
    let isLineEnd = byte == 10 || byte == 13
    if skippedLines == 0, !isComment {
      if byte == rules.comment {
        if isLineStart, !quotes.isOpen {
          isComment = true
          isLineStart = false
          hasMarkedComment = hasMarkedComment || isBehindMark
          return (before, sign ?? byte)
        }
        hasOtherSigns = true
      }
      if quotes.isQuoted(byte) { return (before, byte) }
    }
    isLineStart = isLineEnd
    if isLineEnd {
      isComment = false
      if byte == 13 {
        if skippedLines > 0 { skippedLines -= 1 }
        isPending = true
        return (before, nil)
      }
      if skippedLines > 0 { skippedLines -= 1 }
      kinds.insert(.feed)
    }
    return (before, byte)
  }

  /// What can be seen without knowing what is quoted.
  private struct Look {
    let comment: UInt8?
    private var hasComment = false
    private var kinds: Kinds = []
    private var wasCarriage = false

    init(comment: UInt8?) { self.comment = comment }

    var needsSurvey: Bool { hasComment || !kinds.isOne }

    mutating func finish() { if wasCarriage { kinds.insert(.carriage) } }

    mutating func take(_ piece: UnsafeBufferPointer<UInt8>) {
      guard let base = piece.baseAddress, !piece.isEmpty else { return }
      if let comment, !hasComment { hasComment = memchr(base, Int32(comment), piece.count) != nil }
      guard kinds.isOne else { return }
      guard wasCarriage || memchr(base, 13, piece.count) != nil else {
        if !kinds.contains(.feed), memchr(base, 10, piece.count) != nil { kinds.insert(.feed) }
        return
      }
      for byte in piece {
        if wasCarriage { kinds.insert(byte == 10 ? .both : .carriage) } else if byte == 10 { kinds.insert(.feed) }
        wasCarriage = byte == 13
        if !kinds.isOne { return }
      }
    }
  }
}
