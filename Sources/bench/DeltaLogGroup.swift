// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import Synchronization

/// The log of Delta tables: opening long ones, and many small commits.
enum DeltaLogGroup {
  static let commits = Int(ProcessInfo.processInfo.environment["BENCH_COMMITS"] ?? "") ?? 10_000
  static let columns = [Column("id", .bigint), Column("name", .varchar)]

  /// How the peer appends. Of itself it does not wait for the disk, as we do.
  enum Way: String, CaseIterable {
    case byPath = "by path, then fsync"
    case byPathNotDurable = "by path, no fsync"
    case held = "held open, then fsync"
    case heldNotDurable = "held open, no fsync"

    var isHeld: Bool { self == .held || self == .heldNotDurable }
    var isDurable: Bool { self == .byPath || self == .held }
  }

  static func run(_ setup: Setup, report: Group.Report) async throws {
    try setup.peer.call("delta_log.start", ["folder": .string(setup.file("lake"))])
    try await open(setup, interval: 100, "a checkpoint every 100", report: report)
    try await open(setup, interval: 1_000_000, "no checkpoint", report: report)
    for way in Way.allCases {
      try await append(setup, writers: 1, each: 100, way, report: report)
      try await append(setup, writers: 16, each: 10, way, report: report)
    }
  }

  /// A table of ten thousand commits, one file each, in a process that has not seen it.
  static func open(_ setup: Setup, interval: Int, _ what: String, report: Group.Report) async throws {
    let name = "long\(interval)"
    let cached = DeltaTable(
      store: try LocalObjectStore(root: setup.file("lake")), path: try ObjectPath(name), parquet: DuckDBParquetHandler(), cache: SnapshotCache())
    _ = try cached.create(schema: TypeMapping.schema(columns), name: name, configuration: ["delta.checkpointInterval": String(interval)])
    for index in 1..<commits {
      let statistics: JSONValue = [
        "numRecords": 10, "minValues": ["id": .integer(Int64(index * 10))], "maxValues": ["id": .integer(Int64(index * 10 + 9))],
        "nullCount": ["id": 0],
      ]
      _ = try cached.append([AddFile(relativePath: "part-\(UUID().uuidString).zstd.parquet", size: 1000, statistics: statistics)])
    }
    func ours() throws -> Int { try DeltaGroup.table(setup, name).snapshot().filesByPath.count }
    try check(try ours() == commits - 1 && setup.peer.call("delta_log.open", ["table": .string(name)])["files"]?.intValue == commits - 1, "files of \(name)")
    try await report(
      Comparison(
        what: "open a table of \(commits) commits, \(what)", ours: "DeltaTable.snapshot", peer: "deltalake DeltaTable", threads: 2, amount: 1, unit: "tables",
        runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try setup.peer.time("delta_log.open", ["table": .string(name)]) }))
  }

  /// A parquet file of one row and its commit, durable and answered one by one; none may be lost.
  static func append(_ setup: Setup, writers: Int, each: Int, _ way: Way, report: Group.Report) async throws {
    let total = writers * each
    func ours(_ round: Int) throws -> Double {
      let name = "small\(writers)-\(round)-\(UUID().uuidString)"
      let table = DeltaTable(
        store: try LocalObjectStore(root: setup.file("lake")), path: try ObjectPath(name), parquet: DuckDBParquetHandler(),
        cache: SnapshotCache(groupsAppends: true, checkpointsBehind: true))
      _ = try table.create(schema: TypeMapping.schema(columns), name: name)
      let database = try Database(settings: .init(threads: 1))
      let folder = setup.file("lake/\(name)")
      let failures = Mutex<[String]>([])
      let time = seconds {
        DispatchGroup.concurrently(writers) { writer in
          do {
            for index in 0..<each {
              let file = "part-\(UUID().uuidString).zstd.parquet"
              let rows = try ParquetTableWriter(path: folder + "/" + file, columns: columns, sharing: database)
              try rows.append([.int(Int64(writer * each + index)), .string("a name")])
              guard let (written, unsynced) = try rows.finishUnsynced() else { throw PlatformError(.internalError, "no row") }
              let add = AddFile(relativePath: file, size: written.sizeBytes, statistics: written.statistics)
              _ = try table.append([add], unsynced: unsynced.map { [$0] } ?? [])
            }
          } catch { failures.withLock { $0.append("\(error)") } }
        }
      }
      try check(failures.withLock { $0.isEmpty }, failures.withLock { $0.joined(separator: "; ") })
      try check(try setup.peer.call("delta_log.ids", ["table": .string(name)])["ids"]?.intValue == total, "rows of \(name)")
      return time
    }
    func peer(_ round: Int) throws -> Double {
      let name = "theirs\(writers)-\(round)-\(UUID().uuidString)"
      let answer = try setup.peer.call(
        "delta_log.append",
        [
          "table": .string(name), "writers": .integer(Int64(writers)), "each": .integer(Int64(each)), "held": .bool(way.isHeld),
          "durable": .bool(way.isDurable),
        ])
      guard let time = answer["seconds"]?.doubleValue, let done = answer["rows"]?.doubleValue, done > 0 else {
        throw PlatformError(.internalError, "the peer appended nothing")
      }
      // Writers that gave up after too many lost races have done less: the time of a row counts.
      return time * Double(total) / done
    }
    try await report(
      Comparison(
        what: "one-row appends, \(writers) writer\(writers == 1 ? "" : "s")", ours: "ParquetTableWriter + DeltaTable",
        peer: "deltalake \(way.rawValue)", threads: 2, amount: Double(total), unit: "appends", runOurs: ours,
        runPeer: peer))
  }
}

extension DispatchGroup {
  /// Runs `body` for 0..<count on as many threads and waits.
  static func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for index in 0..<count {
      group.enter()
      let thread = Thread {
        body(index)
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    group.wait()
  }
}
