// SPDX-License-Identifier: Apache-2.0

/// What a Unigram vocabulary is chosen from: strings of several characters that occur more than once, those first that make up most of the text.
///
/// Found by sorted suffixes: strings that have the same right neighbour everywhere are not worth an entry of their own beside the longer one, and all
/// others are common beginnings of neighbours in that order (Abouelhoda et al., "Replacing suffix trees with enhanced suffix arrays", 2004).
enum UnigramSeeds {
  /// Characters of an entry, as in the reference.
  static let longest = 16

  /// A string of the corpus' text.
  struct Seed: Equatable {
    var start: Int
    var length: Int
    /// How often it occurs, in all words.
    var count: Int
    var characters: Int
  }

  /// The `most` seeds of the largest products of count and characters; equal ones by their bytes.
  static func find(_ corpus: UnigramCorpus, most: Int) -> [Seed] {
    let text = corpus.text
    // A suffix begins at a character and ends with its piece, or after `longest` characters.
    var starts: [Int32] = []
    var ends: [Int32] = []
    var weights: [Int] = []
    for piece in 0..<corpus.count {
      let (begin, end) = (corpus.starts[piece], corpus.starts[piece + 1])
      var places = (begin..<end).filter { text[$0] & 0xC0 != 0x80 }
      places.append(end)
      for index in 0..<places.count - 1 {
        starts.append(Int32(places[index]))
        ends.append(Int32(places[min(index + longest, places.count - 1)]))
        weights.append(corpus.frequencies[piece])
      }
    }
    guard !starts.isEmpty else { return [] }
    var found: [Seed] = []
    text.withUnsafeBufferPointer { text in
      func precedes(_ a: Int32, _ b: Int32) -> Bool {
        let (x, y) = (Int(starts[Int(a)]), Int(starts[Int(b)]))
        let (m, n) = (Int(ends[Int(a)]) - x, Int(ends[Int(b)]) - y)
        var i = 0
        while i < m, i < n, text[x &+ i] == text[y &+ i] { i &+= 1 }
        if i < m, i < n { return text[x &+ i] < text[y &+ i] }
        return m != n ? m < n : a < b
      }
      let order = (0..<Int32(starts.count)).sorted(by: precedes)
      /// Characters that neighbours begin with, and their bytes.
      func common(_ a: Int32, _ b: Int32) -> (characters: Int, length: Int) {
        let (x, y) = (Int(starts[Int(a)]), Int(starts[Int(b)]))
        let most = min(Int(ends[Int(a)]) - x, Int(ends[Int(b)]) - y)
        var (i, characters, whole) = (0, 0, 0)
        while i < most, text[x &+ i] == text[y &+ i] {
          i &+= 1
          // A character is whole when another one begins, or the suffix ends; its first byte says how long it is, so it is whole in both.
          if i == most || text[x &+ i] & 0xC0 != 0x80 { (characters, whole) = (characters + 1, i) }
        }
        return (characters, whole)
      }
      var open: [(characters: Int, length: Int, first: Int, before: Int)] = []
      var sum = 0  // of the weights before the suffix at hand
      var last = (characters: 0, length: 0)
      for index in order.indices {
        let suffix = order[index]
        let next = index + 1 < order.count ? common(suffix, order[index + 1]) : (0, 0)
        let (start, end) = (Int(starts[Int(suffix)]), Int(ends[Int(suffix)]))
        let characters = (start..<end).reduce(0) { $0 + (text[$1] & 0xC0 != 0x80 ? 1 : 0) }
        let weight = weights[Int(suffix)]
        // Alone with its whole length: counted as often as its word.
        if characters > max(last.characters, next.0), characters > 1, weight > 1 {
          found.append(Seed(start: start, length: end - start, count: weight, characters: characters))
        }
        var first = (index, sum)
        sum += weight
        while let top = open.last, top.characters > next.0 {
          open.removeLast()
          if top.characters > 1 { found.append(Seed(start: start, length: top.length, count: sum - top.before, characters: top.characters)) }
          first = (top.first, top.before)
        }
        if next.0 > (open.last?.characters ?? 0) { open.append((next.0, next.1, first.0, first.1)) }
        last = next
      }
    }
    func bytes(_ seed: Seed) -> ArraySlice<UInt8> { text[seed.start..<seed.start + seed.length] }
    found.sort {
      let (a, b) = ($0.count * $0.characters, $1.count * $1.characters)
      return a != b ? a > b : bytes($0).lexicographicallyPrecedes(bytes($1))
    }
    return Array(found.prefix(most))
  }
}
