// SPDX-License-Identifier: Apache-2.0

/// Ids with a fixed meaning; nil where the vocabulary has none.
public struct SpecialTokens: Sendable, Equatable, Codable {
  public var beginning: Int32?
  public var end: Int32?
  public var padding: Int32?
  public var unknown: Int32?

  public init(beginning: Int32? = nil, end: Int32? = nil, padding: Int32? = nil, unknown: Int32? = nil) {
    self.beginning = beginning
    self.end = end
    self.padding = padding
    self.unknown = unknown
  }
}

/// Text to ids and back. Implementations are immutable and may be used by many threads at once.
public protocol Tokenizer: Sendable {
  /// The largest id plus one: the number of rows that an embedding table needs.
  var vocabularySize: Int { get }
  var special: SpecialTokens { get }
  /// Ids that the model's template puts before and after one text (`[CLS]` and `[SEP]` for BERT); often empty.
  var templatePrefix: [Int32] { get }
  var templateSuffix: [Int32] { get }
  /// How two texts become one sequence; nil when the tokenizer's files do not say.
  var pairTemplate: PairTemplate? { get }

  /// Appends the ids of valid UTF-8 without the template. Linear in the text, up to the longest vocabulary entry.
  func append(utf8: UnsafeBufferPointer<UInt8>, to ids: inout [Int32])
  /// Ids outside the vocabulary are left out; bytes that are no UTF-8 become U+FFFD.
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String
  /// The entry as its file spells it (`##ing`, `Ġthe`), or nil for an id outside the vocabulary.
  func token(_ id: Int32) -> String?
  /// Whether decoded text is the ids' own `bytes`, one behind the other.
  var decodesApart: Bool { get }
  /// The bytes that this id adds to decoded text; not always whole characters.
  func bytes(_ id: Int32) -> [UInt8]?
  /// The id of an entry as its file spells it.
  func id(_ token: String) -> Int32?
  func isSpecial(_ id: Int32) -> Bool
}

extension Tokenizer {
  public var decodesApart: Bool { true }
  public var pairTemplate: PairTemplate? { nil }
  public var bosID: Int32? { special.beginning }
  public var eosID: Int32? { special.end }
  public var padID: Int32? { special.padding }
  public var unkID: Int32? { special.unknown }

  /// All ids of `text`, in the model's template when `addSpecialTokens`. Nothing is cut off.
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
    var ids = addSpecialTokens ? templatePrefix : []
    var text = text
    text.withUTF8 { append(utf8: $0, to: &ids) }
    if addSpecialTokens { ids += templateSuffix }
    return ids
  }

  /// At most `maximumLength` ids with the template, cutting the end of the text.
  public func encode(_ text: String, maximumLength: Int) -> [Int32] {
    var ids = encode(text, addSpecialTokens: true)
    guard ids.count > maximumLength else { return ids }
    let kept = max(maximumLength - templateSuffix.count, min(templatePrefix.count, maximumLength))
    ids.removeSubrange(kept...)
    ids += templateSuffix.prefix(maximumLength - kept)
    return ids
  }

  /// The number of ids of `text` without the template.
  public func countTokens(_ text: String) -> Int { encode(text, addSpecialTokens: false).count }
}
