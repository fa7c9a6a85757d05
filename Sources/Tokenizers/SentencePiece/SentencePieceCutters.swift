// SPDX-License-Identifier: Apache-2.0

/// Cuts normalised text into pieces, as a SentencePiece model does.
protocol SentencePieceCutter: Sendable {
  /// Whether what `MarkedWords` cuts a text into has the text's own pieces, one behind the other.
  var allowsMarkedWords: Bool { get }
  /// Calls `body` with each piece from left to right; the id is nil for what no piece is.
  func cut(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>, Int32?) -> Void)
}

/// The most probable pieces by the Viterbi algorithm, in the reference's precision: what is equal in it is decided by the order.
struct UnigramCutter: SentencePieceCutter {
  private let trie: ByteTrie
  private let scores: [Float]
  private let unknownScore: Float
  /// Sums of scores are rounded, and so depend on all of the text before them.
  var allowsMarkedWords: Bool { false }

  init(_ file: SentencePieceFile) {
    // One piece of each text counts, the last; when that may not be used, none does.
    let usable = file.pieces.enumerated().filter { [.normal, .userDefined, .unused].contains($1.kind) }
    let last = Dictionary(usable.map { ($1.text, $0) }, uniquingKeysWith: { $1 })
    trie = ByteTrie(usable.compactMap { id, piece in piece.kind != .unused && last[piece.text] == id ? (piece.text, Int32(id)) : nil })
    let normal = file.pieces.filter { $0.kind == .normal }.map(\.score)
    unknownScore = (normal.min() ?? .greatestFiniteMagnitude) - 10
    // The reference begins with the least positive number, not with the lowest.
    let highest = max(normal.max() ?? 0, .leastNormalMagnitude)
    scores = file.pieces.map { $0.kind == .userDefined ? Float($0.text.count) * highest - 0.1 : $0.score }
  }

  private struct Step {
    var score: Float = 0
    /// -1: no way leads here.
    var start: Int32 = -1
    /// -1: what no piece is.
    var id: Int32 = -1
  }

  func cut(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>, Int32?) -> Void) {
    guard let base = text.baseAddress else { return }
    precondition(text.count < Int32.max, "a text of 2 GB")
    var pieces: [(Range<Int>, Int32?)] = []
    let steps = UnsafeMutablePointer<Step>.allocate(capacity: text.count + 1)
    defer { steps.deallocate() }
    steps.initialize(repeating: Step(), count: text.count + 1)
    scores.withUnsafeBufferPointer { scores in
      var start = 0
      while start < text.count {
        let next = ScalarTable.decode(base, start).next
        let here = steps[start].score
        var isCovered = false
        trie.prefixes(text, from: start) { length, id in
          let score = scores[Int(id)] + here
          let end = start &+ length
          if steps[end].start < 0 || score > steps[end].score { steps[end] = Step(score: score, start: Int32(start), id: id) }
          if end == next { isCovered = true }
        }
        if !isCovered {
          let score = unknownScore + here
          if steps[next].start < 0 || score > steps[next].score { steps[next] = Step(score: score, start: Int32(start), id: -1) }
        }
        start = next
      }
    }
    var end = text.count
    while end > 0 {
      let step = steps[end]
      pieces.append((Int(step.start)..<end, step.id < 0 ? nil : step.id))
      end = Int(step.start)
    }
    for (range, id) in pieces.reversed() { body(range, id) }
  }
}

/// Merges neighbours into pieces, the piece of the highest score first, of equal ones the leftmost.
struct MergeCutter: SentencePieceCutter {
  private let pieces: Vocabulary?
  private let ids: [Int32]
  private let scores: [Float]
  private let isUnused: [Bool]
  private let kept: ByteTrie
  let allowsMarkedWords: Bool

  init(_ file: SentencePieceFile) {
    var entries: [(token: [UInt8], id: Int32?)] = []
    var ids: [Int32] = []
    for (id, piece) in file.pieces.enumerated() {
      switch piece.kind {
      case .normal, .userDefined, .unused:
        entries.append((piece.text, Int32(entries.count)))
        ids.append(Int32(id))
      case .unknown, .control, .byte: break
      }
    }
    pieces = try? Vocabulary(entries)  // it refuses nothing but holes and the empty list
    self.ids = ids
    allowsMarkedWords = entries.allSatisfy { !MarkedWords.crosses($0.token) }
    scores = ids.map { file.pieces[Int($0)].score }
    isUnused = ids.map { file.pieces[Int($0)].kind == .unused }
    kept = ByteTrie(file.pieces.enumerated().compactMap { $1.kind == .userDefined ? ($1.text, Int32($0)) : nil })
  }

  private struct Symbol {
    var start: Int
    var end: Int
    var previous: Int
    var next: Int
    /// A user's symbol is merged with nothing.
    var isKept: Bool
  }

  private struct Merge: Comparable {
    var score: Float
    var left: Int
    var right: Int
    var size: Int
    static func < (a: Merge, b: Merge) -> Bool { a.score != b.score ? a.score > b.score : a.left < b.left }
  }

  private func entry(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Int? {
    guard let base = text.baseAddress else { return nil }
    return pieces?.id(base + range.lowerBound, range.count).map(Int.init)
  }

  func cut(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>, Int32?) -> Void) {
    guard let base = text.baseAddress else { return }
    var symbols: [Symbol] = []
    var place = 0
    while place < text.count {
      var length = 0
      kept.prefixes(text, from: place) { found, _ in length = found }
      let end = length > 0 ? place + length : ScalarTable.decode(base, place).next
      symbols.append(Symbol(start: place, end: end, previous: symbols.count - 1, next: symbols.count + 1, isKept: length > 0))
      place = end
    }
    guard !symbols.isEmpty else { return }
    symbols[symbols.count - 1].next = -1
    /// How a piece that must not be used was merged: where its left part ends.
    var parts: [Range<Int>: Int] = [:]
    var agenda = BinaryHeap<Merge>()
    func offer(_ left: Int, _ right: Int) {
      guard left >= 0, right >= 0, !symbols[left].isKept, !symbols[right].isKept else { return }
      let range = symbols[left].start..<symbols[right].end
      guard let found = entry(text, range) else { return }
      agenda.push(Merge(score: scores[found], left: left, right: right, size: range.count))
      if isUnused[found] { parts[range] = symbols[left].end }
    }
    for index in symbols.indices.dropFirst() { offer(index - 1, index) }
    while let top = agenda.pop() {
      let (left, right) = (symbols[top.left], symbols[top.right])
      // One of the two has been merged with another meanwhile.
      guard left.end > left.start, right.end > right.start, left.end - left.start + right.end - right.start == top.size else { continue }
      symbols[top.left].end = right.end
      symbols[top.left].next = right.next
      if right.next >= 0 { symbols[right.next].previous = top.left }
      symbols[top.right].end = symbols[top.right].start
      offer(symbols[top.left].previous, top.left)
      offer(top.left, symbols[top.left].next)
    }
    var index = 0
    while index >= 0 {
      give(text, symbols[index].start..<symbols[index].end, parts, body)
      index = symbols[index].next
    }
  }

  /// A piece that must not be used is given as what it was merged from.
  private func give(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ parts: [Range<Int>: Int], _ body: (Range<Int>, Int32?) -> Void
  ) {
    var open = [range]
    while let next = open.popLast() {
      let found = entry(text, next)
      if let found, isUnused[found], let middle = parts[next] {
        open += [middle..<next.upperBound, next.lowerBound..<middle]
      } else {
        body(next, found.map { ids[$0] })
      }
    }
  }
}
