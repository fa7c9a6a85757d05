// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import TestSupport
import Testing

@Suite struct StructuredTextTests {
  static let list: JSONValue = [
    "nodes": [
      ["name": "w0", "slots": 2, "running": ["a", "b"], "note": "says \"hi\", twice"], ["name": "w1", "slots": 1, "running": [], "note": nil],
    ], "next": nil,
  ]

  @Test func namesAreOneALine() {
    #expect(StructuredText.names(Self.list) == "w0\nw1\n")
    #expect(StructuredText.names(["run_id": "17", "tasks": [["name": "a"]]]) == "17\n")
  }

  @Test func listsAndStatementsAreCSV() {
    #expect(
      StructuredText.csv(Self.list)
        == "name,note,running,slots\r\nw0,\"says \"\"hi\"\", twice\",\"[\"\"a\"\",\"\"b\"\"]\",2\r\nw1,,[],1\r\n")
    let answer: JSONValue = ["columns": [["name": "i"], ["name": "t"]], "rows": [[1, "a\nb"], [nil, "c"]], "truncated": false]
    #expect(StructuredText.csv(answer) == "i,t\r\n1,\"a\nb\"\r\n,c\r\n")
  }

  @Test func plainYAMLIsReadable() {
    #expect(
      StructuredText.yaml(["a": ["b": [1, ["c": "x", "d": [true]]], "e": [:]], "f": "true"])
        == "a:\n  b:\n    - 1\n    - c: x\n      d:\n        - true\n  e: {}\nf: \"true\"\n")
  }

  /// Whatever is written, a YAML reader of another make reads the same value.
  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func anotherReaderReadsTheSame() throws {
    let hard: JSONValue = [
      "texts": [
        "", " ", "no", "0x10", "1e3", "- a", "a: b", "#", "tab\there", "multi\nline", "ünïcode \u{1F600}", "'", "\"", "null", "~", "2026-11-21", "=",
        "<<", "key", "/a/b.c", "@x", "-",
      ], "numbers": [0, -1, 1.5, 1e300], "nested": [[["deep": [[:], []]]], []], "x: y": "z", "": [nil],
    ]
    let script = "import sys, json, yaml; print(json.dumps(yaml.safe_load(sys.argv[1]), sort_keys=True))"
    let read = try JSONValue(parsing: Peers.run(script, [StructuredText.yaml(hard)]))
    #expect(read == hard)
  }
}
