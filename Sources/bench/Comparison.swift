// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Two ways to do the same work. Preparation and the check that both give the same result come before.
struct Comparison {
  var what: String
  var ours: String
  var peer: String
  /// On both sides.
  var threads: Int
  /// How much one run does, in `unit`s.
  var amount: Double
  var unit: String
  /// What a run answers is a latency to show, not the time for an amount.
  var isLatency = false
  /// A run; the argument counts them, the answer is seconds.
  var runOurs: (Int) async throws -> Double
  var runPeer: (Int) async throws -> Double

  struct Row {
    var comparison: Comparison
    /// Seconds of each round.
    var ours: [Double]
    var peer: [Double]
    /// peer / ours of each round: above 1 we are faster.
    var ratios: [Double] { zip(ours, peer).map { $1 / $0 } }
  }

  /// One unmeasured run of each, then `rounds` pairs; which comes first alternates.
  func measure(rounds: Int) async throws -> Row {
    _ = try await runOurs(0)
    _ = try await runPeer(0)
    var row = Row(comparison: self, ours: [], peer: [])
    for round in 1...rounds {
      if round % 2 == 1 {
        row.ours.append(try await runOurs(round))
        row.peer.append(try await runPeer(round))
      } else {
        row.peer.append(try await runPeer(round))
        row.ours.append(try await runOurs(round))
      }
    }
    guard (row.ours + row.peer).allSatisfy({ $0 > 0 }) else { throw PlatformError(.internalError, "\(what): a run took no time") }
    return row
  }
}

/// What was measured, for people.
struct Table {
  var rounds: Int
  var rows: [Comparison.Row] = []

  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// Three significant digits, whatever the size.
  static func short(_ value: Double) -> String {
    switch abs(value) {
    case ..<10: String(format: "%.2f", value)
    case ..<100: String(format: "%.1f", value)
    case ..<10_000: String(format: "%.0f", value)
    default: String(format: "%.0fk", value / 1000)
    }
  }

  static func summary(_ row: Comparison.Row) -> String {
    let c = row.comparison
    return "\(c.what): \(rates(row)), ratio \(short(median(row.ratios)))"
  }

  private static func rates(_ row: Comparison.Row) -> String {
    let (c, ours, peer) = (row.comparison, median(row.ours), median(row.peer))
    return c.isLatency ? "\(short(ours * 1000)) / \(short(peer * 1000)) ms" : "\(short(c.amount / ours)) / \(short(c.amount / peer)) \(c.unit)/s"
  }

  var text: String {
    var lines = [["what", "ours", "peer", "ratio", "spread", "threads", "rates (ours / peer)"]]
    for row in rows {
      let c = row.comparison
      let ratios = row.ratios
      lines.append([
        c.what, c.ours, c.peer, Self.short(Self.median(ratios)), "\(Self.short(ratios.min() ?? .nan))-\(Self.short(ratios.max() ?? .nan))",
        "\(c.threads)", Self.rates(row),
      ])
    }
    let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    lines.insert(widths.map { String(repeating: "-", count: $0) }, at: 1)
    let body = lines.map { line in
      "| " + zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: " | ") + " |"
    }
    return body.joined(separator: "\n")
      + "\n\nratio: the peer's time over ours, median of \(rounds) alternating rounds (higher: we are faster); spread: the smallest and the largest."
  }
}

/// Seconds that `body` takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let began = ContinuousClock.now
  try body()
  return (ContinuousClock.now - began).inSeconds
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// Stops a comparison whose sides disagree.
func check(_ isSame: Bool, _ what: @autoclosure () -> String) throws {
  guard isSame else { throw PlatformError(.internalError, "the sides disagree: \(what())") }
}
