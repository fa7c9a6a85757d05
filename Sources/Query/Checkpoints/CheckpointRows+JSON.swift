// SPDX-License-Identifier: Apache-2.0

import Foundation

extension CheckpointRows.Part {
  /// A row as the line that a commit would have, for rows of which there are few.
  func json(_ row: Int) throws -> Data {
    var out = Data("{".utf8)
    try write(node.name, to: &out)
    out.append(UInt8(ascii: ":"))
    try write(members: members, row, to: &out)
    out.append(UInt8(ascii: "}"))
    return out
  }

  private func write(members: [ParquetNode], _ row: Int, to out: inout Data) throws {
    out.append(UInt8(ascii: "{"))
    var isFirst = true
    for member in members {
      guard let leaf = member.leaves.first else { continue }
      let first = try column(leaf)
      guard first.definition(first.first(row)) >= member.definition else { continue }  // NULL is as good as absent
      if !isFirst { out.append(UInt8(ascii: ",")) }
      isFirst = false
      try write(member.name, to: &out)
      out.append(UInt8(ascii: ":"))
      try write(member, row, to: &out)
    }
    out.append(UInt8(ascii: "}"))
  }

  private func write(_ node: ParquetNode, _ row: Int, to out: inout Data) throws {
    switch node.kind {
    case .leaf(let leaf):
      let column = try column(leaf)
      try write(column, column.first(row), to: &out)
    case .structure(let members): try write(members: members, row, to: &out)
    case .list(let element):
      guard case .leaf(let leaf) = element.kind else { throw ParquetFault.unknown("a list of groups") }
      let column = try column(leaf)
      try write(entriesOf: column, node, row, "[", "]", to: &out) { entry, out in try write(column, entry, to: &out) }
    case .map(let key, let value):
      guard case .leaf(let keys) = key.kind, case .leaf(let values) = value.kind else { throw ParquetFault.unknown("a map of groups") }
      let (keyColumn, valueColumn) = (try column(keys), try column(values))
      guard keyColumn.leaf.values == .text else { throw ParquetFault.unknown("a map whose keys are no texts") }
      var seen: Set<String> = []
      try write(entriesOf: keyColumn, node, row, "{", "}", to: &out) { entry, out in
        guard !keyColumn.isNull(entry), seen.insert(try keyColumn.text(entry)).inserted else { throw ParquetFault.unknown("a map with odd keys") }
        try write(keyColumn, entry, to: &out)
        out.append(UInt8(ascii: ":"))
        try write(valueColumn, entry, to: &out)
      }
    case .other: throw ParquetFault.unknown("the type of '\(node.name.prefix(100))'")
    }
  }

  private func write(
    entriesOf column: ParquetColumn, _ node: ParquetNode, _ row: Int, _ open: Unicode.Scalar, _ close: Unicode.Scalar, to out: inout Data,
    _ body: (Int, inout Data) throws -> Void
  ) throws {
    out.append(UInt8(ascii: open))
    let entries = column.entries(row)
    for entry in entries where column.definition(entry) >= node.elementDefinition {
      if entry > entries.lowerBound { out.append(UInt8(ascii: ",")) }
      try body(entry, &out)
    }
    out.append(UInt8(ascii: close))
  }

  private func write(_ column: ParquetColumn, _ entry: Int, to out: inout Data) throws {
    guard !column.isNull(entry) else { return out.append(contentsOf: "null".utf8) }
    switch column.leaf.values {
    case .boolean: out.append(contentsOf: (column.number(entry) == 1 ? "true" : "false").utf8)
    case .int32, .int64: out.append(contentsOf: String(column.number(entry)).utf8)
    case .text: try write(column.text(entry), to: &out)
    case nil: throw ParquetFault.unknown("the type of '\(column.leaf.path.prefix(100))'")
    }
  }

  private func write(_ text: String, to out: inout Data) throws {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        out.append(UInt8(ascii: "\\"))
        out.append(byte)
      case 0..<32: out.append(contentsOf: "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
