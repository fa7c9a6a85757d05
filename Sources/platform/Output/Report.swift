// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// sysexits, as `platform --help` documents them.
enum ExitCodes {
  static let runFailed: Int32 = 10
  static let runCancelled: Int32 = 11

  static func of(_ code: PlatformError.Code) -> Int32 {
    switch code {
    case .invalidArgument: 64
    case .invalidFile: 65
    case .notFound: 66
    case .unavailable: 69
    case .internalError: 70
    case .failed: 1
    case .alreadyExists, .conflict: 73
    case .resourceExhausted: 75
    case .unauthenticated, .permissionDenied: 77
    case .badConfiguration: 78
    case .timeout: 124
    case .cancelled: 130
    }
  }
}

/// Where text goes: data to standard output, everything else to standard error.
enum Report {
  static let unicode: Bool = {
    let environment = ProcessInfo.processInfo.environment
    let locale = environment["LC_ALL"].flatMap { $0.isEmpty ? nil : $0 } ?? environment["LC_CTYPE"] ?? environment["LANG"] ?? ""
    return locale.isEmpty || locale.lowercased().contains("utf")
  }()
  static var check: String { unicode ? "✓" : "+" }
  static var cross: String { unicode ? "✗" : "x" }
  static var dot: String { unicode ? "●" : "*" }
  static var ring: String { unicode ? "○" : "o" }

  static func data(_ line: String) { StandardStreams.out(line + "\n") }
  static func note(_ line: String) { StandardStreams.error(line + "\n") }

  /// An answer in one of the forms for programs.
  static func structured(_ value: some Encodable, _ format: OutputFormat) throws {
    let encoder = JSONEncoder.platform
    if format == .json { encoder.outputFormatting.insert(.prettyPrinted) }
    let bytes = try encoder.encode(value)
    switch format {
    case .yaml, .csv, .name:
      let tree = try JSONDecoder.platform.decode(JSONValue.self, from: bytes)
      let text = format == .yaml ? StructuredText.yaml(tree) : format == .csv ? StructuredText.csv(tree) : StructuredText.names(tree)
      StandardStreams.out(text)
    case .json, .text, .wide: data(String(decoding: bytes, as: UTF8.self))
    }
  }

  /// What failed, where, how to mend it.
  static func failure(_ error: PlatformError, json: Bool) {
    if json {
      let object: JSONValue = [
        "error_code": .string(error.code.rawValue), "code": .string(error.number), "message": .string(error.message),
        "hint": .string(error.hint), "path": error.path.map { .string($0) } ?? .null,
        "line": error.line.map { .integer(Int64($0)) } ?? .null, "retryable": .bool(error.isRetryable),
      ]
      note(object.sortedText)
      return
    }
    let number = error.number.isEmpty ? "" : "  " + error.number
    note("\(cross) \(error.message)\(number)")
    if let path = error.path, !error.message.contains("\n") {
      note("  \(path)\(error.line.map { ":\($0)" } ?? "")")
      if let line = error.line, let text = sourceLine(path, line) { note("      \(line) \(unicode ? "│" : "|") \(text)") }
    }
    if !error.hint.isEmpty { note("  \(error.hint)") }
  }

  private static func sourceLine(_ path: String, _ number: Int) -> String? {
    guard let data = FileManager.default.contents(atPath: path), data.count < 4 << 20 else { return nil }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.indices.contains(number - 1) else { return nil }
    return String(lines[number - 1].prefix(120))
  }

  /// Left-aligned columns, two spaces apart.
  static func table(_ header: [String], _ rows: [[String]]) {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0 }
    for row in all {
      let cells = row.enumerated().map { index, cell in
        index == row.count - 1 ? cell : cell + String(repeating: " ", count: max(0, widths[index] - cell.count))
      }
      data(cells.joined(separator: "  "))
    }
  }

  static func bytes(_ count: Int64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(count)
    var index = 0
    while value >= 1000 && index < units.count - 1 {
      value /= 1000
      index += 1
    }
    return index == 0 ? "\(count) B" : String(format: value < 10 ? "%.1f %@" : "%.0f %@", value, units[index])
  }

  static func duration(_ seconds: Double) -> String {
    if seconds < 60 { return String(format: "%.1f s", seconds) }
    let whole = Int(seconds)
    return whole < 3600 ? "\(whole / 60)m\(whole % 60)s" : "\(whole / 3600)h\(whole % 3600 / 60)m"
  }

  static func ago(_ date: Date) -> String { duration(max(0, Date().timeIntervalSince(date))) + " ago" }

  /// A curve in eight heights.
  static func sparkline(_ values: [Double], width: Int) -> String {
    guard let low = values.min(), let high = values.max(), values.count > 1 else { return "" }
    let bars = Array(unicode ? "▁▂▃▄▅▆▇█" : "_.-=+*#@")
    let count = min(width, values.count)
    return String(
      (0..<count).map { index in
        let value = values[index * (values.count - 1) / max(1, count - 1)]
        return bars[high > low ? Int((value - low) / (high - low) * 7) : 0]
      })
  }
}
