// SPDX-License-Identifier: Apache-2.0

/// Supposes how a sequence goes on from what it said before: what followed the last place where its ending stood already ("prompt lookup").
///
/// The tokens are computed together with the last one, and those that the sampler then draws anyway are kept. What a model says does not
/// depend on them, only how many steps it takes. A value: it knows how often it was right, and pauses where it seldom is.
public struct PromptLookup: Sendable, Equatable {
  /// The most tokens of a draft. Behind more rows a step costs more than the rest of a draft brings.
  public static let limit = 8
  /// Lengths of endings that are looked for.
  private static let (longest, shortest) = (4, 2)
  /// Drafted tokens before the share of right ones says anything; the share below which drafting pauses; and for how many tokens.
  private static let (sample, worthwhile, pause) = (24, 0.3, 48)

  private var drafted = 0
  private var accepted = 0
  private var resumesAt = 0

  public init() {}

  /// What may follow `tokens`, up to `limit` tokens. Of the places with the longest equal ending the last one is taken.
  public func draft(behind tokens: [Int32], limit: Int) -> ArraySlice<Int32> {
    let count = tokens.count
    guard limit > 0, count > Self.shortest, count >= resumesAt else { return [] }
    var best = (length: Self.shortest - 1, end: 0)
    tokens.withUnsafeBufferPointer { tokens in
      // `end` is the place behind an earlier ending.
      for end in stride(from: count - 1, to: 0, by: -1) where tokens[end - 1] == tokens[count - 1] {
        var length = 1
        while length < Self.longest, length < end, tokens[end - 1 - length] == tokens[count - 1 - length] { length += 1 }
        if length > best.length { best = (length, end) }
        if length == Self.longest { break }
      }
    }
    guard best.length >= Self.shortest else { return [] }
    return tokens[best.end..<min(best.end + limit, count)]
  }

  /// - Parameter length: of the sequence now.
  public mutating func note(drafted: Int, accepted: Int, length: Int) {
    self.drafted += drafted
    self.accepted += accepted
    guard self.drafted >= Self.sample else { return }
    if Double(self.accepted) < Self.worthwhile * Double(self.drafted) {
      self = PromptLookup()
      resumesAt = length + Self.pause
    } else {
      // What was long ago counts less and less.
      self.drafted /= 2
      self.accepted /= 2
    }
  }
}
