// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Query
import Scheduling
import Testing

@testable import Coordinator

/// What the scheduler is told of shards.
@Suite struct RepeatableWorkTests {
  private func unit(_ kind: String, _ files: [[String]]) throws -> UnitSpec {
    let tables = files.enumerated().map { StatementSpec.Table(view: "t\($0)", files: $1, columns: []) }
    let declared = RepeatableWork.declare(
      .shards([UnitSpec(index: 0, kind: kind, payload: try JSONValue(encoding: StatementSpec(kind: .select, sql: "SELECT 1", tables: tables)))]))
    guard case .shards(let units) = declared, units.count == 1 else { throw PlatformError(.internalError, "no shard") }
    return units[0]
  }

  @Test func programsOfPeopleAreNotRepeatable() throws {
    #expect(try unit("sql", []).repeatable && unit("embed", []).repeatable && unit("sql.exchange", []).repeatable)
    #expect(try !unit("command", []).repeatable && !unit("environment", []).repeatable && !unit("train.rank", []).repeatable)
  }

  @Test func whatReadsTheSameFilesOfABucketBelongsTogether() throws {
    #expect(try unit("sql", []).affinity == nil)
    #expect(try unit("sql", [["/lake/a.parquet"]]).affinity == nil)
    let one = try unit("sql", [["s3://b/x/1.parquet", "s3://b/x/2.parquet"], ["/lake/a.parquet"]]).affinity
    #expect(try one != nil && one == unit("sql", [["s3://b/x/1.parquet"]]).affinity)
    #expect(try one != unit("sql", [["s3://b/x/2.parquet"]]).affinity)
    #expect(try one != unit("sql", [["s3://b/x/1.parquet"], ["s3://b/y/1.parquet"]]).affinity)
    #expect(try unit("wait", [["s3://b/x/1.parquet"]]).affinity == nil)
  }
}
