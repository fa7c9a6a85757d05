// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import Synchronization

/// The actions of a checkpoint file straight from its columns, without the engine. Most rows are files with nothing but a path,
/// a size, a time, partitions and statistics: those are made of the columns. Others are made JSON and read as a line of a commit is.
///
/// What is not known here, an encoding, a codec, a type, throws `ParquetFault.unknown`: the engine may read such a file.
struct CheckpointColumns {
  /// Rows that a byte of a file may stand for: more are no actions, and would cost memory before that is seen.
  private static let rowsPerByte = 8

  static let threads = min(2, ProcessInfo.processInfo.activeProcessorCount)
  static let workers = BlockingPool(name: "checkpoint", threads: threads)
  /// Below, to hand over the work takes longer than the work.
  private static let rowsWorthAThread = 500

  private let file: UnsafeRawBufferPointer
  private let footer: ParquetFooter
  private let kinds: [ParquetNode]
  private let name: String

  /// - Parameter name: of the file, for messages.
  /// - Throws: `invalidFile` naming the file and the place of the damage; `ParquetFault.unknown`.
  static func actions(_ parquet: Data, name: String) throws -> [Action] {
    do {
      return try parquet.withUnsafeBytes { try CheckpointColumns($0, name: name).actions() }
    } catch ParquetFault.damaged(let what, let offset) {
      throw PlatformError(.invalidFile, "a checkpoint is damaged: \(what), at byte \(offset)", path: name)
    }
  }

  private init(_ file: UnsafeRawBufferPointer, name: String) throws {
    self.file = file
    self.name = name
    footer = try ParquetFooter(file)
    let known = Set(DuckDBParquetHandler.columns.map(\.name))
    kinds = footer.columns.filter { known.contains($0.name) }
    guard !kinds.isEmpty, Set(kinds.map(\.name)).count == kinds.count else { throw ParquetFault.unknown("its columns") }
    for group in footer.groups where group.rows > file.count * Self.rowsPerByte { throw ParquetFault.unknown("many rows in few bytes") }
  }

  private func actions() throws -> [Action] {
    var actions: [Action] = []
    actions.reserveCapacity(min(footer.groups.reduce(0) { $0 + $1.rows }, file.count / 16))
    for group in footer.groups { try read(group, into: &actions) }
    return actions
  }

  private func read(_ group: ParquetFooter.Group, into actions: inout [Action]) throws {
    let rows = CheckpointRows(file: file, footer: footer, group: group)
    // Which of the kinds a row has.
    var kindOf = [UInt8](repeating: 0, count: group.rows)
    var parts: [CheckpointRows.Part] = []
    for (index, kind) in kinds.enumerated() {
      let part = try rows.part(kind)
      parts.append(part)
      guard let first = part.columns.first, first.largestDefinition >= kind.definition else { continue }
      for row in 0..<group.rows where first.definition(first.first(row)) >= kind.definition {
        // Two actions in one row are damage, which the slow way reports.
        guard kindOf[row] == 0 else { throw ParquetFault.unknown("two actions in one row") }
        kindOf[row] = UInt8(index + 1)
      }
    }
    let add = kinds.firstIndex { $0.name == "add" }
    let made = CheckpointActions(
      parts: parts, kindOf: kindOf, addKind: add.map { UInt8($0 + 1) } ?? 0, files: try add.flatMap { try CheckpointFiles(parts[$0], rows) }, name: name)
    let pieces = group.rows < Self.rowsWorthAThread ? 1 : Self.threads
    let found = Mutex([[Action]](repeating: [], count: pieces))
    try Self.workers.forEach(pieces, atOnce: pieces) { piece in
      let part = try made.actions(group.rows * piece / pieces..<group.rows * (piece + 1) / pieces)
      found.withLock { $0[piece] = part }
    }
    for part in found.withLock({ $0 }) { actions += part }
  }
}

/// Makes the actions of the rows of a group.
private struct CheckpointActions: Sendable {
  let parts: [CheckpointRows.Part]
  /// Of each row: 0 for none, else one more than the index in `parts`.
  let kindOf: [UInt8]
  let addKind: UInt8
  let files: CheckpointFiles?
  let name: String

