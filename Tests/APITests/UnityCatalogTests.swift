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
    let one = CatalogInfo(
      ObjectFacts(name: "main", comment: "", owner: "o", properties: ["a": "b"], createdAt: 5, createdBy: "p", updatedAt: 6, updatedBy: "q"),
      CatalogFacts(id: "i"))
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
    let request: CreateVolumeRequest = try JSONValue(
      parsing: #"{"name":"v","catalog_name":"main","schema_name":"s","volume_type":"external","storage_location":"file:///x","unknown":1}"#
    ).decode()
    #expect(request.catalogName == "main" && request.schemaName == "s" && request.volumeType == .external && request.storageLocation == "file:///x")
    let change: CatalogChangeRequest = try JSONValue(parsing: #"{"new_name":"w"}"#).decode()
    #expect(change.newName == "w" && change.comment == nil)
  }

  @Test(arguments: [
    (#"{"name":"t","catalog_name":"c","table_type":"EXTERNAL"}"#, "schema_name: is missing"),
    (#"{"name":7,"catalog_name":"c","schema_name":"s","table_type":"EXTERNAL"}"#, "name: must be a string"),
    (#"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTRA"}"#, "table_type: 'EXTRA' is none of MANAGED, EXTERNAL,"),
    (
      #"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTERNAL","columns":[{"name":"a"},{"name":"b","type_name":"INTT"}]}"#,
      "columns[1].type_name: 'INTT' is none of BOOLEAN,"
    ),
    (#"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTERNAL","columns":{}}"#, "columns: must be an array"),
    (
      #"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTERNAL","columns":[{"name":"a","nullable":"yes"}]}"#,
      "columns[0].nullable: must be true or false"
    ),
    (
      #"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTERNAL","columns":[{"name":"a","position":"x"}]}"#,
      "columns[0].position: must be a whole number"
    ),
    (#"{"name":"t","catalog_name":"c","schema_name":"s","table_type":null}"#, "table_type: must be"),
    (#"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"EXTERNAL","properties":{"a":1}}"#, "properties.a: must be a string"),
    ("{", "the request body cannot be read: "), ("[]", "the request body cannot be read: must be an object"),
  ])
  func whatIsWrongInABodyIsNamedByItsPlace(body: String, message: String) throws {
    let error = #expect(throws: (any Error).self) { try JSONDecoder.platform.decode(CreateTableRequest.self, from: Data(body.utf8)) }
    let shown = PlatformError.malformedBody(try #require(error))
    #expect(shown.code == .invalidArgument && shown.number == "PLT-1405" && shown.message.hasPrefix(message), "\(shown.message)")
  }

  @Test(arguments: [
    ("bigint", #""long""#), ("INT", #""integer""#), ("timestamp", #""timestamp""#), ("decimal(10, 2)", #""decimal(10,2)""#),
    ("varchar(20)", #""string""#), ("array<int>", #"{"containsNull":true,"elementType":"integer","type":"array"}"#),
    ("map<string,double>", #"{"keyType":"string","type":"map","valueContainsNull":true,"valueType":"double"}"#),
    (
      "struct<a:bigint,`b c`:array<date>>",
      #"{"fields":[{"metadata":{},"name":"a","nullable":true,"type":"long"},{"metadata":{},"name":"b c","nullable":true,"type":{"containsNull":true,"elementType":"date","type":"array"}}],"type":"struct"}"#
    ),
  ])
  func typesOfClientsAreRead(text: String, json: String) throws { #expect(try CatalogTypeText.delta(text: text).sortedText == json) }

  @Test(arguments: [
    "", "uuid", "array<", "array<int", "map<int>", "decimal(0)", "decimal(39)", "decimal(5,6)", "struct<a bigint", "int int", "int(3)",
    String(repeating: "array<", count: 200),
  ])
  func otherTypesOfClientsAreRefused(text: String) {
    #expect(throws: PlatformError.self) { try CatalogTypeText.delta(text: text) }
  }

  @Test func aTypeDescribesItselfByWhatItDecodes() throws {
    let builder = SchemaBuilder()
    #expect(builder.schema(of: CreateTableRequest.self) == ["$ref": "#/components/schemas/CreateTableRequest"])
    let table = try #require(builder.components["CreateTableRequest"])
    #expect(table["required"] == ["catalog_name", "name", "schema_name", "table_type"])
    #expect(table["properties"]?["table_type"]?["enum"]?.arrayValue?.first == "MANAGED")
    #expect(table["properties"]?["columns"] == ["type": "array", "items": ["$ref": "#/components/schemas/ColumnRequest"]])
    #expect(table["properties"]?["properties"] == ["type": "object", "additionalProperties": ["type": "string"]])
    #expect(builder.components["ColumnRequest"]?["properties"]?["nullable"] == ["type": "boolean"])
    #expect(builder.schema(of: TableInfo.self) == ["$ref": "#/components/schemas/TableInfo"])
    let info = try #require(builder.components["TableInfo"])
    #expect(info["properties"]?["full_name"] == ["type": "string"] && info["properties"]?["table_id"] == ["type": "string"], "both halves are there")
    #expect(info["required"]?.arrayValue?.contains("owner") == true && info["required"]?.arrayValue?.contains("columns") == false)
    #expect(builder.components["TableConstraintForeignKey"] != nil && builder.components["ColumnInfo"] != nil)
  }

  @Test func theDocumentHasEveryOperationOnce() throws {
    let description = APIDescription()
    description.add(
      APIOperation(
        method: "GET", path: "/api/2.1/unity-catalog/models/{name}/versions/{version}", tag: "Models", summary: "One", query: [.flag("x")], body: nil,
        answer: .object(ModelVersionInfo.self)))
    description.add(
      APIOperation(
        method: "POST", path: "/api/2.1/unity-catalog/catalogs", tag: "Catalogs", summary: "Make", query: [], body: CreateCatalogRequest.self,
        answer: .object(CatalogInfo.self)))
    description.add(
      APIOperation(
        method: "GET", path: "/api/2.1/unity-catalog/catalogs", tag: "Catalogs", summary: "All", query: QueryField.page, body: nil,
        answer: .list("catalogs", CatalogInfo.self)))
    let document = description.document(version: "1")
    #expect(document["openapi"] == "3.1.0")
    let version = document["paths"]?["/api/2.1/unity-catalog/models/{name}/versions/{version}"]?["get"]
    #expect(version?["parameters"]?.arrayValue?.map { $0["name"] ?? .null } == ["name", "version", "x"])
    #expect(version?["operationId"] == "getModelsByNameVersionsByVersion")
    let catalogs = document["paths"]?["/api/2.1/unity-catalog/catalogs"]
    #expect(catalogs?["post"]?["requestBody"]?["content"]?["application/json"]?["schema"] == ["$ref": "#/components/schemas/CreateCatalogRequest"])
    let list = catalogs?["get"]?["responses"]?["200"]?["content"]?["application/json"]?["schema"]
    #expect(list?["properties"]?["catalogs"]?["items"] == ["$ref": "#/components/schemas/CatalogInfo"])
    // Every reference leads somewhere.
    let components = try #require(document["components"]?["schemas"]?.objectValue)
    for match in document.sortedText.matches(of: /#\/components\/schemas\/([A-Za-z0-9]+)/) { #expect(components[String(match.1)] != nil, "\(match.1)") }
  }

  @Test func failuresAreNamedInWords() {
    func reason(_ code: PlatformError.Code, _ message: String, _ number: String) -> String? {
      StatusMapping.details(PlatformError(code, message, number: number))?.first?.reason
    }
    #expect(reason(.alreadyExists, "table 'a.b.c' exists already", "PLT-3003") == "TABLE_ALREADY_EXISTS")
    #expect(reason(.notFound, "external location 'x' does not exist", "PLT-3002") == "EXTERNAL_LOCATION_DOES_NOT_EXIST")
    #expect(reason(.invalidArgument, "nonsense", "PLT-3001") == nil)
  }

  @Test func conditionsOfDownloadsCompareTags() {
    #expect(VolumeFile.matches(#""a", W/"b""#, #""b""#) && VolumeFile.matches("*", #""b""#) && !VolumeFile.matches(#""c""#, #""b""#))
    let moment = Date(timeIntervalSince1970: 784_111_777)
    #expect(VolumeFile.parse(httpDate: VolumeFile.httpDate(moment)) == moment)
    for odd in ["", "yesterday", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"] { #expect(VolumeFile.parse(httpDate: odd) == nil) }
  }
}
