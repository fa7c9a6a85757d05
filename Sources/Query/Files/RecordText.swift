// SPDX-License-Identifier: Apache-2.0

import Core

/// What stands at places of a text, each time to the end of the record: what the engine says of a bad record is cut after ten thousand bytes.
struct RecordText {
  /// Nil: a record is a line.
  var quoting: CSVQuoting?
  /// How much of a record is kept; its length is counted on.
  var limit = 1 << 17

  /// - Parameters:
  ///   - offsets: where records begin, growing. One that lies inside of the record before is passed over.
  ///   - found: gets the offset, the first bytes and the whole length.
  func read(_ text: UnpackedText, at offsets: [Int64], _ found: (Int64, [UInt8], Int64) throws -> Void) throws {
    var rest = offsets[...]
    guard let first = rest.first else { return }
    var scanner: CSVQuoting.Scanner?
    var (begin, length): (Int64, Int64) = (0, 0)
    var kept: [UInt8] = []
    func finish() throws {
      try found(begin, kept, length)
      scanner = nil
    }
    try text.forEach(from: first) { piece, position in
      var index = 0
      while index < piece.count {
        guard var scan = scanner else {
          while let next = rest.first, next < position + Int64(index) { rest.removeFirst() }
          guard let next = rest.first else { return false }
          guard next < position + Int64(piece.count) else { return true }
          rest.removeFirst()
          (scanner, begin, length, kept) = (CSVQuoting.Scanner(quoting), next, 0, [])
          index = Int(next - position)
          continue
        }
        var isAtEnd = false
        while index < piece.count {
          let byte = piece[index]
          if !scan.isQuoted(byte), byte == 10 || byte == 13 {
            isAtEnd = true
            break
          }
          if length < limit { kept.append(byte) }
          length += 1
          index += 1
        }
        scanner = scan
        if isAtEnd { try finish() }
      }
      return true
    }
    if scanner != nil { try finish() }
  }
}
