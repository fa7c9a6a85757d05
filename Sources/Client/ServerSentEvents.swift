// SPDX-License-Identifier: Apache-2.0

/// Splits a byte stream into server-sent events (WHATWG HTML, section 9.2). A value: feed bytes, take events.
public struct ServerSentEventParser: Sendable {
  public struct Event: Sendable, Equatable {
    public var name: String
    public var data: String
  }

  /// A line above this many bytes is refused, so that a broken server cannot grow our memory.
  public static let lineLimit = 16 << 20

  private var line: [UInt8] = []
  private var name = ""
  private var data: [String] = []

  public init() {}

  /// - Returns: the events that `bytes` completed. `nil` when a line passed the limit.
  public mutating func feed(_ bytes: some Sequence<UInt8>) -> [Event]? {
    var events: [Event] = []
    for byte in bytes {
      if byte != UInt8(ascii: "\n") {
        line.append(byte)
        if line.count > Self.lineLimit { return nil }
        continue
      }
      if line.last == UInt8(ascii: "\r") { line.removeLast() }
      let text = String(decoding: line, as: UTF8.self)
      line.removeAll(keepingCapacity: true)
      if text.isEmpty {
        if !data.isEmpty { events.append(Event(name: name.isEmpty ? "message" : name, data: data.joined(separator: "\n"))) }
        name = ""
        data = []
      } else if text.hasPrefix("data:") {
        data.append(Self.value(text, after: 5))
      } else if text.hasPrefix("event:") {
        name = Self.value(text, after: 6)
      }
    }
    return events
  }

  private static func value(_ text: String, after count: Int) -> String {
    let rest = text.dropFirst(count)
    return String(rest.first == " " ? rest.dropFirst() : rest)
  }
}
