// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Calls of Spark's functions that no macro can stand for, because their arguments name fields or have a form of their own.
enum SparkCalls {
  typealias Edits = [(range: Range<Int>, text: String)]

  /// By function, in small letters: which argument is the pattern of a date, and whether texts are read by it.
  private static let patterns: [String: (argument: Int, reads: Bool)] = [
    "date_format": (1, false), "from_unixtime": (1, false), "to_date": (1, true), "to_timestamp": (1, true), "try_to_timestamp": (1, true),
    "unix_timestamp": (1, true),
  ]

  /// Functions whose calls are put into other words.
  static let areWrittenAnew: Set<String> = Set(patterns.keys).union([
    "transform", "struct", "named_struct", "from_json", "dateadd", "timestampadd", "timestampdiff",
  ])

  /// What replaces parts of a call; nil: the function is none of these.
  /// - Parameters:
  ///   - index: of the token that is the function's name.
  ///   - count: of its arguments, for `x.name(..)` with `x`.
  /// - Throws: `invalidArgument` PLT-3271 for patterns of dates, PLT-3272 for names that are no constants.
  static func edits(of name: String, _ source: SQLTokens, _ index: Int, arguments count: Int) throws -> Edits? {
    guard let call = source.call(at: index) else { return nil }
    let isMethod = count == call.arguments.count { !$0.isEmpty } + 1
    let tokens = source.tokens
    func constant(_ argument: Int) -> SQLTokens.Token? {
      let range = call.arguments[argument]
      return range.count == 1 && tokens[range.lowerBound].kind == .string && !tokens[range.lowerBound].text.hasPrefix("$") ? tokens[range.lowerBound] : nil
    }
    if let pattern = patterns[name], count > pattern.argument {
      guard let token = constant(pattern.argument - (isMethod ? 1 : 0)) else { throw DatePattern.missing(name) }
      return [(token.range, SQLText.literal(try DatePattern.engine(token.text, reads: pattern.reads)))]
    }
    if isMethod, ["struct", "named_struct"].contains(name) {
      throw fault("\(name) is no method of a value", hint: "Write \(name)(..) with all values within.")
    }
    switch name {
    case "dateadd", "date_add", "timestampadd":
      guard let unit = unit(of: call, tokens) else { return nil }
      let isText = constant(2) != nil
      return [
        (tokens[index].range.lowerBound..<tokens[call.arguments[0].upperBound].range.upperBound, "(to_\(unit)s(CAST(("),
        (tokens[call.arguments[1].upperBound].range, ") AS INTEGER)) + \(isText ? "CAST" : "")("),
        (tokens[call.end].range, isText ? " AS TIMESTAMP))" : "))"),
      ]
    case "datediff", "date_diff", "timestampdiff":
      // Whole units that have passed, which is another function of the engine.
      guard let unit = unit(of: call, tokens) else { return nil }
      return [(tokens[index].range.lowerBound..<tokens[call.arguments[0].lowerBound].range.upperBound, "system.main.date_sub('\(unit)'")]
    case "transform": return [(tokens[index].range, "list_transform")]
    case "struct": return try structure(source, index)
    case "named_struct":
      guard call.arguments.count.isMultiple(of: 2), !call.arguments.isEmpty else {
        throw fault("named_struct takes names and values in turn", hint: "named_struct('a', 1, 'b', 2)")
      }
      var edits: Edits = [(tokens[index].range, "struct_pack")]
      for position in stride(from: 0, to: call.arguments.count, by: 2) {
        guard let token = constant(position) else {
          throw fault("a name of named_struct must be a text that stands in the statement", hint: "struct_pack(a := 1)")
        }
        // The comma behind it goes, too.
        let comma = tokens[call.arguments[position].upperBound].range
        edits.append((token.range.lowerBound..<comma.upperBound, SQLText.identifier(token.text) + " :="))
      }
      return edits
    case "map" where !isMethod:
      // Of two lists, it is the engine's own.
      let isSparks = call.arguments.count > 2 || (call.arguments.count == 2 && (constant(0) != nil || tokens[call.arguments[0].lowerBound].kind == .number))
      guard isSparks, call.arguments.count.isMultiple(of: 2) else { return nil }
      var edits: Edits = [(tokens[index].range.lowerBound..<tokens[index + 1].range.upperBound, "MAP {"), (tokens[call.end].range, "}")]
      for position in stride(from: 0, to: call.arguments.count, by: 2) { edits.append((tokens[call.arguments[position].upperBound].range, ": ")) }
      return edits
    case "from_json":
      guard count == 2, let token = constant(isMethod ? 0 : 1), let first = token.text.first(where: { !$0.isWhitespace }), !"[{\"".contains(first) else {
        return nil
      }
      let type: String
      do {
        type = try SQLTypeText.engine(token.text)
      } catch {
        // Columns, as in a CREATE TABLE.
        type = try SQLTypeText.engine("STRUCT<\(token.text)>")
      }
      return [(token.range, SQLText.literal(try SQLType(sql: type).jsonStructure))]
    default: return nil
    }
  }

