// SPDX-License-Identifier: Apache-2.0

public import Core
import DeltaLog
import DuckDB
import Foundation

/// Files of one table whose rows are written into new files, none changed: for OPTIMIZE.
public struct RewriteSpec: Codable, Sendable, Hashable {
  /// How rows are arranged.
  public struct Order: Codable, Sendable, Hashable {
    public enum Curve: String, Codable, Sendable, Hashable {
      case zOrder, hilbert
    }
    /// Display names from the top, at most `RewriteRunner.columnLimit`.
    public var columns: [[String]]
    public var curve: Curve
    public init(columns: [[String]], curve: Curve) {
      self.columns = columns
      self.curve = curve
    }
  }

  /// A file as the log knows it: its path there and the `uniqueId` of its deletion vector.
  public struct Source: Codable, Sendable, Hashable {
    public var path: String
    public var vector: String?
    public init(path: String, vector: String?) {
      self.path = path
      self.vector = vector
    }
  }

  public var sources: [Source]
  /// The same files as executors read them.
  public var files: [TargetFile]
  public var target: WriteTarget
  /// nil: as they lie in the files.
  public var order: Order?
  /// The table's folder.
  public var outputDirectory: String
  public var limits = StatementSpec.Limits()

  public init(sources: [Source], files: [TargetFile], target: WriteTarget, order: Order?, outputDirectory: String) {
    self.sources = sources
    self.files = files
    self.target = target
    self.order = order
    self.outputDirectory = outputDirectory
  }
}

/// What came of a `RewriteSpec`.
public struct RewriteResult: Codable, Sendable, Hashable {
  public var sources: [RewriteSpec.Source]
  public var files: [WrittenFile]
  public var rows: Int64
}

/// Carries out `RewriteSpec` in an executor, shut off like a statement.
public enum RewriteRunner {
  public static let kind = "table.rewrite"
  /// More columns would leave each of them too few places on the curve to tell anything apart.
  public static let columnLimit = 8

  /// Blocks; looks at `context.isCancelled` every 50 ms.
  /// - Throws: `invalidArgument` with the engine's text, `cancelled`, `resourceExhausted`; `internalError` when rows were lost.
  public static func run(_ spec: RewriteSpec, context: any WorkContext) throws -> RewriteResult {
    let spill = context.scratchDirectory + "/rewrite-spill-" + UUID().uuidString.prefix(8)
    defer { try? FileManager.default.removeItem(atPath: spill) }  // scratch is removed with the attempt anyway
    // One thread writes what is ordered: the order of rows is the order in the files.
    let threads = spec.order == nil ? max(1, spec.limits.threads) : 1
    let connection = try Database(settings: .init(memoryLimit: spec.limits.memory, threads: threads, temporaryDirectory: spill)).connect()
    try connection.execute("SET TimeZone='UTC'; SET enable_progress_bar=true; SET enable_progress_bar_print=false")
    let table = try TargetTable(spec.target, columns: [])
    let rows = TargetRows(table: table)
    try rows.define("__rows", spec.files, connection)
    try connection.execute("SET allowed_paths=\(SQLText.list(spec.files.map(\.path))); SET allowed_directories=\(SQLText.list([spec.outputDirectory + "/"]))")
    try connection.execute("SET enable_external_access=false; SET lock_configuration=true")
    let watch = WorkWatch(connection, context)
    defer { watch.stop() }
    do {
      let tracking = rows.trackingColumns.map { names in
        [
          PhysicalLayout.Extra(name: TargetRows.rowID, physicalName: names.id, type: .bigint),
          PhysicalLayout.Extra(name: TargetRows.rowVersion, physicalName: names.version, type: .bigint),
        ]
      }
      let columns = (table.columns.map { SQLText.identifier($0.name) } + (tracking ?? []).map(\.name)).joined(separator: ", ")
      let query = try spec.order.map { try arranged("__rows", columns, $0, connection) } ?? "SELECT \(columns) FROM __rows"
      let expected = try connection.rows("SELECT count(*) FROM __rows").first?[0].intValue ?? -1
      var writer = DataFileWriter(layout: PhysicalLayout(table: table, extras: tracking ?? []), folder: spec.outputDirectory)
      writer.takesInfinity = true
      let files = try writer.write(connection, query: query)
      let written = files.reduce(0) { $0 + $1.rows }
      guard written == expected else {
        for file in files { unlink(file.path) }
        throw PlatformError(.internalError, "\(written) rows were written of the \(expected) that the files hold", path: spec.outputDirectory)
      }
      return RewriteResult(sources: spec.sources, files: files, rows: written)
    } catch let error as PlatformError where error.code == .cancelled {
      throw context.isCancelled ? CancellationError() : error
    }
  }

