// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// Statements as Databricks' statement execution API shows them. Written by hand: rows come as finished JSON and go out as they are.
enum StatementBody {
  /// A column's type: Databricks' name and text of it.
  static func type(_ sql: String) -> (name: String, text: String) {
    // Types that Delta does not have reach clients as text.
    let delta = CatalogTypeText.delta(sql: sql)
    switch sql {
    case "hugeint": return ("DECIMAL", "DECIMAL(38,0)")
    case "\"null\"": return ("NULL", "VOID")
    default: break
    }
    let (name, precision, scale) = CatalogTypeText.name(delta)
    switch name {
    case "DECIMAL": return (name, "DECIMAL(\(precision),\(scale))")
    case "TIMESTAMP_NTZ": return ("TIMESTAMP", "TIMESTAMP_NTZ")
    case "USER_DEFINED_TYPE", "VARIANT": return ("STRING", "STRING")
    default: return (name, large(CatalogTypeText.text(delta)))
    }
  }

  /// Type words in capitals; names of members, which a colon follows, as they are.
  private static func large(_ text: String) -> String {
    var out = ""
    var word = ""
    for character in text {
      guard "<>(),: ".contains(character) else {
        word.append(character)
        continue
      }
      out += character == ":" ? word : word.uppercased()
      out.append(character)
      word = ""
    }
    return out + word.uppercased()
  }

  /// Databricks' words for what went wrong with a statement.
  static func errorCode(_ code: PlatformError.Code) -> String {
    switch code {
    case .invalidArgument, .invalidFile, .permissionDenied: "BAD_REQUEST"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .conflict: "ABORTED"
    case .unauthenticated: "UNAUTHENTICATED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .unavailable, .badConfiguration: "TEMPORARILY_UNAVAILABLE"
    case .timeout: "DEADLINE_EXCEEDED"
    case .cancelled: "CANCELLED"
    case .internalError: "INTERNAL_ERROR"
    case .failed: "BAD_REQUEST"
    }
  }

  /// Link to one chunk of a result, with its end.
  typealias Link = (_ index: Int) -> (url: String, expires: Int64)

  static func encode(_ view: StatementView, link: Link) -> Data {
    var out = Data(capacity: 512 + view.firstRows.count)
    func add(_ text: String) { out.append(contentsOf: text.utf8) }
    add("{\"statement_id\":")
    out.append(quoted(view.id))
    add(",\"status\":{\"state\":\"\(view.state.rawValue)\"")
    if let percent = view.percent { add(",\"percent\":\(percent)") }
    if let error = view.error, view.state == .failed {
      add(",\"error\":{\"error_code\":\"\(errorCode(error.code))\",\"message\":")
      out.append(quoted(error.hint.isEmpty ? error.message : "\(error.message). \(error.hint)"))
      add(",\"platform_error\":")
      let own = StatementStatus.PlatformFailure(
        code: error.code.rawValue, number: error.number, hint: error.hint, path: error.path, line: error.line)
      out.append((try? JSONEncoder.platform.encode(own)) ?? Data("null".utf8))  // texts and numbers are always encodable
      add("}")
    }
    add("}")
    if view.state == .succeeded {
      add(",\"manifest\":")
      addManifest(view, to: &out)
      add(",\"result\":")
      out.append(chunk(view, 0, rows: view.firstRows, link: link))
      if let rows = view.affectedRows { add(",\"affected_rows\":\(rows)") }
      if let version = view.version { add(",\"version\":\(version)") }
      for (name, value) in [("catalog", view.catalog), ("schema", view.schema)] where value != nil {
        add(",\"\(name)\":")
        out.append(quoted(value ?? ""))
      }
      if let steps = view.statements, let text = try? JSONEncoder.platform.encode(steps) {  // texts and numbers are always encodable
        add(",\"statements\":")
        out.append(text)
      }
    }
    add("}")
    return out
  }

  private static func addManifest(_ view: StatementView, to out: inout Data) {
    func add(_ text: String) { out.append(contentsOf: text.utf8) }
    add("{\"format\":\"\(view.format)\",\"schema\":{\"column_count\":\(view.columns.count),\"columns\":[")
    for (index, column) in view.columns.enumerated() {
      let (name, text) = type(column.sql)
      add("\(index > 0 ? "," : ""){\"name\":")
      out.append(quoted(column.name))
      add(",\"position\":\(index),\"type_name\":\"\(name)\",\"type_text\":")
      out.append(quoted(text))
      add(",\"type_sql\":")
      out.append(quoted(column.sql))
      add("}")
    }
    add("]},\"total_chunk_count\":\(view.chunks.count),\"chunks\":[")
    var offset: Int64 = 0
    for (index, chunk) in view.chunks.enumerated() {
      add("\(index > 0 ? "," : ""){\"chunk_index\":\(index),\"row_offset\":\(offset),\"row_count\":\(chunk.rows),\"byte_count\":\(chunk.bytes)}")
      offset += chunk.rows
    }
    let bytes = view.chunks.reduce(0) { $0 + $1.bytes }
    add("],\"total_row_count\":\(view.rowCount),\"total_byte_count\":\(bytes),\"truncated\":\(view.isTruncated)}")
  }

  /// One part of a result: with its rows, or with a link to them.
  static func chunk(_ view: StatementView, _ index: Int, rows: Data, link: Link) -> Data {
    guard view.chunks.indices.contains(index) else { return Data("{}".utf8) }
    let offset = view.chunks[..<index].reduce(0) { $0 + $1.rows }
    var head = "\"chunk_index\":\(index),\"row_offset\":\(offset),\"row_count\":\(view.chunks[index].rows)"
    if !view.isInline { head += ",\"byte_count\":\(view.chunks[index].bytes)" }
    if index + 1 < view.chunks.count {
      let next = String(decoding: quoted("/api/2.0/sql/statements/\(view.id)/result/chunks/\(index + 1)"), as: UTF8.self)
      head += ",\"next_chunk_index\":\(index + 1),\"next_chunk_internal_link\":\(next)"
    }
    var out = Data(capacity: head.utf8.count + rows.count + 32)
    func add(_ text: String) { out.append(contentsOf: text.utf8) }
    guard view.isInline else {
      let (url, expires) = link(index)
      add("{\"external_links\":[{\(head),\"external_link\":")
      out.append(quoted(url))
      add(",\"expiration\":\"\(Date(timeIntervalSince1970: Double(expires)).formatted(.iso8601))\"}]}")
      return out
    }
    add("{\(head),\"data_array\":")
    out.append(rows)
    add("}")
    return out
  }

  /// A JSON string (RFC 8259).
  static func quoted(_ text: String) -> Data {
    var out = Data([UInt8(ascii: "\"")])
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case ..<0x20: out.append(contentsOf: ((byte < 16 ? "\\u000" : "\\u00") + String(byte, radix: 16)).utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
    return out
  }
}