  /// The unit of `dateadd(DAY, 1, d)`, where it is given as a word.
  private static func unit(of call: (arguments: [Range<Int>], end: Int), _ tokens: [SQLTokens.Token]) -> String? {
    guard call.arguments.count == 3, call.arguments[0].count == 1, tokens[call.arguments[0].lowerBound].kind == .word else { return nil }
    let word = tokens[call.arguments[0].lowerBound].text.lowercased()
    if word == "dayofyear" { return "day" }
    let unit = word.hasSuffix("s") ? String(word.dropLast()) : word
    return ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond"].contains(unit) ? unit : nil
  }

  static func fault(_ message: String, hint: String) -> PlatformError { PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3272") }

  /// `struct(a, t.b, 1 AS c)`: named fields; nil: it is a type.
  static func structure(_ source: SQLTokens, _ index: Int) throws -> Edits? {
    guard let call = source.call(at: index), !call.arguments.isEmpty else { return nil }
    let tokens = source.tokens
    var edits: Edits = [(tokens[index].range, "struct_pack")]
    for (number, argument) in call.arguments.enumerated() {
      let own = Array(tokens[argument])
      guard !own.isEmpty else { return nil }
      var name = "col\(number + 1)"
      if own.count > 2, own[own.count - 2].isWord("AS"), own[own.count - 1].isName {
        name = own[own.count - 1].text
        edits.append((own[own.count - 3].range.upperBound..<own[own.count - 1].range.upperBound, ""))
      } else if own.count > 1, own[0].isName, own[1].isName {
        return nil
      } else if own.count % 2 == 1,
        own.enumerated().allSatisfy({ $0.offset.isMultiple(of: 2) ? $0.element.isName : $0.element.isSymbol(".") })
      {
        name = own[own.count - 1].text
      }
      edits.append((own[0].range.lowerBound..<own[0].range.lowerBound, SQLText.identifier(name) + " := "))
    }
    return edits
  }
}

extension SQLTokens {
  /// The arguments of the call whose name is at `index`, as indexes of tokens, and where its parenthesis closes.
  func call(at index: Int) -> (arguments: [Range<Int>], end: Int)? {
    guard index + 1 < tokens.count, tokens[index + 1].isSymbol("(") else { return nil }
    var arguments: [Range<Int>] = []
    var start = index + 2
    var depth = 1
    for at in tokens.indices.dropFirst(index + 2) {
      if ["(", "[", "{"].contains(where: tokens[at].isSymbol) { depth += 1 }
      if [")", "]", "}"].contains(where: tokens[at].isSymbol) { depth -= 1 }
      if depth == 0 || (depth == 1 && tokens[at].isSymbol(",")) {
        if at > start || depth == 1 { arguments.append(start..<at) }
        start = at + 1
      }
      if depth == 0 { return (arguments, at) }
    }
    return nil
  }

  /// The text with pieces of it replaced; of two that overlap, the first counts. What is put before a word comes before what replaces it.
  func edited(_ edits: [(range: Range<Int>, text: String)]) -> String {
    var out: [UInt8] = []
    var done = 0
    for edit in edits.sorted(by: { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) })
    where edit.range.lowerBound >= done {
      out += bytes[done..<edit.range.lowerBound] + Array(edit.text.utf8)
      done = edit.range.upperBound
    }
    return String(decoding: out + bytes[done...], as: UTF8.self)
  }
}

extension SQLType {
  /// What the engine's `from_json` calls the type: JSON, with fields in their order.
  var jsonStructure: String {
    switch self {
    case .list(let item): "[\(item.jsonStructure)]"
    case .structure(let fields): "{" + fields.map { "\(JSONValue.string($0.name).sortedText):\($0.type.jsonStructure)" }.joined(separator: ",") + "}"
    default: JSONValue.string(sql).sortedText
    }
  }
}
