// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Testing

@testable import API

@Suite struct UnityCatalogTests {
  @Test(arguments: [
    ("bigint", "bigint", "LONG"), ("integer", "int", "INT"), ("varchar", "string", "STRING"), ("blob", "binary", "BINARY"),
    ("timestamp with time zone", "timestamp", "TIMESTAMP"), ("timestamp", "timestamp_ntz", "TIMESTAMP_NTZ"),
    ("decimal(10,2)", "decimal(10,2)", "DECIMAL"), ("float[]", "array<float>", "ARRAY"), ("float[384]", "array<float>", "ARRAY"),
    ("timestamp[][]", "array<array<timestamp_ntz>>", "ARRAY"), ("map(varchar, bigint)", "map<string,bigint>", "MAP"),
    (#"struct("a" bigint, "b ""x""" varchar[])"#, #"struct<a:bigint,b "x":array<string>>"#, "STRUCT"),
    ("struct(a struct(b date), c double)", "struct<a:struct<b:date>,c:double>", "STRUCT"),
  ])
  func typesOfTheCatalogHaveTheirNames(sql: String, text: String, name: String) {
    let column = ColumnInfo(name: "c", type: CatalogTypeText.delta(sql: sql), position: 3)
    #expect(column.typeText == text)
    #expect(column.typeName == name)
    #expect(column.position == 3)
  }

  @Test(arguments: ["uuid", "struct(", "map(bigint)", "struct(a bigint", "decimal(1)", "bigint]", "", String(repeating: "struct(a ", count: 500)])
  func whatIsNoTypeStaysAsText(sql: String) {
    #expect(CatalogTypeText.delta(sql: sql) == .string(sql))
    #expect(CatalogTypeText.name(.string(sql)).name == "USER_DEFINED_TYPE")
  }

  @Test func aColumnCarriesItsFieldAsText() throws {
    let column = ColumnInfo(
      name: "price", type: "decimal(12,3)", position: 0, nullable: false, partitionIndex: 1, metadata: ["comment": "in EUR"])
    #expect(column.typePrecision == 12 && column.typeScale == 3 && column.comment == "in EUR" && column.partitionIndex == 1)
    #expect(
      try JSONValue(parsing: column.typeJSON) == [
        "name": "price", "type": "decimal(12,3)", "nullable": false, "metadata": ["comment": "in EUR"],
      ])
    let shape = try JSONValue(encoding: column)
    #expect(shape["type_name"] == "DECIMAL" && shape["type_text"] == "decimal(12,3)" && shape["type_json"] != nil && shape["nullable"] == false)
  }

  @Test func listsNameTheirMember() throws {
    let one = CatalogInfo(id: "i", name: "main", comment: "", owner: "o", properties: ["a": "b"], createdAt: 5, updatedAt: 6)
    let page = CatalogList("catalogs", [one], nextPageToken: "next")
    let shape = try JSONValue(encoding: page)
    #expect(shape["catalogs"]?.arrayValue?.first?["full_name"] == "main")
    #expect(shape["catalogs"]?.arrayValue?.first?["created_at"] == 5)
    #expect(shape["next_page_token"] == "next")
    let last = try JSONValue(encoding: CatalogList<CatalogInfo>("catalogs", [], nextPageToken: nil))
    #expect(last == ["catalogs": []])
    let back: CatalogList<CatalogInfo> = try shape.decode()
    #expect(back.entries == [one] && back.nextPageToken == "next" && back.key == "catalogs")
    let empty: CatalogList<CatalogInfo> = try ([:] as JSONValue).decode()
    #expect(empty.entries.isEmpty && empty.nextPageToken == nil)
  }

  @Test func pagesHaveASizeThatTheServerBounds() throws {
    #expect(try PageRequest().limit == PageRequest.standard)
    #expect(try PageRequest(maxResults: 0, token: "").limit == PageRequest.standard)
    #expect(try PageRequest(maxResults: 0, token: "").token == nil)
    #expect(try PageRequest(maxResults: 7, token: "t") == PageRequest(maxResults: 7, token: "t"))
    #expect(try PageRequest(maxResults: 1_000_000).limit == PageRequest.most)
    #expect(throws: PlatformError.self) { try PageRequest(maxResults: -1) }
  }

  @Test func rangesMeanWhatHTTPSays() {
    #expect(VolumeFile.range(nil, size: 10) == .whole)
    #expect(VolumeFile.range("bytes=0-0", size: 10) == .part(0..<1))
    #expect(VolumeFile.range("bytes=3-", size: 10) == .part(3..<10))
    #expect(VolumeFile.range("bytes=-4", size: 10) == .part(6..<10))
    #expect(VolumeFile.range("bytes=-40", size: 10) == .part(0..<10))
    #expect(VolumeFile.range("bytes=9-9223372036854775807", size: 10) == .part(9..<10))
    #expect(VolumeFile.range("bytes=10-", size: 10) == .outside)
    #expect(VolumeFile.range("bytes=-0", size: 10) == .outside)
    for odd in ["bytes=4-3", "bytes=a-b", "lines=1-2", "bytes=1-2,4-5", "bytes=", "bytes=--1"] { #expect(VolumeFile.range(odd, size: 10) == .whole) }
    #expect(VolumeFile.httpDate(Date(timeIntervalSince1970: 784_111_777)) == "Sun, 06 Nov 1994 08:49:37 GMT")
  }

  @Test func requestsAreReadAsClientsWriteThem() throws {
    let request: CatalogCreateRequest = try JSONValue(
      parsing: #"{"name":"v","catalog_name":"main","schema_name":"s","volume_type":"EXTERNAL","storage_location":"file:///x","unknown":1}"#
    ).decode()
    #expect(request.catalogName == "main" && request.schemaName == "s" && request.volumeType == "EXTERNAL" && request.storageLocation == "file:///x")
    let change: CatalogChangeRequest = try JSONValue(parsing: #"{"new_name":"w"}"#).decode()
    #expect(change.newName == "w" && change.comment == nil)
  }
}