  func actions(_ rows: Range<Int>) throws -> [Action] {
    var actions: [Action] = []
    actions.reserveCapacity(rows.count)
    var files = files
    for row in rows where kindOf[row] > 0 {
      if kindOf[row] == addKind, let file = try files?.file(row) {
        do { _ = try file.location() } catch {
          throw PlatformError(.invalidFile, "\(PlatformError.from(error).message): '\(file.path.prefix(300))'", path: name)
        }
        actions.append(.add(file))
      } else {
        let part = parts[Int(kindOf[row]) - 1]
        if kindOf[row] == addKind { try files?.refuseParsedStatistics(row) }
        if let action = try Action.parsing(row: part.json(row), name: name) { actions.append(action) }
      }
    }
    return actions
  }
}

/// The columns of one row group.
struct CheckpointRows: @unchecked Sendable {  // `file` is only read, and outlives it
  /// Members of `add` that say in columns what others say in texts.
  static let derived: Set<String> = ["stats_parsed", "partitionValues_parsed"]

  let file: UnsafeRawBufferPointer
  let footer: ParquetFooter
  let group: ParquetFooter.Group

  /// One kind of action, with its columns in the order of the schema.
  struct Part: Sendable {
    let node: ParquetNode
    let members: [ParquetNode]
    let columns: [ParquetColumn]
    /// Index of a leaf's column.
    let places: [Int: Int]

    func column(_ leaf: Int) throws -> ParquetColumn {
      guard let place = places[leaf] else { throw ParquetFault.unknown("a column that was not read") }
      return columns[place]
    }

    /// The column of a member that is no group.
    func column(_ name: String) throws -> ParquetColumn? {
      guard let member = members.first(where: { $0.name == name }) else { return nil }
      guard case .leaf(let leaf) = member.kind else { throw ParquetFault.unknown("'\(name)' of another type") }
      return try column(leaf)
    }
  }

  func part(_ node: ParquetNode) throws -> Part {
    guard case .structure(let all) = node.kind else { throw ParquetFault.unknown("'\(node.name)' of another type") }
    let members = all.filter { !(node.name == "add" && Self.derived.contains($0.name)) }
    let leaves = members.flatMap(\.leaves)
    let found = Mutex([ParquetColumn?](repeating: nil, count: leaves.count))
    try CheckpointColumns.workers.forEach(leaves.count, atOnce: CheckpointColumns.threads) { index in
      let column = try column(leaves[index])
      found.withLock { $0[index] = column }
    }
    let places = Dictionary(uniqueKeysWithValues: leaves.enumerated().map { ($1, $0) })
    return Part(node: node, members: members, columns: found.withLock { $0.compactMap { $0 } }, places: places)
  }

  func column(_ leaf: Int, levelsOnly: Bool = false) throws -> ParquetColumn {
    try ParquetColumn(file, leaf: footer.leaves[leaf], chunk: group.chunks[leaf], rows: group.rows, end: footer.start, levelsOnly: levelsOnly)
  }
}

/// Makes plain files of the columns of `add`.
struct CheckpointFiles: Sendable {
  private let path: ParquetColumn
  private let size: ParquetColumn
  private let time: ParquetColumn?
  private let dataChange: ParquetColumn?
  private let stats: ParquetColumn?
  private let rowId: ParquetColumn?
  private let rowVersion: ParquetColumn?
  private let partitions: (node: ParquetNode, key: ParquetColumn, value: ParquetColumn)?
  /// Other members that some row has: such a row is not plain.
  private var others: [(column: ParquetColumn, definition: Int)] = []
  /// Statistics as columns, where there are some.
  private let parsed: (column: ParquetColumn, definition: Int)?
  /// The partition values of the row before: neighbours share them.
  private var lastPartitions: [String: String?] = [:]
  private var lastKeys: [String] = []

  private static let plain: Set<String> = [
    "path", "size", "modificationTime", "dataChange", "stats", "baseRowId", "defaultRowCommitVersion", "partitionValues",
  ]

