// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Which versions of a table `table_changes` means, both ends included. Each end is a version or a time; no end is the latest version.
public struct ChangeRange: Codable, Sendable, Hashable {
  public enum Bound: Codable, Sendable, Hashable {
    case version(Int64)
    case milliseconds(Int64)
  }
  public var start: Bound
  public var end: Bound?
  public init(start: Bound, end: Bound? = nil) {
    self.start = start
    self.end = end
  }
}

/// Finds `table_changes('table', start[, end])` in a statement and puts a table's name in its place.
enum ChangeRequests {
  /// A call, by the offset of its first letter.
  struct Request {
    /// The table's name.
    var parts: [String]
    fileprivate var start: SQLTokens.Token
    fileprivate var stop: SQLTokens.Token?
    /// Behind the closing parenthesis.
    var end: Int

    /// Times are read by the engine.
    func range(_ connection: Connection) throws -> ChangeRange {
      ChangeRange(start: try Self.bound(start, connection), end: try stop.map { try Self.bound($0, connection) })
    }

    private static func bound(_ token: SQLTokens.Token, _ connection: Connection) throws -> ChangeRange.Bound {
      if token.kind == .number {
        guard let version = Int64(token.text) else { throw wrong("'\(token.text.prefix(40))' is no version") }
        return .version(version)
      }
      let time: Int64?
      do { time = try connection.rows("SELECT epoch_ms(CAST(? AS TIMESTAMPTZ))", [.string(token.text)]).first?[0].intValue } catch { time = nil }
      guard let time else { throw wrong("'\(token.text.prefix(60))' is neither a version nor a time") }
      return .milliseconds(time)
    }
  }

  private static func wrong(_ what: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "table_changes: \(what)",
      hint: "For example table_changes('main.demo.t', 3, 7), or with times: table_changes('t', '2026-01-31 12:00:00').", number: "PLT-3240")
  }

  /// Overwrites each call in `bytes` by a name and blanks, so that all other offsets stay.
  /// - Throws: `invalidArgument` PLT-3240 for arguments that are no constants.
  static func take(from tokens: SQLTokens, startingAt first: Int, _ bytes: inout [UInt8]) throws -> [Int: Request] {
    let list = tokens.tokens
    var requests: [Int: Request] = [:]
    var index = first
    while index + 1 < list.count {
      guard list[index].isWord("TABLE_CHANGES"), list[index + 1].isSymbol("(") else {
        index += 1
        continue
      }
      let start = list[index].range.lowerBound
      var arguments: [SQLTokens.Token] = []
      index += 2
      while index < list.count, !list[index].isSymbol(")") {
        if !arguments.isEmpty {
          guard list[index].isSymbol(",") else { throw wrong("the arguments are a table's name in quotes, and one or two versions or times") }
          index += 1
        }
        guard index < list.count, list[index].kind == .string || (!arguments.isEmpty && list[index].kind == .number), arguments.count < 3 else {
          throw wrong("the arguments are a table's name in quotes, and one or two versions or times")
        }
        arguments.append(list[index])
        index += 1
      }
      guard index < list.count, arguments.count >= 2 else { throw wrong("the arguments are a table's name in quotes, and one or two versions or times") }
      let end = list[index].range.upperBound
      requests[start] = Request(parts: try name(arguments[0].text), start: arguments[1], stop: arguments.count > 2 ? arguments[2] : nil, end: end)
      guard requests.count <= 100 else { throw wrong("too many calls") }
      let name = Array("__changes_\(requests.count)".utf8)
      for offset in start..<end { bytes[offset] = offset - start < name.count ? name[offset - start] : 32 }
    }
    return requests
  }

  private static func name(_ text: String) throws -> [String] {
    let tokens = try SQLTokens(text).tokens
    var parts: [String] = []
    for (index, token) in tokens.enumerated() {
      if index % 2 == 1 {
        guard token.isSymbol(".") else { throw wrong("'\(text.prefix(100))' is no table's name") }
      } else {
        guard token.isName, !token.text.isEmpty else { throw wrong("'\(text.prefix(100))' is no table's name") }
        parts.append(token.text)
      }
    }
    guard (1...3).contains(parts.count), tokens.count % 2 == 1 else { throw wrong("'\(text.prefix(100))' is no table's name") }
    return parts
  }
}
