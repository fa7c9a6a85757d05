// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Query
import TestSupport
import Testing

@Suite struct WrittenFileTests {
  @Test(arguments: ["/lake/t", "/daten/größe", "s3://bucket/t", "/lake/e\u{301}t\u{E9}"]) func filesAreNamedFromTheirTable(_ folder: String) throws {
    for name in ["a.parquet", "p=%C3%BC/\u{301}b.parquet", "ü.parquet"] {
      let file = WrittenFile(path: folder + "/" + name, sizeBytes: 7, rows: 1, statistics: [:], partitionValues: ["p": "ü"])
      let added = try file.added(to: folder)
      #expect(try added.relativePath() == name && added.size == 7 && added.partitionValues == ["p": "ü"])
    }
    for path in [folder, folder + "2/a.parquet", "/elsewhere/a.parquet"] {
      #expect(throws: PlatformError.self) { try WrittenFile(path: path, sizeBytes: 0, rows: 0, statistics: [:]).added(to: folder) }
    }
  }
}
