// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Query
import Scheduling

/// How many shards a task asks for.
enum ShardCount: Equatable {
  case automatic
  case exactly(Int)

  /// - Parameter text: `auto` or a number from 1 to 1024; nil gives nil.
  init?(_ text: String?) throws {
    guard let text else { return nil }
    if text == "auto" {
      self = .automatic
    } else if let number = Int(text), (1...1024).contains(number) {
      self = .exactly(number)
    } else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(50))' is no number of shards", hint: "Use auto, or 1 to 1024.", number: "PLT-3220")
    }
  }

  func count(bytes: Int64, _ services: PlanningServices) -> Int {
    switch self {
    case .exactly(let number): return number
    case .automatic: return StatementSharding.automatic(bytes: bytes, workers: services.dispatcher?.workerCount ?? 1)
    }
  }
}

/// A task's statement that runs as shards, on all workers, and is committed once.
///
/// Without `partition_by` a shard reads some files of one table, in one stage. With it there are two: the first deals the rows of the
/// tables out by the hash of their keys, into files between the stages, and each shard of the second reads one part. Versions are fixed by
/// the first stage. A commit that others were faster than starts again from the first.
struct ShardedStatement {
  private let planner: StatementPlanner
  private let work: StatementWork
  private let call: StageCall
  private let shards: ShardCount
  private let keys: [String]

  /// Units of an exchange: each writes a file for every part.
  private static let exchangeLimit = 32

  /// What the first stage hands to the second.
  private struct Carry: Codable {
    var statement: StatementSpec
    var exchanges: [ExchangeShard.Result]
  }

  /// nil: the task asks for no shards.
  /// - Throws: `invalidArgument` (PLT-3220).
  init?(_ planner: StatementPlanner, _ work: StatementWork, _ call: StageCall) throws {
    guard work.body.shards != nil || work.body.partition_by != nil else { return nil }
    guard work.script.items.count == 1 else {
      throw PlatformError(
        .invalidArgument, "the statement cannot run in shards: it is one of several", hint: "Give each statement a task of its own.", number: "PLT-3220")
    }
    (self.planner, self.work, self.call) = (planner, work, call)
    shards = try ShardCount(work.body.shards) ?? .automatic
    keys = work.body.partition_by ?? []
  }

  func plan() async throws -> StagePlan {
    if work.session.carry != .null { return try second() }
    guard work.plan.kind.runsQuery, !work.plan.changesRows else {
      throw PlatformError(
        .invalidArgument, "the statement cannot run in shards: it is no INSERT .. SELECT, INSERT OVERWRITE or CREATE TABLE .. AS SELECT",
        hint: "Leave 'shards' and 'partition_by' out.", number: "PLT-3220")
    }
    guard let spec = try await planner.spec(work, call) else { return .none }
    let (plan, keys) = (work.plan, keys)
    let direct = plan.references.map(\.view).filter { view in spec.tables.contains { $0.view == view && $0.name != nil } }
    let (sharding, splits) = try await BlockingPool.shared.run {
      let sharding = try StatementSharding(plan, spec)
      return (sharding, try sharding.splits(keys: keys, direct: direct))
    }
    let tables = splits.compactMap { split in spec.tables.first { $0.view == split.view } }
    let count = shards.count(bytes: tables.reduce(0) { $0 + $1.scan.sizeInBytes }, planner.services)
    return try keys.isEmpty ? files(spec, tables, count) : await exchange(spec, sharding, splits, count)
  }

  /// Shards that read some files each.
  private func files(_ spec: StatementSpec, _ tables: [StatementSpec.Table], _ count: Int) throws -> StagePlan {
    let groups = tables.map { (table: $0, groups: StatementSharding.groups($0.scan.files, count: count)) }
    return try shards(of: spec, max(1, groups.map(\.groups.count).max() ?? 1)) { index in
      var parts: [String: TableScan] = [:]
      for (table, groups) in groups {
        var scan = table.scan
        scan.files = index < groups.count ? groups[index] : []
        parts[table.view] = scan
      }
      return parts
    }
  }

  private func shards(of spec: StatementSpec, _ count: Int, _ parts: (Int) throws -> [String: TableScan]) throws -> StagePlan {
    var given = try (0..<count).map(parts)
    // One stays: it tells the columns, also of a table without rows.
    given = Array(given.prefix(1)) + given.dropFirst().filter { $0.values.contains { !$0.files.isEmpty } }
    return .shards(
      try given.enumerated().map { index, parts in
        UnitSpec(index: index, kind: "sql", payload: try JSONValue(encoding: StatementSharding.shard(spec, parts, isFirst: index == 0)))
      })
  }

  /// Units that deal the rows of the tables out.
  private func exchange(_ spec: StatementSpec, _ sharding: StatementSharding, _ splits: [StatementSharding.Split], _ parts: Int) async throws -> StagePlan {
    let staging = try planner.services.staging(call)
    var statement = spec
    var units: [ExchangeShard] = []
    for split in splits {
      guard let place = statement.tables.firstIndex(where: { $0.view == split.view }) else { continue }
      let scan = statement.tables[place].scan
      statement.tables[place].scan.files = []
      let columns = try sharding.used(split)
      let keys = split.keys.compactMap { key in columns.first { $0.name == key } }
      let groups = StatementSharding.groups(scan.files, count: min(parts, Self.exchangeLimit))
      for files in groups.isEmpty ? [[]] : groups {
        var own = scan
        own.files = files
        units.append(
          ExchangeShard(
            view: split.view, scan: own, columns: columns, keys: keys, parts: parts,
            folder: "\(staging)/\(call.id.attempt)-\(call.id.stage)-\(units.count)-{attempt}"))
      }
    }
    guard !units.isEmpty else { throw PlatformError(.internalError, "a split names no table of its statement") }
    units[0].statement = statement
    return .shards(try units.enumerated().map { UnitSpec(index: $0, kind: ExchangeShard.kind, payload: try JSONValue(encoding: $1)) })
  }

  private func second() throws -> StagePlan {
    let carry: Carry = try work.session.carry.decode()
    return try shards(of: carry.statement, carry.exchanges.first?.parts ?? 1) { try ExchangeShard.scans(carry.exchanges, part: $0) }
  }

  func commit(_ results: [JSONValue]) async throws -> StageOutcome {
    var own = work
    if !keys.isEmpty, work.session.carry == .null, !results.isEmpty {
      let exchanges: [ExchangeShard.Result] = try results.decoded()
      guard let statement = exchanges.lazy.compactMap(\.statement).first else {
        throw PlatformError(.internalError, "an exchange has lost its statement")
      }
      own.session.carry = try JSONValue(
        encoding: Carry(
          statement: statement,
          exchanges: exchanges.map { exchange in
            var exchange = exchange
            exchange.statement = nil
            return exchange
          }))
      return .nextStage(carry: try JSONValue(encoding: own.session))
    }
    own.session.carry = .null
    let merged = try StatementSharding.merged(results.decoded())
    let outcome = try await planner.commit(own, call, [], ran: merged.map { [$0] } ?? [])
    guard case .taskDone(values: .object(var values)) = outcome else { return outcome }
    values["shards"] = .integer(Int64(results.count))
    return .taskDone(values: .object(values))
  }
}
