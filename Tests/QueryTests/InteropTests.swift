// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// This writer and the Python package `deltalake` change one table in turn, at random; each sees at every version what an engine that did
/// the same to a table of its own holds, and what the change feed says is the same to both.
@Suite(.enabled(if: isInstalled && Peers.python != nil, "no peer environment")) struct InteropTests {
  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case plain, partitioned, feed, partitionedFeed, checked, timestamps, secondCheckpoints, vectors, vectorFeed, mapped, widened, peersOwn, peersFeed,
      peersVectors
    var testDescription: String { rawValue }

    var isPartitioned: Bool { [.partitioned, .partitionedFeed, .peersOwn].contains(self) }
    var hasFeed: Bool { [.feed, .partitionedFeed, .vectorFeed, .peersFeed].contains(self) }
    var isPeers: Bool { [.peersOwn, .peersFeed, .peersVectors].contains(self) }
    /// What the peer is known to refuse to write to, or cannot.
    var peerOnlyReads: Bool { [.vectors, .vectorFeed, .peersVectors, .mapped, .widened, .secondCheckpoints, .timestamps].contains(self) }

    var configuration: [String: String] {
      var values = ["delta.checkpointInterval": "5"]
      if hasFeed { values["delta.enableChangeDataFeed"] = "true" }
      switch self {
      case .checked: values["delta.constraints.low"] = "score IS NULL OR score < 100000"
      case .timestamps: values["delta.enableInCommitTimestamps"] = "true"
      case .secondCheckpoints: values["delta.checkpointPolicy"] = "v2"
      case .vectors, .vectorFeed, .peersVectors: values["delta.enableDeletionVectors"] = "true"
      case .widened: values["delta.enableTypeWidening"] = "true"
      default: break
      }
      return values
    }

    func metadata() throws -> TableMetadata? {
      if isPeers { return nil }
      let metadata = TableMetadata(
        schema: StructType(fields: ChangeHistoryTests.fields), partitionColumns: isPartitioned ? ["p", "day"] : [], configuration: configuration)
      return self == .mapped ? try ColumnMapping.newTable(metadata) : metadata
    }
  }

  /// One change in three languages.
  struct Step {
    /// For the engine and for this writer; nil for what changes no rows.
    var sql: String?
    var model: [String] = []
    var peer: JSONValue
    /// Of this writer, in place of `sql`.
    var maintenance: ((ChangedTable) throws -> Void)?
  }

  struct Generator {
    var random: SplitMix64
    let plainText: Bool

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }

    typealias Row = (id: Int, name: String?, score: Double, p: String?, day: String?)

    mutating func row() -> Row {
      let p = plainText ? ["a", "b", nil, "ü"][number(0..<3)] : ["a", "b c/d=%", nil, "ü'\"?#&+"][number(0..<4)]
      return (
        number(0..<60), number(0..<5) == 0 ? nil : "n\(number(0..<9))", Double(number(0..<100)) / 4, p,
        number(0..<3) == 0 ? nil : "2024-01-0\(number(1..<4))"
      )
    }

    mutating func rows(_ count: Int) -> [Row] { (0..<count).map { _ in row() } }

    static func sql(_ rows: [Row]) -> String {
      rows.map { row in
        "(\(row.id), \(row.name.map { SQLText.literal($0) } ?? "NULL"), \(row.score), \(row.p.map { SQLText.literal($0) } ?? "NULL"), "
          + "\(row.day.map { "DATE '\($0)'" } ?? "CAST(NULL AS DATE)"))"
      }.joined(separator: ", ")
    }

    static func json(_ rows: [Row]) -> JSONValue {
      func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
      return .array(rows.map { .array([.integer(Int64($0.id)), text($0.name), .number($0.score), text($0.p), text($0.day)]) })
    }

    mutating func condition() -> String {
      switch number(0..<6) {
      case 0: "id % \(number(2..<6)) = 0"
      case 1: "score > \(number(5..<25))"
      case 2: "p = 'a'"
      case 3: "p IS NULL AND id < \(number(5..<60))"
      case 4: "name LIKE 'n\(number(0..<9))%'"
      default: "day = '2024-01-0\(number(1..<4))' OR id = \(number(0..<60))"
      }
    }

    mutating func compression() -> JSONValue { .string(["SNAPPY", "ZSTD", "UNCOMPRESSED", "GZIP", "LZ4_RAW"][number(0..<5)]) }

    mutating func step(versions: [Int64]) -> Step {
      switch number(0..<13) {
      case 0, 1:
        let rows = rows(number(1..<12))
        return Step(
          sql: "INSERT INTO t VALUES " + Self.sql(rows),
          peer: ["op": "append", "rows": Self.json(rows), "compression": compression(), "row_group": .integer(Int64(number(2..<9)))])
      case 2:
        let condition = condition()
        return Step(sql: "DELETE FROM t WHERE \(condition)", peer: ["op": "delete", "predicate": .string(condition)])
      case 3:
        let (condition, by) = (condition(), number(1..<9))
        return Step(
          sql: "UPDATE t SET score = score + \(by), name = upper(name) WHERE \(condition)",
          peer: ["op": "update", "predicate": .string(condition), "updates": ["score": .string("score + \(by)"), "name": "upper(name)"]])
      case 4:
        let (condition, other) = (condition(), plainText ? "b" : "b c/d=%")
        let change = "CASE WHEN p = 'a' THEN '\(other)' ELSE 'a' END"
        return Step(
          sql: "UPDATE t SET p = \(change), day = NULL WHERE \(condition)",
          peer: ["op": "update", "predicate": .string(condition), "updates": ["p": .string(change), "day": "CAST(NULL AS DATE)"]])
      case 5, 6: return merge()
      case 7:
        let rows = rows(number(4..<20))
        return Step(
          sql: "INSERT OVERWRITE t VALUES " + Self.sql(rows), model: ["DELETE FROM t", "INSERT INTO t VALUES " + Self.sql(rows)],
          peer: ["op": "overwrite", "rows": Self.json(rows), "compression": compression()])
      case 8:
        let rows = rows(number(1..<6)).map { (id: $0.id, name: $0.name, score: $0.score, p: Optional("a"), day: $0.day) }
        return Step(
          sql: "INSERT INTO t REPLACE WHERE p = 'a' SELECT * FROM (VALUES \(Self.sql(rows)))",
          model: ["DELETE FROM t WHERE p = 'a'", "INSERT INTO t VALUES " + Self.sql(rows)],
          peer: ["op": "overwrite", "rows": Self.json(rows), "predicate": "p = 'a'"])
      case 9: return Step(peer: ["op": "compact"]) { try $0.optimize() }
      case 10:
        return Step(peer: ["op": "zorder", "columns": ["id", "score"]]) { try $0.optimize(.init(columns: [["id"], ["score"]], curve: .zOrder)) }
      case 11:
        let version = versions[number(0..<versions.count)]
        return Step(
          model: ["DELETE FROM t", "INSERT INTO t SELECT * FROM h_\(version)"], peer: ["op": "restore", "version": .integer(version)]
        ) { try $0.restore(version) }
      default:
        let latest = versions.max() ?? 0
        let first = Int64(number(0..<Int(max(1, latest))))
        let orders: [JSONValue] = [
          ["op": "checkpoint"], ["op": "compact_logs", "from": .integer(first), "to": .integer(latest)], ["op": "cleanup"], ["op": "vacuum"],
        ]
        return Step(peer: orders[number(0..<4)]) {
          try $0.delta.checkpoint(version: $0.delta.snapshot().version)
        }
      }
    }

    private mutating func merge() -> Step {
      // (id, name, score, p, gone)
      let ids = Array(Set((0..<number(3..<20)).map { _ in number(0..<80) })).sorted()
      let source = ids.map { (id: $0, name: "s\($0)", score: Double($0) / 2, p: ["a", plainText ? "b" : "b c/d=%", nil][$0 % 3], gone: $0 % 5 == 0) }
      let values = source.map { "(\($0.id), '\($0.name)', \($0.score), \($0.p.map { "'\($0)'" } ?? "NULL"), \($0.gone))" }.joined(separator: ", ")
      let using = "MERGE INTO t USING (SELECT * FROM (VALUES \(values)) AS v(id, name, score, p, gone)) AS s"
      let given = JSONValue.array(
        source.map { .array([.integer(Int64($0.id)), .string($0.name), .number($0.score), $0.p.map { .string($0) } ?? .null, .bool($0.gone)]) })
      let limit = number(1..<20)
      let odd = number(2..<4)
      if number(0..<2) == 0 {
        return Step(
          sql: """
            \(using) ON t.id = s.id WHEN MATCHED AND s.gone THEN DELETE WHEN MATCHED THEN UPDATE SET score = s.score, name = s.name
              WHEN NOT MATCHED AND s.id % \(odd) = 0 THEN INSERT (id, name, p) VALUES (s.id, s.name, s.p)
            """,
          peer: [
            "op": "merge", "source": given, "on": "t.id = s.id",
            "clauses": [
              ["kind": "matched_delete", "if": "s.gone"], ["kind": "matched_update", "set": ["score": "s.score", "name": "s.name"]],
              ["kind": "insert", "if": .string("s.id % \(odd) = 0"), "set": ["id": "s.id", "name": "s.name", "p": "s.p"]],
            ],
          ])
      }
      return Step(
        sql: """
          \(using) ON t.id = s.id AND t.p = 'a' WHEN NOT MATCHED BY SOURCE AND t.score < \(limit) THEN DELETE
            WHEN NOT MATCHED BY SOURCE AND t.score > 20 THEN UPDATE SET name = 'left'
          """,
        peer: [
          "op": "merge", "source": given, "on": "t.id = s.id AND t.p = 'a'",
          "clauses": [
            ["kind": "source_delete", "if": .string("t.score < \(limit)")],
            ["kind": "source_update", "if": "t.score > 20", "set": ["name": "'left'"]],
          ],
        ])
    }
  }

  /// JSON texts in one form, whoever wrote them.
  static func canonical(_ lines: [String]) throws -> [String] { try lines.map { try JSONValue(parsing: $0).sortedText }.sorted() }

  static func firstOf(_ lines: [String], without others: [String]) -> [String] {
    let known = Set(others)
    return Array(lines.filter { !known.contains($0) }.prefix(3))
  }

  static let steps = ProcessInfo.processInfo.environment["INTEROP_STEPS"].flatMap(Int.init) ?? 10
  static let seed = ProcessInfo.processInfo.environment["INTEROP_SEED"].flatMap { UInt64($0) } ?? 1

  @Test(arguments: Kind.allCases) func writersTakeTurns(_ kind: Kind) throws {
    let seed = Self.seed &* 100 + UInt64(Kind.allCases.firstIndex(of: kind) ?? 0)
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'; CREATE TABLE t (id BIGINT, name VARCHAR, score DOUBLE, p VARCHAR, day DATE)")
    let table = try ChangedTable(kind.metadata())
    let peer = try PeerSession(table: table.folder.file("t"))
    // The peer does not find its own change files in partitions whose names have to be escaped.
    var generator = Generator(random: SplitMix64(seed: seed), plainText: kind.hasFeed)
    let first = generator.rows(20)
    try engine.execute("INSERT INTO t VALUES " + Generator.sql(first))
    if kind.isPeers {
      try peer.send([
        "op": "create", "rows": Generator.json(first), "partition_by": kind.isPartitioned ? ["p", "day"] : [],
        "configuration": .object(kind.configuration.mapValues { .string($0) }),
      ])
    } else {
      try table.run("INSERT INTO t VALUES " + Generator.sql(first))
    }
    var versions: [Int64: [String]] = [:]
    var refusals: [String] = []
    var peerSteps = 0
    func note(_ what: String) throws {
      let expected = try Self.canonical(ChangedTable.texts("SELECT id, name, score, p, day FROM t", engine))
      let version = try table.delta.snapshot().version
      let rows = try Self.canonical(table.rows())
      try #require(rows == expected, "seed \(seed), version \(version): \(what)")
      versions[version] = rows
      try engine.execute("CREATE OR REPLACE TABLE h_\(version) AS SELECT * FROM t")
    }
    try note("the first rows")
    for index in 0..<Self.steps {
      let step = generator.step(versions: versions.keys.sorted())
      var isPeers = generator.number(0..<2) == 0
      if isPeers {
        let before = try table.delta.snapshot().version
        do {
          try peer.send(step.peer)
          peerSteps += 1
        } catch {
          // Refused whole, and done by us instead.
          refusals.append("\(index) \(step.peer["op"]?.stringValue ?? ""): \(error)")
          #expect(try table.delta.snapshot().version == before)
          isPeers = false
        }
      }
      if !isPeers {
        if let maintenance = step.maintenance { try maintenance(table) } else if let sql = step.sql { try table.run(sql) }
      }
      let model = step.model.isEmpty ? step.sql.map { [$0] } ?? [] : step.model
      for statement in model { try engine.execute(statement) }
      try note("step \(index) by \(isPeers ? "the peer" : "us"): \(step.sql ?? step.peer.sortedText)")
    }
    if kind.peerOnlyReads {
      #expect(refusals.count < Self.steps, "\(refusals)")
    } else {
      #expect(refusals.isEmpty, "seed \(seed): \(refusals)")
      #expect(peerSteps > Self.steps / 5)
    }
    // Every version, for both.
    for (version, rows) in versions.sorted(by: { $0.key < $1.key }) {
      #expect(try Self.canonical(table.rows(version: version)) == rows, "seed \(seed), version \(version)")
      #expect(try Self.canonical(table.scanned(version: version)) == rows, "seed \(seed), version \(version)")
      guard kind != .widened else {
        // It refuses, and by name; the files themselves it reads.
        let refusal = #expect(throws: PlatformError.self) { try peer.send(["op": "rows", "version": .integer(version)]) }
        #expect(refusal?.message.contains("TypeWidening") == true)
        let files = try table.delta.snapshot(version: version).files.map { JSONValue.string(table.folder.file("t/" + (try $0.relativePath()))) }
        #expect(try Self.canonical(peer.send(["op": "file_rows", "files": .array(files)]).decode([String].self)) == rows)
        continue
      }
      let seen = try peer.send(["op": "rows", "version": .integer(version), "what": "id, name, score, p, day"]).decode([String].self)
      #expect(try Self.canonical(seen) == rows, "seed \(seed), version \(version), as the peer sees it")
    }
    if kind.hasFeed {
      let ours = try Self.canonical(table.changes())
      try Self.replay(ours, versions, seed: seed)
      // The peer reads removed files without regard to their deletion vectors.
      guard kind != .vectorFeed else { return }
      let theirs = try Self.canonical(peer.send(["op": "changes"]).decode([String].self))
      #expect(
        ours == theirs, "seed \(seed): only ours \(Self.firstOf(ours, without: theirs)), only theirs \(Self.firstOf(theirs, without: ours))")
    }
  }

  /// Applied one version after the other, the changes come to the rows of every version.
  static func replay(_ changes: [String], _ versions: [Int64: [String]], seed: UInt64) throws {
    var byVersion: [Int64: [(row: String, sign: Int)]] = [:]
    for line in changes {
      guard case .object(var members) = try JSONValue(parsing: line), let version = members.removeValue(forKey: "_commit_version")?.intValue,
        let kind = members.removeValue(forKey: "_change_type")?.stringValue
      else { throw PlatformError(.internalError, "no row of a change feed: \(line)") }
      byVersion[Int64(version), default: []].append((JSONValue.object(members).sortedText, ["insert", "update_postimage"].contains(kind) ? 1 : -1))
    }
    var rows: [String: Int] = [:]
    for version in 0...(versions.keys.max() ?? 0) {
      for change in byVersion[version] ?? [] { rows[change.row, default: 0] += change.sign }
      guard let expected = versions[version] else { continue }
      let now = rows.flatMap { Array(repeating: $0.key, count: max(0, $0.value)) }.sorted()
      try #require(now == expected && rows.values.allSatisfy { $0 >= 0 }, "seed \(seed), version \(version)")
    }
  }
}
