// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How values of a CSV file are quoted, and whether a file keeps to it.
struct CSVQuoting {
  /// Single bytes; nil for longer ones, of which nothing is known here.
  let delimiter: UInt8?
  let quote: UInt8?
  let escape: UInt8?
  private let isQuoted: Bool

  /// - Parameter quote: empty where values are never quoted.
  init(delimiter: String, quote: String, escape: String) {
    self.delimiter = delimiter.utf8.count == 1 ? delimiter.utf8.first : nil
    self.quote = quote.utf8.count == 1 ? quote.utf8.first : nil
    self.escape = escape.utf8.count == 1 ? escape.utf8.first : nil
    isQuoted = !quote.isEmpty
  }

  /// Goes through a text byte by byte and knows what is quoted.
  struct Scanner {
    private let quoting: CSVQuoting?
    private var isInside = false
    private var isStart = true
    private var wasClosed = false
    private var isEscaped = false

    /// - Parameter quoting: nil: nothing is quoted.
    init(_ quoting: CSVQuoting?) { self.quoting = quoting }

    /// Whether a quote is open.
    var isOpen: Bool { isInside }

    /// - Returns: whether the byte is inside of quotes, or is the one that closes them.
    mutating func isQuoted(_ byte: UInt8) -> Bool {
      guard let quoting else { return false }
      if isInside {
        if isEscaped {
          isEscaped = false
        } else if byte == quoting.escape, quoting.escape != quoting.quote {
          isEscaped = true
        } else if byte == quoting.quote {
          isInside = false
          wasClosed = true
        }
        return true
      }
      // Two quotes in a row are one inside of the value.
      if byte == quoting.quote, isStart || (wasClosed && quoting.escape == quoting.quote) { isInside = true }
      wasClosed = false
      isStart = byte == quoting.delimiter || byte == 10 || byte == 13
      return false
    }
  }

  /// Whether each quote of a file opens at the beginning of a value and closes at its end; false for a file that cannot be read.
  func isRegular(file path: String) -> Bool {
    guard isQuoted else { return true }
    // Large files take long enough by themselves; one that cannot be read now is read alone, where that is told.
    let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue ?? .max
    guard size <= 64 << 20, let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else { return false }
    return data.withUnsafeBytes { isRegular($0) }
  }

  func isRegular(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let delimiter, let quote, let escape else { return !isQuoted }
    let (newline, carriage) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"))
    var isInside = false
    var isStart = true
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      let next = index + 1 < bytes.count ? bytes[index + 1] : newline
      if isInside {
        if byte == escape, escape != quote || next == quote, index + 1 < bytes.count {
          index += 1
        } else if byte == quote {
          guard next == delimiter || next == newline || next == carriage else { return false }
          isInside = false
        }
      } else if byte == quote {
        guard isStart else { return false }
        isInside = true
      } else {
        isStart = byte == delimiter || byte == newline || byte == carriage
      }
      index += 1
    }
    return !isInside
  }
}
