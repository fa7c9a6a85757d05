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

  @Test func partsShareABatchWhenTheyMayBeDoneAgain() {
    func unit(_ index: Int, _ kind: String = "wait", repeatable: Bool = true, affinity: Int64? = nil) -> UnitSpec {
      UnitSpec(index: index, kind: kind, payload: .integer(Int64(index)), repeatable: repeatable, affinity: affinity)
    }
    let five = StagePlan.shards((0..<5).map { unit($0) })
    #expect(RepeatableWork.bundled(five, by: nil) == five && RepeatableWork.bundled(five, by: 1) == five)
    guard case .shards(let two) = RepeatableWork.bundled(five, by: 2) else { return #expect(Bool(false)) }
    #expect(two.map(\.kind) == ["batch", "batch", "wait"] && two.map(\.index) == [0, 1, 2] && two.allSatisfy(\.repeatable))
    #expect(two[1].payload == ["kind": "wait", "payloads": [2, 3]] && two[2].payload == 4)
    // Neighbours only: the order of the results is that of the parts.
    let mixed = StagePlan.shards([
      unit(0), unit(1, affinity: 7), unit(2, affinity: 7), unit(3, "embed"), unit(4, "command", repeatable: false), unit(5, "command", repeatable: false),
    ])
    guard case .shards(let kept) = RepeatableWork.bundled(mixed, by: 9) else { return #expect(Bool(false)) }
    #expect(kept.map(\.kind) == ["wait", "batch", "embed", "command", "command"] && kept[1].affinity == 7)
    let gang = StagePlan.gang([unit(0), unit(1)])
    #expect(RepeatableWork.bundled(gang, by: 2) == gang)
  }
}