  /// The rows in the order of a space-filling curve over the ranks of their values; by one column, in its own order.
  private static func arranged(_ view: String, _ columns: String, _ order: RewriteSpec.Order, _ connection: Connection) throws -> String {
    guard (1...columnLimit).contains(order.columns.count) else {
      throw PlatformError(.invalidArgument, "rows are arranged by 1 to \(columnLimit) columns")
    }
    let keys = order.columns.map { $0.map(SQLText.identifier).joined(separator: ".") }
    guard keys.count > 1 else { return "SELECT \(columns) FROM \(view) ORDER BY \(keys[0])" }
    // About a million places in all, so that the table of places stays small.
    let bits = max(2, 20 / keys.count)
    let ranks = keys.enumerated().map { index, key in
      "least(CAST(floor((rank() OVER (ORDER BY \(key)) - 1) * \(1 << bits) / count(*) OVER ()) AS INTEGER), \((1 << bits) - 1)) AS __rank_\(index)"
    }
    let names = keys.indices.map { "__rank_\($0)" }.joined(separator: ", ")
    try connection.execute("CREATE TEMP TABLE __ranked AS SELECT *, \(ranks.joined(separator: ", ")) FROM \(view)")
    let definition = keys.indices.map { "__rank_\($0) INTEGER" }.joined(separator: ", ")
    try connection.execute("CREATE TEMP TABLE __curve (\(definition), __place BIGINT)")
    let appender = try Appender(connection, table: "__curve")
    let places = try connection.query("SELECT DISTINCT \(names) FROM __ranked")
    while let chunk = try places.next() {
      let vectors = (0..<chunk.columnCount).map { chunk.column($0) }
      for row in 0..<chunk.count {
        let place = vectors.map { UInt32(clamping: $0.value(row).intValue ?? 0) }
        for rank in place { try appender.append(.int(Int64(rank))) }
        try appender.append(.int(position(place, bits: bits, order.curve)))
        try appender.endRow()
      }
    }
    try appender.close()
    let join = keys.indices.map { "r.__rank_\($0) = c.__rank_\($0)" }.joined(separator: " AND ")
    let sorted = order.columns.map { "r." + $0.map(SQLText.identifier).joined(separator: ".") }.joined(separator: ", ")
    return "SELECT \(columns) FROM (SELECT r.*, c.__place FROM __ranked AS r JOIN __curve AS c ON \(join)) AS r ORDER BY r.__place, \(sorted)"
  }

  /// The place on the curve as a number: the curves give bytes that compare like it.
  static func position(_ ranks: [UInt32], bits: Int, _ curve: RewriteSpec.Order.Curve) -> Int64 {
    let bytes: [UInt8]
    switch curve {
    case .hilbert: bytes = SpaceFillingCurve.hilbert(ranks, bits: bits)
    case .zOrder:
      // Only the low `bits` of each rank are set: the last bytes hold them all.
      bytes = Array(SpaceFillingCurve.zOrder(ranks).suffix((bits * ranks.count + 7) / 8))
    }
    return Int64(bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } & UInt64(Int64.max))
  }
}