  /// nil where the columns allow no plain files.
  init?(_ part: CheckpointRows.Part, _ rows: CheckpointRows) throws {
    func number(_ name: String) throws -> ParquetColumn? {
      guard let column = try part.column(name) else { return nil }
      guard column.leaf.values == .int32 || column.leaf.values == .int64 else { throw ParquetFault.unknown("'\(name)' of another type") }
      return column
    }
    func text(_ name: String) throws -> ParquetColumn? {
      guard let column = try part.column(name) else { return nil }
      guard column.leaf.values == .text else { throw ParquetFault.unknown("'\(name)' of another type") }
      return column
    }
    guard let path = try text("path"), let size = try number("size") else { return nil }
    (self.path, self.size) = (path, size)
    time = try number("modificationTime")
    stats = try text("stats")
    rowId = try number("baseRowId")
    rowVersion = try number("defaultRowCommitVersion")
    dataChange = try part.column("dataChange")
    if let dataChange, dataChange.leaf.values != .boolean { throw ParquetFault.unknown("'dataChange' of another type") }
    if let node = part.members.first(where: { $0.name == "partitionValues" }) {
      guard case .map(let key, let value) = node.kind, case .leaf(let keys) = key.kind, case .leaf(let values) = value.kind else {
        throw ParquetFault.unknown("'partitionValues' of another type")
      }
      let (keyColumn, valueColumn) = (try part.column(keys), try part.column(values))
      guard keyColumn.leaf.values == .text, valueColumn.leaf.values == .text else { throw ParquetFault.unknown("'partitionValues' of another type") }
      partitions = (node, keyColumn, valueColumn)
    } else {
      partitions = nil
    }
    for member in part.members where !Self.plain.contains(member.name) {
      let columns = try member.leaves.map(part.column)
      if let column = columns.first, column.largestDefinition >= member.definition { others.append((column, member.definition)) }
    }
    guard case .structure(let all) = part.node.kind, let node = all.first(where: { $0.name == "stats_parsed" }), let leaf = node.leaves.first else {
      parsed = nil
      return
    }
    let isComplete = stats.map { stats in (0..<rows.group.rows).allSatisfy { path.isNull($0) || !stats.isNull($0) } } ?? false
    parsed = isComplete ? nil : (try rows.column(leaf, levelsOnly: true), node.definition)
  }

  /// The file of a row; nil for a row that is not plain.
  mutating func file(_ row: Int) throws -> AddFile? {
    guard !path.isNull(row), !size.isNull(row) else { return nil }
    for other in others where other.column.definition(other.column.first(row)) >= other.definition { return nil }
    let size = size.number(row)
    guard size >= 0 else { return nil }
    var rowNumbers: (id: Int64?, version: Int64?)
    if let rowId, !rowId.isNull(row) { rowNumbers.id = rowId.number(row) }
    if let rowVersion, !rowVersion.isNull(row) { rowNumbers.version = rowVersion.number(row) }
    guard rowNumbers.id ?? 0 >= 0, rowNumbers.version ?? 0 >= 0 else { return nil }
    var file = AddFile(
      path: try path.text(row), partitionValues: try partitionValues(row), size: size,
      modificationTime: time.flatMap { $0.isNull(row) ? nil : $0.number(row) } ?? 0,
      dataChange: dataChange.flatMap { $0.isNull(row) ? nil : $0.number(row) == 1 } ?? true)
    if let stats, !stats.isNull(row) { file.stats = try stats.text(row) } else { try refuseParsedStatistics(row) }
    file.baseRowId = rowNumbers.id
    file.defaultRowCommitVersion = rowNumbers.version
    return file
  }

  /// - Throws: `unknown` for a row with statistics in columns only, which are of any type.
  func refuseParsedStatistics(_ row: Int) throws {
    guard let parsed, stats?.isNull(row) ?? true, parsed.column.definition(parsed.column.first(row)) >= parsed.definition else { return }
    throw ParquetFault.unknown("statistics as columns only")
  }

  private mutating func partitionValues(_ row: Int) throws -> [String: String?] {
    guard let (node, keys, values) = partitions else { return [:] }
    let entries = keys.entries(row)
    guard keys.definition(entries.lowerBound) >= node.elementDefinition else { return [:] }
    if entries.count == lastKeys.count, entries.allSatisfy({ isLast(keys, values, $0, lastKeys[$0 - entries.lowerBound]) }) { return lastPartitions }
    var map: [String: String?] = [:]
    lastKeys = []
    for entry in entries {
      guard !keys.isNull(entry) else { throw ParquetFault.unknown("a map's key that is NULL") }
      lastKeys.append(try keys.text(entry))
      map.updateValue(values.isNull(entry) ? nil : try values.text(entry), forKey: lastKeys[lastKeys.count - 1])
    }
    guard map.count == entries.count else { throw ParquetFault.unknown("a map with a key twice") }
    lastPartitions = map
    return map
  }

  private func isLast(_ keys: ParquetColumn, _ values: ParquetColumn, _ entry: Int, _ key: String) -> Bool {
    guard !keys.isNull(entry), keys.withText(entry, { $0.elementsEqual(key.utf8) }), let known = lastPartitions[key] else { return false }
    guard !values.isNull(entry) else { return known == nil }
    guard let known else { return false }
    return values.withText(entry) { $0.elementsEqual(known.utf8) }
  }
}
