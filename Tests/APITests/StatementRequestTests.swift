// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Testing

@testable import API

@Suite struct StatementRequestTests {
  private func parse(_ text: String) throws -> (StatementSubmission, StatementSubmission.Wait) {
    try StatementSubmission.checked(JSONDecoder.platform.decode(StatementRequest.self, from: Data(text.utf8)))
  }

  @Test func defaultsAreThoseOfDatabricks() throws {
    let (submission, wait) = try parse(#"{"statement":"select 1","warehouse_id":"any"}"#)
    #expect(submission.isInline && submission.format == "JSON_ARRAY" && submission.catalog == "main" && submission.rowLimit == nil)
    #expect(wait == .init(seconds: 10, cancelsAfter: false))
  }

  @Test(arguments: [
    (#""wait_timeout":"4s""#, "wait_timeout"), (#""wait_timeout":"10""#, "wait_timeout"), (#""wait_timeout":"-5s""#, "wait_timeout"),
    (#""on_wait_timeout":"continue""#, "on_wait_timeout"), (#""wait_timeout":"0s","on_wait_timeout":"CANCEL""#, "on_wait_timeout"),
    (#""disposition":"inline""#, "disposition"), (#""format":"CSV""#, "format"), (#""byte_limit":0"#, "byte_limit"), (#""row_limit":-1"#, "row_limit"),
    (#""parameters":[{"name":"a","value":"1"},{"name":"a"}]"#, "parameters"), (#""engine":"spark""#, "engine"), (#""catalog":"""#, "catalog"),
  ]) func aFieldThatCannotBeUsedIsNamed(fields: String, name: String) {
    #expect { try parse("{\"statement\":\"select 1\",\(fields)}") } throws: { error in
      (error as? PlatformErrors)?.errors.contains { $0.path == name && $0.message.contains(name) && $0.number == "PLT-3234" } == true
    }
  }

  @Test func everyProblemIsToldAtOnce() {
    #expect { try parse(#"{"statement":"","format":"X","disposition":"Y"}"#) } throws: { ($0 as? PlatformErrors)?.errors.count == 3 }
  }

  @Test func bodiesAreValidJSON() throws {
    var view = StatementView(id: "a\"b", state: .succeeded)
    view.columns = [.init(name: "n\u{1}\"", sql: "struct(a decimal(5,2), b timestamp with time zone)"), .init(name: "t", sql: "timestamp")]
    view.chunks = [.init(rows: 2, bytes: 10), .init(rows: 1, bytes: 5)]
    view.rowCount = 3
    view.firstRows = Data(#"[["1",null],["2","x"]]"#.utf8)
    let body = try JSONValue(parsing: StatementBody.encode(view) { ("http://h/\($0)", 0) })
    #expect(body["statement_id"] == "a\"b" && body["result"]?["data_array"]?.arrayValue?.count == 2)
    #expect(body["result"]?["next_chunk_index"] == 1)
    let columns = body["manifest"]?["schema"]?["columns"]?.arrayValue ?? []
    #expect(columns.first?["type_text"] == "STRUCT<a:DECIMAL(5,2),b:TIMESTAMP>" && columns.first?["name"] == "n\u{1}\"")
    #expect(columns.last?["type_name"] == "TIMESTAMP" && columns.last?["type_text"] == "TIMESTAMP_NTZ")
    view.isInline = false
    let links = try JSONValue(parsing: StatementBody.chunk(view, 1, rows: Data()) { ("http://h/\($0)", 0) })
    let link = links["external_links"]?.arrayValue?.first
    #expect(link?["external_link"] == "http://h/1" && link?["row_offset"] == 2 && link?["expiration"] == "1970-01-01T00:00:00Z")
    view.state = .failed
    view.error = PlatformError(.notFound, "no such \"table\"", hint: "Look.", number: "PLT-3002")
    let failed = try JSONValue(parsing: StatementBody.encode(view) { ("\($0)", 0) })
    #expect(failed["status"]?["error"]?["error_code"] == "NOT_FOUND" && failed["status"]?["error"]?["platform_error"]?["number"] == "PLT-3002")
    #expect(failed["manifest"] == nil)
  }

  @Test func linksEndAndCannotBeForged() throws {
    let links = SignedLinks()
    let now = Date(timeIntervalSince1970: 1_000_000)
    let (expires, signature) = links.sign("id/0", now: now)
    try links.check("id/0", expires: "\(expires)", signature: signature, now: now)
    for (path, end, sign, time) in [
      ("id/1", "\(expires)", signature, now), ("id/0", "\(expires + 1)", signature, now), ("id/0", "\(expires)", String(signature.dropLast()) + "0", now),
      ("id/0", "\(expires)", "", now), ("id/0", "x", signature, now), ("id/0", "\(expires)", signature, now.addingTimeInterval(901)),
    ] where !(sign == signature && path == "id/0" && end == "\(expires)" && time == now) {
      #expect(throws: PlatformError.self) { try links.check(path, expires: end, signature: sign, now: time) }
    }
    #expect(throws: PlatformError.self) { try SignedLinks().check("id/0", expires: "\(expires)", signature: signature, now: now) }
  }
}
