// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Records that are longer than what the engine keeps of a bad one. It cuts them also in the middle of a character, and then gives up the
/// whole file.
enum LongRecords {
  /// Writes a copy of the text in which long records are of ASCII alone: the mark stands for each of their other bytes, and nowhere else.
  /// - Parameter quoting: nil: a record is a line.
  /// - Returns: the mark; nil when each character that could be one is in the text.
  static func shield(_ text: UnpackedText, _ quoting: CSVQuoting?, longerThan limit: Int, copy: String) throws -> UInt8? {
    var isUsed = [Bool](repeating: false, count: 32)
    try text.forEach { piece, _ in
      for byte in piece where byte < 32 { isUsed[Int(byte)] = true }
      return true
    }
    guard let mark = (Array(1...8) + Array(14...31)).first(where: { !isUsed[$0] }).map({ UInt8($0) }) else { return nil }
    let output = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("open", copy) }
    defer { close(output) }
    var out: [UInt8] = []
    func put() throws {
      try WholeWrite.write(out, to: output, copy)
      out.removeAll(keepingCapacity: true)
    }
    var scanner = CSVQuoting.Scanner(quoting)
    // Where the record begins in `out`; nil: it is long, and what there was of it is written.
    var start: Int? = 0
    try text.forEach { piece, _ in
      for byte in piece {
        let isQuoted = scanner.isQuoted(byte)
        if let begin = start, out.count - begin > limit {
          for index in begin..<out.count where out[index] > 127 { out[index] = mark }
          start = nil
        }
        out.append(start == nil && byte > 127 ? mark : byte)
        if !isQuoted, byte == 10 || byte == 13 { start = out.count }
      }
      // A record that is not known to be long stays.
      if let begin = start {
        let rest = Array(out[begin...])
        out.removeSubrange(begin...)
        try put()
        (out, start) = (rest, 0)
      } else {
        try put()
      }
      return true
    }
    try put()
    return mark
  }
}
