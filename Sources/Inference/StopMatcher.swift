// SPDX-License-Identifier: Apache-2.0

/// Finds stop texts in a stream of pieces and holds back what may become one.
public struct StopMatcher: Sendable {
  private let stops: [[UInt8]]
  private let includesStop: Bool
  private var held: [UInt8] = []
  /// The stop text that was met.
  public private(set) var met: String?

  /// Empty texts are ignored.
  /// - Parameter includesStop: whether the text ends behind the stop text instead of before it.
  public init(_ stops: [String], includesStop: Bool = false) {
    self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty }
    self.includesStop = includesStop
  }

  /// Adds a piece. Returns the text that is safe to send, and whether a stop text was met: then the text ends there.
  public mutating func push(_ piece: String) -> (text: String, stopped: Bool) {
    if stops.isEmpty { return (piece, false) }
    held += piece.utf8
    for start in held.indices {
      for stop in stops where held[start...].starts(with: stop) {
        let text = String(decoding: held[..<(includesStop ? start + stop.count : start)], as: UTF8.self)
        held = []
        met = String(decoding: stop, as: UTF8.self)
        return (text, true)
      }
    }
    // The longest end of `held` that begins a stop text. It starts with a stop's first byte: a character's beginning.
    let start =
      held.indices.first { start in stops.contains { $0.count > held.count - start && $0.starts(with: held[start...]) } }
      ?? held.endIndex
    let text = String(decoding: held[..<start], as: UTF8.self)
    held.removeFirst(start)
    return (text, false)
  }

  /// What is still held back when the generation ends for another reason.
  public mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }
}
