// SPDX-License-Identifier: Apache-2.0

/// A token that is recognised in the text before anything else cuts it up.
struct AddedToken: Sendable, Equatable {
  var id: Int32
  var content: [UInt8]
  /// Only between characters that are no letters, digits or underscores.
  var singleWord = false
  /// Takes the white space before or after it along.
  var leftStrip = false
  var rightStrip = false
  /// Searched in normalised text instead of in the raw text.
  var normalized = false
  var special = true

  /// Reads `added_tokens` of a tokenizer file.
  static func read(_ file: ByteJSON) -> [AddedToken] {
    (file["added_tokens"]?.items ?? []).compactMap { item in
      guard let id = item["id"]?.id, let content = item["content"]?.bytes, !content.isEmpty else { return nil }
      return AddedToken(
        id: id, content: content, singleWord: item["single_word"]?.flag ?? false, leftStrip: item["lstrip"]?.flag ?? false,
        rightStrip: item["rstrip"]?.flag ?? false, normalized: item["normalized"]?.flag ?? false,
        special: item["special"]?.flag ?? false)
    }
  }
}

/// Cuts text at added tokens: leftmost match first, the longest of those that start at one place.
struct AddedTokenMatcher: Sendable {
  private let byFirstByte: [[AddedToken]]
  let isEmpty: Bool

  init(_ tokens: [AddedToken]) {
    var lists = [[AddedToken]](repeating: [], count: 256)
    for token in tokens { lists[Int(token.content[0])].append(token) }
    for index in lists.indices { lists[index].sort { $0.content.count > $1.content.count } }
    byFirstByte = lists
    isEmpty = tokens.isEmpty
  }

  /// Calls `body` for each piece in order, with the id for an added token and nil for the text between.
  func split(_ bytes: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>, Int32?) -> Void) {
    guard let base = bytes.baseAddress, !isEmpty else {
      if !bytes.isEmpty { body(bytes, nil) }
      return
    }
    let count = bytes.count
    var start = 0
    var index = 0
    withUnsafeTemporaryAllocation(of: Bool.self, capacity: 256) { starts in
      for byte in 0..<256 { starts[byte] = !byFirstByte[byte].isEmpty }
      while index < count {
        if !starts[Int(base[index])] {
          index &+= 1
          continue
        }
        guard let token = byFirstByte[Int(base[index])].first(where: { matches($0, base + index, count - index) }) else {
          index += 1
          continue
        }
        let end = index + token.content.count
        if token.singleWord && (isWordBefore(base, index) || isWordAfter(base, end, count)) {
          index = end
          continue
        }
        var from = index
        var to = end
        if token.leftStrip { while from > start, let previous = whitespaceBefore(base, from, start) { from = previous } }
        if token.rightStrip { while to < count, let next = whitespaceAt(base, to) { to = next } }
        if from > start { body(UnsafeBufferPointer(rebasing: bytes[start..<from]), nil) }
        body(UnsafeBufferPointer(rebasing: bytes[from..<to]), token.id)
        start = to
        index = to
      }
    }
    if start < count { body(UnsafeBufferPointer(rebasing: bytes[start..<count]), nil) }
  }

  private func matches(_ token: AddedToken, _ bytes: UnsafePointer<UInt8>, _ available: Int) -> Bool {
    guard token.content.count <= available else { return false }
    for offset in token.content.indices where bytes[offset] != token.content[offset] { return false }
    return true
  }

  private func scalarStart(_ base: UnsafePointer<UInt8>, before index: Int) -> Int {
    var start = index - 1
    while start > 0 && base[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  private func whitespaceBefore(_ base: UnsafePointer<UInt8>, _ index: Int, _ limit: Int) -> Int? {
    let start = scalarStart(base, before: index)
    return start >= limit ? whitespaceAt(base, start).map { _ in start } : nil
  }

  private func whitespaceAt(_ base: UnsafePointer<UInt8>, _ index: Int) -> Int? {
    let (scalar, next) = ScalarTable.decode(base, index)
    return ScalarTable.classOf(scalar) & ScalarTable.whitespace != 0 ? next : nil
  }

  private func isWord(_ base: UnsafePointer<UInt8>, _ index: Int) -> Bool {
    let (scalar, _) = ScalarTable.decode(base, index)
    return scalar == 0x5F || ScalarTable.classOf(scalar) & (ScalarTable.letter | ScalarTable.number | ScalarTable.mark) != 0
  }
  private func isWordBefore(_ base: UnsafePointer<UInt8>, _ index: Int) -> Bool {
    index > 0 && isWord(base, scalarStart(base, before: index))
  }
  private func isWordAfter(_ base: UnsafePointer<UInt8>, _ index: Int, _ count: Int) -> Bool {
    index < count && isWord(base, index)
  }
}
