// SPDX-License-Identifier: Apache-2.0

/// Something measured of ours alone, beside what is wanted of it.
struct Figure {
  var what: String
  var value: String
  var wanted: String

  static func table(_ figures: [Figure]) -> String {
    var lines = [["what", "measured", "wanted"]] + figures.map { [$0.what, $0.value, $0.wanted] }
    let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    lines.insert(widths.map { String(repeating: "-", count: $0) }, at: 1)
    return lines.map { line in
      "| " + zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: " | ") + " |"
    }.joined(separator: "\n")
  }
}

/// Times of many repetitions.
struct Latencies {
  private let sorted: [Double]

  init(_ seconds: [Double]) { sorted = seconds.sorted() }

  /// The smallest value that `share` of all do not exceed.
  func quantile(_ share: Double) -> Double {
    guard !sorted.isEmpty else { return .nan }
    return sorted[min(sorted.count - 1, max(0, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
  }

  var text: String { "p50 \(Self.milliseconds(quantile(0.5))), p95 \(Self.milliseconds(quantile(0.95))), p99 \(Self.milliseconds(quantile(0.99)))" }

  static func milliseconds(_ seconds: Double) -> String { "\(Table.short(seconds * 1000)) ms" }
}
