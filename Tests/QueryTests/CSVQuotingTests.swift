// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import Query

@Suite struct CSVQuotingTests {
  private func isRegular(_ text: String, delimiter: String = ",", quote: String = "\"", escape: String = "\"") -> Bool {
    Array(text.utf8).withUnsafeBytes { CSVQuoting(delimiter: delimiter, quote: quote, escape: escape).isRegular($0) }
  }

  @Test(arguments: ["", "a,b\n1,2", "a,b\n\"1\",\"2\"\n", "a\n\"x, \"\"y\"\"\"\r\n", "\"\",\"\"", "\"two\nlines\",2\n", "a,\"\"\"\"\n"])
  func plainFilesAreRegular(_ text: String) { #expect(isRegular(text)) }

  @Test(arguments: ["1,\"open\n2,x\n", "1,\"", "1,a\"b\n", "1,\"a\"b\n", "1,\"a\" ,2\n", "\"a\"\"", "1,\"\"\"\n"])
  func otherFilesAreNot(_ text: String) { #expect(!isRegular(text)) }

  @Test func otherMarksAreKnown() {
    #expect(isRegular("a;'x; y';'it\\'s'\n", delimiter: ";", quote: "'", escape: "\\"))
    #expect(!isRegular("a;'x\\'\n", delimiter: ";", quote: "'", escape: "\\"))
    #expect(isRegular("a\"b,c\n", quote: "", escape: ""))
    // What is not understood is not called regular.
    #expect(!isRegular("a||b\n", delimiter: "||"))
  }

  /// The last record of a file is in the quarantine also when others are read with it.
  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func anOpenQuoteLosesNothingAmongOtherFiles() throws {
    let folder = TemporaryDirectory("open-quote")
    var files: [FileRead.File] = []
    for (index, text) in ["id,name\n1,a\n", "id,name\n2,b\n3,\"never closed\n4,d\n", "id,name\n5,e\n"].enumerated() {
      try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("f\(index).csv")))
      files.append(.init(path: folder.file("f\(index).csv"), name: "f\(index).csv", sizeBytes: Int64(text.utf8.count), modifiedMilliseconds: 0))
    }
    let loaded = try IngestFuzzTests.load(files, .csv, ["schema": "id BIGINT, name VARCHAR"], folder.path)
    #expect(loaded.rows == 3 && loaded.bad == 1, "\(loaded)")
    #expect(loaded.text.contains("never closed") && loaded.text.contains("4,d"), "\(loaded.text)")
  }
}
