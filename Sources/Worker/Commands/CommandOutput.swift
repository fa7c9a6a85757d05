// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The output of a program on its way to the log: whole lines up to a limit, and of what comes after it only the end. A value; who
/// feeds it writes the lines that it hands out.
struct CommandOutput {
  /// Bytes of one attempt's output that are kept. Databricks keeps 5 MB of a run's log too.
  static let limit = 5 << 20
  /// Bytes of a line; what is longer goes on in the next.
  static let lineLimit = 3_000
  /// Bytes of the end that are kept beyond the limit.
  static let tailLimit = 16 << 10

  private(set) var bytes: Int64 = 0
  private var kept = 0
  private var pending: [UInt8] = []
  private var tail: [UInt8] = []
  private(set) var leftOut: Int64 = 0

  /// Lines that became whole.
  mutating func feed(_ new: some Sequence<UInt8>) -> [String] {
    var lines: [String] = []
    for byte in new {
      bytes += 1
      tail.append(byte)
      guard kept < Self.limit else {
        leftOut += 1
        continue
      }
      kept += 1
      if byte == UInt8(ascii: "\n") {
        lines.append(take())
      } else {
        // A character is not cut in the middle.
        if pending.count >= Self.lineLimit, byte & 0xC0 != 0x80 || pending.count >= Self.lineLimit + 3 { lines.append(take()) }
        pending.append(byte)
      }
      if kept == Self.limit, !pending.isEmpty { lines.append(take()) }
    }
    if tail.count > 2 * Self.tailLimit { tail.removeFirst(tail.count - Self.tailLimit) }
    return lines
  }

  private mutating func take() -> String {
    if pending.last == UInt8(ascii: "\r") { pending.removeLast() }
    defer { pending.removeAll(keepingCapacity: true) }
    return String(decoding: pending, as: UTF8.self)
  }

  /// The lines that are left when the program has ended.
  mutating func finish() -> [String] {
    var lines = pending.isEmpty ? [] : [take()]
    if leftOut > 0 {
      let last = lastLines
      lines.append("... \(max(0, leftOut - Int64(last.utf8.count))) bytes of output are left out here ...")
      lines += last.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
    }
    return lines
  }

  /// The end of the output, whole lines where there are any.
  var lastLines: String {
    var end = tail.suffix(Self.tailLimit)
    if end.count < tail.count || bytes > Int64(tail.count), let newline = end.firstIndex(of: UInt8(ascii: "\n")), newline + 1 < end.endIndex {
      end = end[(newline + 1)...]
    }
    return String(decoding: end, as: UTF8.self).trimmingCharacters(in: .newlines)
  }
}
