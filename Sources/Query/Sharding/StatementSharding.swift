// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// Running INSERT or CREATE TABLE AS once for every part of the tables that it reads.
public struct StatementSharding: Sendable {
  /// A table of the statement that is split.
  public struct Split: Sendable {
    /// `StatementSpec.Table.view`.
    public var view: String
    /// Columns whose equal values stay together, as the table calls them; empty: the table's files are dealt out as they are.
    public var keys: [String]

    public init(view: String, keys: [String]) {
      self.view = view
      self.keys = keys
    }
  }

  /// The query, with the executor's names of tables.
  private let tree: JSONValue
  private let spec: StatementSpec
  private let functions: FunctionFacts
  private let columns: [String: [Column]]

  /// - Parameter spec: of the whole statement.
  /// - Throws: `invalidArgument` (PLT-3220) for a statement that never runs in shards, with the reason.
  public init(_ plan: StatementPlan, _ spec: StatementSpec) throws {
    self.spec = spec
    guard plan.kind == .insert || plan.kind == .createTableAs, spec.change == nil else {
      throw ShardingCheck.refusal("it is no INSERT .. SELECT, INSERT OVERWRITE or CREATE TABLE .. AS SELECT", "Leave 'shards' and 'partition_by' out.")
    }
    let connection = try ParserConnections.take()
    defer { ParserConnections.give(connection) }
    var functions = try FunctionFacts(connection)
    try functions.add(spec.definitions)
    self.functions = functions
    let text = try connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(plan.sql)]).first?[0].stringValue
    tree = try text.flatMap { try JSONValue(parsing: $0)["statements"]?.arrayValue?.first } ?? .null
    columns = try Dictionary(spec.tables.map { ($0.view, try $0.scan.columns()) }) { first, _ in first }
    try checkTarget()
  }

  /// What the table itself adds to the rows has to be the same in all shards.
  private func checkTarget() throws {
    guard let text = spec.target?.schema else { return }
    let schema = try StructType(parsing: text)
    if let identity = try schema.identityColumns().first {
      throw ShardingCheck.refusal("column '\(identity.name)' of the table numbers its rows", "Run it without shards.")
    }
    let isWhole = !spec.insert.byName && spec.insertColumns.isEmpty
    for field in schema.defaults where !isWhole && !spec.insertColumns.contains(where: { [$0.lowercased()] == field.path.map { $0.lowercased() } }) {
      let words = Set(try SQLTokens(field.expression).tokens.filter(\.isName).map { $0.text.lowercased() })
      guard words.isDisjoint(with: functions.unstable) else {
        throw ShardingCheck.refusal("the default of column '\(field.path.joined(separator: "."))' is another value in each shard", "Give the column a value.")
      }
    }
  }

  /// The first way to split the statement's tables that leaves its rows as they are.
  /// - Parameters:
  ///   - keys: column names; empty: files are dealt out.
  ///   - direct: views of the tables that the statement itself names.
  /// - Throws: PLT-3220 with the reason why there is none.
  public func splits(keys: [String], direct: [String]) throws -> [Split] {
    guard Set(keys.map { $0.lowercased() }).count == keys.count else { throw ShardingCheck.refusal("partition_by names a column twice", "Name it once.") }
    let tables = spec.tables.filter { direct.contains($0.view) }.sorted {
      ($0.scan.sizeInBytes, $1.view) > ($1.scan.sizeInBytes, $0.view)
    }
    let candidates = tables.compactMap { table -> Split? in
      let names = columns[table.view] ?? []
      let own = keys.compactMap { key in names.first { $0.name.lowercased() == key.lowercased() }?.name }
      return own.count == keys.count ? Split(view: table.view, keys: own) : nil
    }
    guard !candidates.isEmpty else {
      guard tables.isEmpty else {
        throw ShardingCheck.refusal(
          "no table that it reads has the columns \(keys.joined(separator: ", ")) of partition_by",
          tables.map { "\($0.name ?? "A table") has: \((columns[$0.view] ?? []).map(\.name).joined(separator: ", "))." }.joined(separator: " "))
      }
      throw ShardingCheck.refusal("it reads no table by name", "Views and files are read as a whole.")
    }
    // With keys all tables that have them can be joined; without, one at a time can be split, or all sides of UNION ALL.
    var tries = candidates.map { [$0] }
    if candidates.count > 1 { tries.insert(candidates, at: keys.isEmpty ? tries.count : 0) }
    var reason: (any Error)?
    for splits in tries {
      do {
        try check(splits)
        return splits
      } catch let error as PlatformError where error.number == "PLT-3220" {
        if reason == nil { reason = error }
      }
    }
    throw reason ?? PlatformError(.internalError, "no way to split was tried")
  }

  /// Whether the statement's rows do not depend on how the tables are split.
  private func check(_ splits: [Split]) throws {
    var kinds: [[String]] = []
    for split in splits {
      kinds.append(
        try split.keys.compactMap { key in try columns[split.view]?.first { $0.name == key }.map { try Self.kind(of: $0) } })
    }
    if let first = kinds.first, let other = kinds.first(where: { $0 != first }) {
      throw ShardingCheck.refusal(
        "the tables' columns of partition_by have different types (\(first.joined(separator: ", ")) and \(other.joined(separator: ", ")))",
        "Give them one type.")
    }
    try ShardingCheck.check(
      tree, tables: splits.map { .init(view: $0.view, keys: $0.keys) }, columns: columns.mapValues { $0.map(\.name) }, functions: functions)
  }

  /// Types whose equal values have equal texts, see `ExchangeShard.text`.
  private static func kind(of column: Column) throws -> String {
    switch column.type {
    case .tinyint, .smallint, .integer, .bigint, .hugeint: return "integer"
    case .float, .double: return "double"
    case .varchar, .boolean, .date, .timestamp, .timestampTZ, .decimal, .blob: return column.type.sql.lowercased()
    default:
      throw ShardingCheck.refusal(
        "column '\(column.name)' of partition_by is \(column.type.sql.lowercased())", "Use numbers, texts, truth values, dates or timestamps.")
    }
  }

  // MARK: the work

  /// The columns of a table that the statement may read, keys included.
  public func used(_ split: Split) throws -> [Column] {
    let all = columns[split.view] ?? []
    var names: Set<String> = []
    var aliases: Set<String> = []
    var rows: Set<String> = []
    var isAll = false
    func look(_ node: JSONValue) {
      switch node {
      case .string(let text): names.insert(text.lowercased())
      case .array(let items): for item in items { look(item) }
      case .object(let members):
        if members["class"] == "STAR" || members["ref_type"] == "NATURAL" { isAll = true }
        for key in ["alias", "table_name"] { if let text = members[key]?.stringValue { aliases.insert(text.lowercased()) } }
        if members["class"] == "COLUMN_REF", let parts = members["column_names"]?.arrayValue, parts.count == 1, let name = parts[0].stringValue {
          rows.insert(name.lowercased())
        }
        for value in members.values { look(value) }
      default: break
      }
    }
    look(tree)
    // A table's name alone is a whole row.
    guard !isAll, rows.isDisjoint(with: aliases.subtracting(all.map { $0.name.lowercased() })) else { return all }
    let keys = Set(split.keys)
    let kept = all.filter { names.contains($0.name.lowercased()) || keys.contains($0.name) }
    return kept.isEmpty ? Array(all.prefix(1)) : kept
  }

  /// The statement over a part of its tables.
  /// - Parameter parts: by view.
  public static func shard(_ spec: StatementSpec, _ parts: [String: TableScan], isFirst: Bool) -> StatementSpec {
    var own = spec
    for index in own.tables.indices { if let part = parts[own.tables[index].view] { own.tables[index].scan = part } }
    if !isFirst { own.sources = nil }
    return own
  }

  /// `files` in at most `count` groups of about the same size, each in the files' order.
  public static func groups(_ files: [TableScan.File], count: Int) -> [[TableScan.File]] {
    guard count > 0, !files.isEmpty else { return [] }
    var groups = Array(repeating: (size: Int64(0), places: [Int]()), count: min(count, files.count))
    // The largest first, always to the smallest group (Graham, 1969).
    for place in files.indices.sorted(by: { files[$0].size != files[$1].size ? files[$0].size > files[$1].size : $0 < $1 }) {
      guard let least = groups.indices.min(by: { groups[$0].size != groups[$1].size ? groups[$0].size < groups[$1].size : $0 < $1 }) else { break }
      groups[least].size += max(1, files[place].size)
      groups[least].places.append(place)
    }
    return groups.map { group in group.places.sorted().map { files[$0] } }.filter { !$0.isEmpty }
  }

  /// How many shards when nobody says: as many as there are workers, more for what is larger than an executor sorts in memory, fewer for
  /// what takes longer to start than to read.
  public static func automatic(bytes: Int64, workers: Int) -> Int {
    let (least, most) = (Int64(8) << 20, Int64(256) << 20)
    let atMost = (bytes + least - 1) / least
    return Int(max(1, min(1024, max((bytes + most - 1) / most, min(Int64(max(1, workers)), atMost)))))
  }

  /// The results of all shards as that of one statement.
  /// - Throws: `internalError` when they are not of the same table.
  public static func merged(_ results: [StatementResult]) throws -> StatementResult? {
    guard var all = results.first else { return nil }
    for result in results.dropFirst() {
      guard result.target == all.target else { throw PlatformError(.internalError, "the shards of a statement give rows of different tables") }
      all.files += result.files
      all.rowCount += result.rowCount
      if all.sources == nil { all.sources = result.sources }
    }
    return all
  }
}
