// SPDX-License-Identifier: Apache-2.0

import Core

/// Patterns of dates and times as Spark writes them (`yyyy-MM-dd HH:mm`), for the engine's `strftime` and `strptime`.
enum DatePattern {
  /// What follows a pattern's letters in the engine's form.
  private static let pieces: [String: String] = [
    "y": "%Y", "yyyy": "%Y", "u": "%Y", "uuuu": "%Y", "yy": "%y", "M": "%-m", "MM": "%m", "MMM": "%b", "MMMM": "%B", "L": "%-m", "LL": "%m", "d": "%-d",
    "dd": "%d", "D": "%-j", "DDD": "%j", "E": "%a", "EE": "%a", "EEE": "%a", "EEEE": "%A", "H": "%-H", "HH": "%H", "h": "%-I", "hh": "%I", "m": "%-M",
    "mm": "%M", "s": "%-S", "ss": "%S", "SSS": "%g", "SSSSSS": "%f", "a": "%p",
  ]

  /// Statements run in UTC: what a zone is written as.
  private static let zones: [String: String] = ["X": "Z", "XXX": "Z", "VV": "Etc/UTC", "z": "UTC", "xxx": "+00:00", "Z": "+0000", "xx": "+0000"]

  /// - Parameter reads: for reading a text and not for writing one.
  /// - Throws: `invalidArgument` PLT-3271 naming the letters that have no such form.
  static func engine(_ pattern: String, reads: Bool) throws -> String {
    let letters = Array(pattern)
    var out = ""
    var at = 0
    while at < letters.count {
      let letter = letters[at]
      var end = at + 1
      if letter == "'" {
        // Text in quotes; two of them are one.
        if end < letters.count, letters[end] == "'" {
          out += "'"
          at += 2
          continue
        }
        while true {
          guard end < letters.count else { throw fault(pattern, "a quote is not closed") }
          if letters[end] == "'" {
            guard end + 1 < letters.count, letters[end + 1] == "'" else { break }
            end += 1
          }
          out += letters[end] == "%" ? "%%" : String(letters[end])
          end += 1
        }
        at = end + 1
        continue
      }
      guard letter.isASCII, letter.isLetter else {
        guard !"[]#{}".contains(letter) else { throw fault(pattern, "'\(letter)' cannot stand in it") }
        out += letter == "%" ? "%%" : String(letter)
        at = end
        continue
      }
      while end < letters.count, letters[end] == letter { end += 1 }
      let run = String(letters[at..<end])
      if let piece = pieces[run] {
        out += piece
      } else if !reads, let zone = zones[run] {
        out += zone
      } else {
        throw fault(pattern, "'\(run)' is not known\(reads && zones[run] != nil ? " for reading" : "")")
      }
      at = end
    }
    return out
  }

  private static func fault(_ pattern: String, _ why: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "the pattern '\(pattern.prefix(100))' of a date: \(why)",
      hint: "Letters are yyyy, yy, MM, MMM, dd, DDD, EEE, HH, hh, mm, ss, SSS, SSSSSS, a; other text in single quotes. Or use strftime and strptime.",
      number: "PLT-3271")
  }

  static func missing(_ function: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "the pattern of \(function) must be a text that stands in the statement",
      hint: "For a pattern that is computed use strftime or strptime.", number: "PLT-3271")
  }
}
