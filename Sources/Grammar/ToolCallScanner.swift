// SPDX-License-Identifier: Apache-2.0

/// Reads one call, `{"name": .., "arguments": {..}}`, byte by byte.
struct ToolCallScanner: Sendable {
  private(set) var bytes: [UInt8] = []
  private(set) var isComplete = false
  private(set) var name: String?
  /// Where the arguments begin, and where they end when they have.
  private(set) var argumentsStart: Int?
  private(set) var argumentsEnd: Int?
  private var depth = 0
  private var isInString = false
  private var isEscaped = false
  private var isAtKey = true
  private var stringStart = 0
  private var key: String?
  private var valueStart: Int?

  mutating func take(_ byte: UInt8) {
    bytes.append(byte)
    let place = bytes.count - 1
    if isInString {
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isInString = false
        guard depth == 1 else { return }
        if isAtKey { key = text(stringStart..<place + 1) } else { endValue(place + 1) }
      }
      return
    }
    switch byte {
    case UInt8(ascii: "\""):
      isInString = true
      stringStart = place
      beginValue(place)
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      beginValue(place)
      depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      if depth <= 1 {
        endValue(place)
        isComplete = true
      }
      depth -= 1
      if depth == 1 { endValue(place + 1) }
    case UInt8(ascii: ":") where depth == 1: isAtKey = false
    case UInt8(ascii: ",") where depth == 1:
      endValue(place)
      isAtKey = true
    case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): break
    default: beginValue(place)
    }
  }

  private var isAtArguments: Bool { key == "arguments" || key == "parameters" }

  private mutating func beginValue(_ place: Int) {
    guard depth == 1, !isAtKey, valueStart == nil, key != nil else { return }
    valueStart = place
    if isAtArguments && argumentsStart == nil { argumentsStart = place }
  }

  private mutating func endValue(_ end: Int) {
    guard let start = valueStart, key != nil else { return }
    if key == "name" && name == nil { name = text(start..<end) }
    if isAtArguments && argumentsStart == start { argumentsEnd = end }
    key = nil
    valueStart = nil
  }

  /// The string that stands there, if it is one.
  private func text(_ range: Range<Int>) -> String? {
    (try? OrderedJSON(parsing: String(decoding: bytes[range], as: UTF8.self)))?.stringValue  // what is no JSON is no call
  }

  /// The arguments of a complete call as JSON text of an object; nil if this is no call.
  var arguments: String? {
    // What is no JSON is no call.
    guard isComplete, name != nil, (try? OrderedJSON(parsing: String(decoding: bytes, as: UTF8.self))) != nil else { return nil }
    guard let start = argumentsStart, let end = argumentsEnd else { return "{}" }
    if bytes[start] == UInt8(ascii: "{") { return String(decoding: bytes[start..<end], as: UTF8.self) }
    // Some models write them as a string that holds the object.
    guard let inner = text(start..<end), (try? OrderedJSON(parsing: inner))?.members != nil else { return nil }
    return inner
  }
}
