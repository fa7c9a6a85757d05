// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// How the lines of a text end. The engine goes on with the first kind that it meets and gives up a file with several; of those a copy is
/// made whose lines end alike.
struct LineEnds {
  private struct Kinds: OptionSet {
    let rawValue: UInt8
    static let feed = Kinds(rawValue: 1)
    static let both = Kinds(rawValue: 2)
    static let carriage = Kinds(rawValue: 4)
    var isOne: Bool { rawValue.nonzeroBitCount < 2 }
  }

  /// Nil: nothing is quoted.
  private let quoting: CSVQuoting?
  /// What a carriage return by itself becomes.
  private let lone: UInt8
  private var kinds: Kinds = []
  private var isInside = false
  private var isStart = true
  private var wasClosed = false
  private var isEscaped = false
  private var isPending = false

  private static let pieceBytes = 1 << 18

  private init(_ quoting: CSVQuoting?, lone: UInt8) {
    self.quoting = quoting
    self.lone = lone
  }

  /// Writes a copy of the file when its lines end in several ways. Line ends inside of quotes stay as they are.
  /// - Parameter lone: what becomes of a carriage return that no line feed follows.
  /// - Returns: whether there is a copy.
  /// - Throws: `unavailable` and the like when file or copy cannot be read or written.
  static func unify(_ path: String, quoting: CSVQuoting?, lone: UInt8, copy: String) throws -> Bool {
    let source = open(path, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw PlatformError.system("open", path) }
    defer { close(source) }
    // Most files have no carriage return at all, which is found out fast.
    var hasCarriage = false
    try pieces(source, path) { bytes in
      hasCarriage = bytes.baseAddress.map { memchr($0, 13, bytes.count) != nil } ?? false
      return !hasCarriage
    }
    guard hasCarriage else { return false }
    var survey = LineEnds(quoting, lone: lone)
    try pieces(source, path) { bytes in
      for byte in bytes { _ = survey.step(byte) }
      return survey.kinds.isOne
    }
    survey.finish()
    guard !survey.kinds.isOne else { return false }
    let output = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("open", copy) }
    defer { close(output) }
    var ends = LineEnds(quoting, lone: lone)
    var out: [UInt8] = []
    func put() throws {
      var done = 0
      while done < out.count {
        let count = out.withUnsafeBytes { write(output, $0.baseAddress.map { $0 + done }, out.count - done) }
        guard count > 0 || (count < 0 && errno == EINTR) else { throw PlatformError.system("write", copy) }
        done += max(0, count)
      }
      out.removeAll(keepingCapacity: true)
    }
    try pieces(source, path) { bytes in
      for byte in bytes {
        let (first, second) = ends.step(byte)
        if let first { out.append(first) }
        if let second { out.append(second) }
      }
      try put()
      return true
    }
    if ends.isPending { out.append(lone) }
    try put()
    return true
  }

  /// - Parameter body: false: that is enough.
  private static func pieces(_ descriptor: Int32, _ path: String, _ body: (UnsafeBufferPointer<UInt8>) throws -> Bool) throws {
    var bytes = [UInt8](repeating: 0, count: pieceBytes)
    var offset: off_t = 0
    while true {
      let got = pread(descriptor, &bytes, bytes.count, offset)
      guard got >= 0 else { throw PlatformError.system("read", path) }
      if got == 0 { return }
      offset += off_t(got)
      guard try bytes.withUnsafeBufferPointer({ try body(UnsafeBufferPointer(rebasing: $0[..<got])) }) else { return }
    }
  }

  private mutating func finish() { if isPending { kinds.insert(.carriage) } }

  /// - Returns: what stands in the copy, at most two bytes.
  private mutating func step(_ byte: UInt8) -> (UInt8?, UInt8?) {
    var before: UInt8?
    if isPending {
      isPending = false
      if byte == 10 {
        kinds.insert(.both)
        return (10, nil)
      }
      kinds.insert(.carriage)
      before = lone
    }
    if let quoting {
      if isInside {
        if isEscaped {
          isEscaped = false
        } else if byte == quoting.escape, quoting.escape != quoting.quote {
          isEscaped = true
        } else if byte == quoting.quote {
          isInside = false
          wasClosed = true
        }
        return (before, byte)
      }
      // Two quotes in a row are one inside of the value.
      if byte == quoting.quote, isStart || (wasClosed && quoting.escape == quoting.quote) { isInside = true }
      wasClosed = false
      isStart = byte == quoting.delimiter || byte == 10 || byte == 13
    }
    if byte == 13 {
      isPending = true
      return (before, nil)
    }
    if byte == 10 { kinds.insert(.feed) }
    return (before, byte)
  }
}
