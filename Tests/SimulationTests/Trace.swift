// SPDX-License-Identifier: Apache-2.0

import Scheduling

/// The last things that happened in a simulation. They become text only when a seed fails: rendering each event cost more
/// than the scheduler itself.
struct Trace {
  enum Line {
    case text(String)
    case event(Event)
  }

  private var lines: [(time: Instant, line: Line)] = []
  private var next = 0
  /// How many are kept.
  static let limit = 400

  mutating func add(_ line: Line, at time: Instant) {
    guard lines.count == Self.limit else { return lines.append((time, line)) }
    lines[next] = (time, line)
    next = (next + 1) % Self.limit
  }

  /// The last `count` lines, oldest first.
  func suffix(_ count: Int) -> [String] {
    (lines[next...] + lines[..<next]).suffix(count).map { time, line in
      switch line {
      case .text(let text): "\(time): \(text)"
      case .event(let event): "\(time): event " + String("\(event)".prefix(300))
      }
    }
  }
}
