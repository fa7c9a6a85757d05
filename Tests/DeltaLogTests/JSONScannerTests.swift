// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import DeltaLog

@Suite struct JSONScannerTests {
  @Test(arguments: [
    "null", "true", "[1,-2,3.5,1e3,-0.25E-2,9223372036854775807,-9223372036854775808,12345678901234567890]",
    #"{"a":{"b":[{},[],"x\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"]},"":null}"#, " { \"a\" : [ ] } ", "0", "\"\"",
  ]) func readsWhatTheStandardDecoderReads(_ text: String) throws {
    #expect(try JSONScanner.value(text) == JSONValue(parsing: text))
    let again = JSONText.text(of: try JSONScanner.value(text))
    #expect(try JSONValue(parsing: again) == JSONValue(parsing: text))
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "01", "-", "1.", "+1", "nul", "truee", "\"", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
    "\"\\udc00\"", "\"\u{1}\"", "[1 2]", "{} {}", "1e999", "NaN", "{1:2}", "\"\\u12", "]",
    String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 5000),
  ]) func refusesWhatIsNoJSON(_ text: String) {
    #expect(errorCode { _ = try JSONScanner.value(text) } == .invalidFile)
  }

  @Test func badBytesAreRefused() {
    for bytes in [[0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x00]] as [[UInt8]] {
      #expect(errorCode { _ = try JSONScanner.scan(Data(bytes)) { try $0.value() } } == .invalidFile)
    }
  }

  @Test func mutatedLinesNeverTrap() throws {
    let line = Data(
      #"""
      {"add":{"path":"a%20b/c.parquet","partitionValues":{"p":null,"q":"x"},"size":1,"modificationTime":2,"dataChange":true,"stats":"{\"numRecords\":3}","tags":{"a":"b"},"deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6},"baseRowId":4}}
      """#.utf8)
    var random = SplitMix64(seed: 7)
    for _ in 0..<5000 {
      var copy = line
      for _ in 0...Int.random(in: 0..<4, using: &random) {
        let index = Int.random(in: 0..<copy.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: copy[index] = UInt8.random(in: .min ... .max, using: &random)
        case 1: copy.remove(at: index)
        default: copy = copy.prefix(max(1, index))
        }
        copy = Data(copy)
        if copy.isEmpty { break }
      }
      if let code = errorCode({ _ = try Action.parse(copy, name: "x") }) { #expect(code == .invalidFile) }
    }
  }

  @Test func everyActionSurvivesTheLog() throws {
    var add = LogFixture.file("a b/é%.parquet", vector: "00000")
    add.path = DeltaPath.encode("p=1/é %.parquet")
    add.partitionValues = ["p": "1", "q": nil]
    add.tags = ["k": "v"]
    add.baseRowId = 7
    add.defaultRowCommitVersion = 3
    add.clusteringProvider = "x"
    var info = CommitInfo()
    info.timestamp = 5
    info.inCommitTimestamp = 6
    info.operation = "MERGE"
    info.operationMetrics = ["a": "1"]
    info.isBlindAppend = false
    info.tags = ["delta.rowTracking.preserved": "true"]
    info.other = ["clusterId": "c"]
    var change = ChangeFile(path: "_change_data/x.parquet", partitionValues: ["p": nil], size: 4)
    change.tags = [:]
    let actions: [Action] = [
      .commitInfo(info), .protocol(TableProtocol.supporting([.deletionVectors, .rowTracking])),
      .metadata(TableMetadata(id: "i", name: "n\n\"", schema: LogFixture().schema, partitionColumns: ["p"], configuration: ["a": "b"])),
      .add(add), .remove(RemoveFile(add, deletionTimestamp: 9)), .change(change), .transaction(AppTransaction(appId: "a", version: -1)),
      .domain(DomainMetadata(domain: "d", configuration: "{}", removed: true)), .checkpoint(CheckpointMetadata(version: 4, tags: [:])),
      .sidecar(Sidecar(path: "x.parquet", sizeInBytes: 3, modificationTime: 2)),
    ]
    #expect(try Action.parse(Action.encode(actions), name: "x") == actions)
  }

  @Test(arguments: [
    (#"{"add":{"path":"x","partitionValues":{},"size":-1,"modificationTime":1,"dataChange":true}}"#, "negative size"),
    (#"{"add":{"path":"../x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#, "leaves the table"),
    (#"{"add":{"path":"a/%2E%2E/%2e%2e/x","size":1}}"#, "leaves the table"),
    (#"{"add":{"path":"file:///a/../../etc/passwd","size":1}}"#, "not plain"),
    (#"{"add":{"size":1}}"#, "missing 'path'"), (#"{"add":{"path":"x"}}"#, "missing 'size'"),
    (#"{"add":{"path":"x","size":1.5}}"#, "whole number"), (#"{"add":{"path":"x","size":99999999999999999999}}"#, "whole number"),
    (#"{"add":{"path":"x","size":1,"deletionVector":{"storageType":"x","pathOrInlineDv":"","sizeInBytes":1,"cardinality":1}}}"#, "storage 'x'"),
    (#"{"add":{"path":"x","size":1,"deletionVector":{"storageType":"u","pathOrInlineDv":"","sizeInBytes":99999999999,"cardinality":1}}}"#, "too large"),
    (#"{"add":{"path":"x","size":1},"remove":{"path":"x"}}"#, "two actions"), (#"{"protocol":{}}"#, "minReaderVersion"),
    (#"{"txn":{"appId":"a"}}"#, "version"), ("[1]", "expected '{'"),
  ]) func hostileActionsAreErrorsThatNameTheByte(_ line: String, _ expected: String) {
    let text = errorText { _ = try Action.parse(Data(line.utf8), name: "log") }
    #expect(text?.contains(expected) == true && text?.contains("at byte") == true, "\(text ?? "no error")")
  }

  @Test func unknownActionsAndMembersAreSkipped() throws {
    let text = #"{"future":{"a":[1,{"b":2}]}}"# + "\n\n" + #"{"txn":{"appId":"a","version":1,"new":[[]]}}"# + "\r\n{}\n"
    #expect(try Action.parse(Data(text.utf8), name: "x") == [.transaction(AppTransaction(appId: "a", version: 1, lastUpdated: nil))])
  }

  @Test(arguments: [
    ("p=1/x.parquet", FileLocation.relative("p=1/x.parquet")), ("a%20b", .relative("a b")), (".hidden", .relative(".hidden")),
    ("t=12:30/x", .relative("t=12:30/x")), ("s3://b/k%20x", .absolute("s3://b/k%20x")), ("file:/tmp/x", .absolute("file:/tmp/x")),
    ("/tmp/x", .absolute("/tmp/x")),
  ]) func pathsAreLocated(_ path: String, _ expected: FileLocation) throws { #expect(try DeltaPath.location(path) == expected) }
}
