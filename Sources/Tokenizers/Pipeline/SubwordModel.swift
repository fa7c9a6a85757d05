// SPDX-License-Identifier: Apache-2.0

import Core

/// Turns one word into ids: the `model` of a tokenizer file.
protocol SubwordModel: Sendable {
  var vocabulary: Vocabulary { get }
  var unknown: Int32? { get }
  /// Whether what `MarkedWords` cuts a word into has the word's own ids, one behind the other.
  var allowsMarkedWords: Bool { get }
  /// - Parameter word: valid UTF-8, not empty.
  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32])
}

extension SubwordModel {
  var allowsMarkedWords: Bool { false }
}

/// The entries of a model, both ways.
struct Vocabulary: Sendable {
  private let table: ByteStringTable
  private let ids: [Int32]
  /// Place in `table` by id; -1 for a hole.
  private let places: [Int32]

  var count: Int { places.count }

  /// - Throws: `invalidFile` (PLT-3301) for ids that cannot be.
  init(_ entries: [(token: [UInt8], id: Int32?)]) throws {
    let largest = entries.compactMap(\.id).max() ?? -1
    guard largest >= 0, Int(largest) < entries.count + 1_000_000, entries.allSatisfy({ $0.id != nil }) else {
      throw PlatformError.unusableTokenizer("bad ids in the vocabulary")
    }
    let table = ByteStringTable(minimumCapacity: entries.count)
    var ids: [Int32] = []
    var places = [Int32](repeating: -1, count: Int(largest) + 1)
    for (token, id) in entries {
      let id = id ?? 0
      let place = table.insert(token)
      if place == ids.count { ids.append(id) } else { ids[place] = id }
      places[Int(id)] = Int32(place)
    }
    self.table = table
    self.ids = ids
    self.places = places
  }

  func id(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32? {
    let place = table.find(bytes, count)
    return place < 0 ? nil : ids[place]
  }

  func id(_ token: [UInt8]) -> Int32? {
    let place = table.find(token)
    return place < 0 ? nil : ids[place]
  }

  func id(_ token: String?) -> Int32? { token.flatMap { id(Array($0.utf8)) } }

  func token(_ id: Int32) -> [UInt8]? {
    guard id >= 0, Int(id) < places.count, places[Int(id)] >= 0 else { return nil }
    return table[Int(places[Int(id)])]
  }
}

/// Each word is an entry or unknown.
struct WordLevelModel: SubwordModel {
  let vocabulary: Vocabulary
  let unknown: Int32?

  init(_ json: ByteJSON) throws {
    vocabulary = try Vocabulary((json["vocab"]?.members ?? []).map { ($0.key, $0.value.id) })
    unknown = vocabulary.id(json["unk_token"]?.text)
  }

  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    guard let base = word.baseAddress, let id = vocabulary.id(base, word.count) ?? unknown else { return }
    ids.append(id)
  }
}

/// The longest entry that a word begins with, then the longest continuation, and so on.
struct LongestMatchModel: SubwordModel {
  let vocabulary: Vocabulary
  let unknown: Int32?
  private let prefix: [UInt8]
  private let longestWord: Int
  private let longestEntry: Int

  init(_ json: ByteJSON) throws {
    let members = json["vocab"]?.members ?? []
    vocabulary = try Vocabulary(members.map { ($0.key, $0.value.id) })
    unknown = vocabulary.id(json["unk_token"]?.text ?? "[UNK]")
    prefix = json["continuing_subword_prefix"]?.bytes ?? Array("##".utf8)
    longestWord = json["max_input_chars_per_word"]?.id.map(Int.init) ?? 100
    longestEntry = members.map(\.key.count).max() ?? 0
  }

  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    let first = ids.count
    func giveUp() {
      ids.removeSubrange(first...)
      if let unknown { ids.append(unknown) }
    }
    guard word.count(where: { $0 & 0xC0 != 0x80 }) <= longestWord else { return giveUp() }
    var start = 0
    while start < word.count {
      let front = start == 0 ? [] : prefix
      var length = min(word.count - start, longestEntry)
      var found: Int32?
      while length > 0 {
        let end = start + length
        if end == word.count || word[end] & 0xC0 != 0x80 {
          found = vocabulary.id(front + word[start..<end])
          if found != nil { break }
        }
        length -= 1
      }
      guard let found else { return giveUp() }
      ids.append(found)
      start += length
    }
  }
}
