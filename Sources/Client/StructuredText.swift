// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// A JSON answer in the other forms that a shell reads: YAML, CSV, names only.
public enum StructuredText {
  // MARK: YAML

  /// Block style, members in order of name. Strings that another reader could take for something else are quoted as in JSON.
  public static func yaml(_ value: JSONValue) -> String {
    var out = ""
    yaml(value, indent: 0, into: &out)
    return out
  }

  private static func yaml(_ value: JSONValue, indent: Int, into out: inout String) {
    let margin = String(repeating: "  ", count: indent)
    switch value {
    case .object(let members) where !members.isEmpty:
      for (key, member) in members.sorted(by: { $0.key < $1.key }) {
        out += margin + scalar(.string(key)) + ":"
        nested(member, indent: indent, into: &out)
      }
    case .array(let items) where !items.isEmpty:
      for item in items {
        if case .object(let members) = item, !members.isEmpty {
          var block = ""
          yaml(item, indent: indent + 1, into: &block)
          out += margin + "- " + block.dropFirst(margin.count + 2)
        } else {
          out += margin + "-"
          nested(item, indent: indent, into: &out)
        }
      }
    default: out += margin + scalar(value) + "\n"
    }
  }

  private static func nested(_ value: JSONValue, indent: Int, into out: inout String) {
    switch value {
    case .object(let members) where !members.isEmpty:
      out += "\n"
      yaml(value, indent: indent + 1, into: &out)
    case .array(let items) where !items.isEmpty:
      out += "\n"
      yaml(value, indent: indent + 1, into: &out)
    default: out += " " + scalar(value) + "\n"
    }
  }

  private static func scalar(_ value: JSONValue) -> String {
    switch value {
    case .object: return "{}"
    case .array: return "[]"
    case .string(let text):
      let plain = text.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "_-./@".unicodeScalars.contains($0))
      }
      let word = text.lowercased()
      let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(word)
      let starts = text.unicodeScalars.first.map { $0.properties.isAlphabetic || $0 == "/" } ?? false
      return plain && starts && !taken ? text : value.sortedText
    case .number:
      // YAML 1.1 takes an exponent for a number only after a point.
      let text = value.sortedText
      guard let exponent = text.firstIndex(of: "e"), !text.contains(".") else { return text }
      return text[..<exponent] + ".0" + text[exponent...]
    default: return value.sortedText
    }
  }

  // MARK: CSV

  /// RFC 4180 with a header. A statement's answer gives its rows; a list gives one row an item; anything else is one row.
  /// Members that are no scalars stand as JSON.
  public static func csv(_ value: JSONValue) -> String {
    var lines: [[JSONValue]] = []
    if let columns = value["columns"]?.arrayValue, let rows = value["rows"]?.arrayValue {
      lines = [columns.map { $0["name"] ?? $0 }] + rows.map { $0.arrayValue ?? [] }
    } else {
      let rows = items(value)
      let keys = Set(rows.flatMap { $0.objectValue?.keys.map { $0 } ?? [] }).sorted()
      lines = [keys.map { .string($0) }] + rows.map { row in keys.map { row[$0] ?? .null } }
    }
    return lines.map { $0.map(field).joined(separator: ",") + "\r\n" }.joined()
  }

  private static func field(_ value: JSONValue) -> String {
    let text: String
    switch value {
    case .null: text = ""
    case .string(let own): text = own
    default: text = value.sortedText
    }
    // Byte by byte: CR LF is a single character.
    guard text.utf8.contains(where: { $0 == 0x2C || $0 == 0x22 || $0 == 0x0D || $0 == 0x0A }) else { return text }
    return "\"" + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }

  // MARK: Names

  /// The name of each item, one a line.
  public static func names(_ value: JSONValue) -> String {
    items(value).compactMap { item in
      for key in ["name", "run_id", "id", "request_id"] {
        if let found = item[key] { return (found.stringValue ?? found.sortedText) + "\n" }
      }
      return nil
    }.joined()
  }

  /// The items of a list answer, or the answer itself.
  private static func items(_ value: JSONValue) -> [JSONValue] {
    guard let members = value.objectValue else { return value.arrayValue ?? [value] }
    let lists = members.values.compactMap(\.arrayValue).filter { $0.allSatisfy { $0.objectValue != nil } }
    let isList = lists.count == 1 && members["name"] == nil && members["run_id"] == nil
    return isList ? lists[0] : [value]
  }
}
