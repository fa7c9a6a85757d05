// SPDX-License-Identifier: Apache-2.0

public import Core
import DeltaLog
public import DuckDB
public import Foundation
public import ObjectStore
import Synchronization

/// Statements on tables in S3: what they read is fetched before they run, through the machine's cache, and what they write is stored
/// before they report. The statements themselves, shut off from the network, see files on disk only: of large data files their ends are
/// fetched before, and the pieces that the engine reads when it does.
public struct RemoteTables {
  /// Finds the store of a place.
  typealias Stores = @Sendable (_ place: String) throws -> (store: any ObjectStorage, path: ObjectPath)

  private let cache: ObjectCache
  /// Where copies and new files lie while the work runs; it goes with the attempt.
  private let folder: String
  private let stores: Stores
  /// By place: the local path.
  private var copies: [String: String] = [:]
  /// Local paths and what they are copies of.
  private var origins: [String: String] = [:]
  /// Copies that are not there yet.
  private var wanted: [(place: String, local: String, isWhole: Bool)] = []
  private var outputs: [(local: String, place: String)] = []
  private let partial = PartialCopies()

  private static let fetchers = BlockingPool(name: "fetch", threads: 8)
  private static let defaultCacheBytes = 10 << 30
  /// How much of the end of a file is fetched before the engine asks: most footers.
  private static let footerBytes = 64 << 10

  /// - Parameters:
  ///   - scratch: the attempt's own folder.
  ///   - environment: `PLATFORM_OBJECT_CACHE` (a folder; by default `object-cache` in the process's own) and `PLATFORM_OBJECT_CACHE_BYTES`.
  public init(scratch: String, keys: KeyRing = .shared, environment: [String: String] = ProcessInfo.processInfo.environment) {
    self.init(scratch: scratch, environment: environment) { try ObjectStores.open($0, keys: keys, environment: environment) }
  }

  init(scratch: String, environment: [String: String], stores: @escaping Stores) {
    folder = scratch + "/remote"
    self.stores = stores
    let limit = environment["PLATFORM_OBJECT_CACHE_BYTES"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } ?? Self.defaultCacheBytes
    let place = environment["PLATFORM_OBJECT_CACHE"].flatMap { $0.isEmpty ? nil : $0 } ?? FileManager.default.currentDirectoryPath + "/object-cache"
    cache = ObjectCache(folder: place, limitBytes: limit)
  }

  /// `StatementRunner.run` wherever the tables are.
  public static func run(_ spec: StatementSpec, context: any WorkContext) throws -> StatementResult {
    guard spec.isRemote else { return try StatementRunner.run(spec, context: context) }
    var remote = RemoteTables(scratch: context.scratchDirectory)
    let local = try remote.localised(spec) { context.isCancelled }
    do {
      return try remote.published(StatementRunner.run(local, context: context))
    } catch { throw remote.explained(error) }
  }

  /// `RewriteRunner.run` wherever the table is.
  public static func run(_ spec: RewriteSpec, context: any WorkContext) throws -> RewriteResult {
    guard S3Location.isS3(spec.outputDirectory) else { return try RewriteRunner.run(spec, context: context) }
    var remote = RemoteTables(scratch: context.scratchDirectory)
    let local = try remote.localised(spec) { context.isCancelled }
    do {
      return try remote.published(RewriteRunner.run(local, context: context))
    } catch { throw remote.explained(error) }
  }

  /// `ExchangeShard.run` wherever the table is; the parts are on disk.
  public static func run(_ shard: ExchangeShard, context: any WorkContext) throws -> ExchangeShard.Result {
    let spec = StatementSpec(kind: .select, sql: "", tables: [.init(view: shard.view, scan: shard.scan)])
    guard spec.isRemote else { return try shard.run(context: context) }
    var remote = RemoteTables(scratch: context.scratchDirectory)
    var local = shard
    local.scan = try remote.localised(spec) { context.isCancelled }.tables[0].scan
    do {
      return try local.run(context: context)
    } catch { throw remote.explained(error) }
  }

  /// `FileLoad.run` wherever its tables are. The files that it reads are fetched by the load itself.
  public static func run(_ load: FileLoad, context: any WorkContext) throws -> FileLoadResult {
    guard S3Location.isS3(load.dataPath) || S3Location.isS3(load.quarantinePath) else { return try load.run(context: context) }
    var remote = RemoteTables(scratch: context.scratchDirectory)
    let local = try remote.localised(load)
    do {
      return try remote.published(local.run(context: context))
    } catch { throw remote.explained(error) }
  }

  // MARK: before

  mutating func localised(_ given: StatementSpec, isCancelled: @escaping @Sendable () -> Bool = { false }) throws -> StatementSpec {
    var spec = given
    try makeFolder(folder)
    for index in spec.tables.indices {
      for file in spec.tables[index].scan.files.indices {
        replace(&spec.tables[index].scan.files[file].path, isWhole: false)
        if var path = spec.tables[index].scan.files[file].deletions?.path {
          replace(&path, isWhole: true)
          spec.tables[index].scan.files[file].deletions?.path = path
        }
      }
    }
    if let place = spec.outputDirectory, S3Location.isS3(place) {
      let local = try output(place)
      spec.outputDirectory = local
      if var change = spec.change {
        replace(&change.files, areWhole: false)
        spec.change = change
      }
    }
    try fetch(isCancelled)
    return spec
  }

  mutating func localised(_ given: RewriteSpec, isCancelled: @escaping @Sendable () -> Bool = { false }) throws -> RewriteSpec {
    var spec = given
    try makeFolder(folder)
    spec.outputDirectory = try output(given.outputDirectory)
    // All of it is read: few large requests.
    replace(&spec.files, areWhole: true)
    try fetch(isCancelled)
    return spec
  }

  mutating func localised(_ given: FileLoad) throws -> FileLoad {
    var load = given
    try makeFolder(folder)
    load.dataPath = try outputFile(given.dataPath)
    load.quarantinePath = try outputFile(given.quarantinePath)
    return load
  }

  /// A file to write on disk, where `path` is one in S3.
  private mutating func outputFile(_ path: String) throws -> String {
    guard S3Location.isS3(path), let slash = path.lastIndex(of: "/") else { return path }
    return try output(String(path[..<slash])) + path[slash...]
  }

  private mutating func replace(_ files: inout [TargetFile], areWhole: Bool) {
    for index in files.indices {
      replace(&files[index].path, isWhole: areWhole)
      guard var path = files[index].deletions?.path else { continue }
      replace(&path, isWhole: true)
      files[index].deletions?.path = path
    }
  }

  private mutating func replace(_ path: inout String, isWhole: Bool) {
    guard S3Location.isS3(path) else { return }
    if let known = copies[path] {
      path = known
      return
    }
    let local = "\(folder)/\(copies.count)-\((path as NSString).lastPathComponent)"
    copies[path] = local
    want(path, at: local, isWhole: isWhole)
    path = local
  }

  private mutating func want(_ place: String, at local: String, isWhole: Bool) {
    guard origins.updateValue(place, forKey: local) == nil else { return }
    wanted.append((place, local, isWhole))
  }

  private mutating func output(_ place: String) throws -> String {
    _ = try S3Location(parsing: place)
    let local = "\(folder)/output-\(outputs.count)"
    try makeFolder(local)
    outputs.append((local, place))
    return local
  }

  private func makeFolder(_ path: String) throws {
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw PlatformError(.permissionDenied, "cannot create a folder for remote files", path: path)
    }
  }

  /// A few at once; the first failure ends it.
  private mutating func fetch(_ isCancelled: @escaping @Sendable () -> Bool) throws {
    let (list, cache, stores) = (wanted, cache, stores)
    wanted = []
    for folder in Set(list.map { ($0.local as NSString).deletingLastPathComponent }) { try makeFolder(folder) }
    let found = Mutex<[(copy: PartialCopy, local: String)]>([])
    let readsPieces = try list.contains { !$0.isWhole } && PartialFiles.isSupported
    try Self.fetchers.forEach(list.count, atOnce: 8) { index in
      if isCancelled() { throw CancellationError() }
      let (place, local, isWhole) = list[index]
      let (store, path) = try stores(place)
      guard readsPieces, !isWhole else {
        try cache.provide(path, of: store, identity: place, at: local)
        return
      }
      guard let copy = try cache.provideInPieces(path, of: store, identity: place, at: local, isCancelled: isCancelled) else { return }
      try copy.provide(max(0, copy.size - Self.footerBytes)..<copy.size)
      found.withLock { $0.append((copy, local)) }
    }
    // Not by the closure above: a helper may keep it longer than this statement lives.
    let copies = found.withLock { found in
      defer { found = [] }
      return found
    }
    for (copy, local) in copies { try partial.add(copy, at: local) }
  }

  // MARK: after

  func published(_ given: StatementResult) throws -> StatementResult {
    try store()
    var result = given
    for index in result.files.indices { result.files[index].path = place(result.files[index].path) }
    if var change = result.change {
      change.removed = change.removed.map(place)
      for index in change.vectors.indices { change.vectors[index].path = place(change.vectors[index].path) }
      for index in change.changeFiles.indices { change.changeFiles[index].path = place(change.changeFiles[index].path) }
      result.change = change
    }
    return result
  }

  func published(_ given: RewriteResult) throws -> RewriteResult {
    try store()
    var result = given
    for index in result.files.indices { result.files[index].path = place(result.files[index].path) }
    return result
  }

  func published(_ given: FileLoadResult) throws -> FileLoadResult {
    try store()
    var result = given
    result.data?.path = place(given.data?.path ?? "")
    result.quarantine?.path = place(given.quarantine?.path ?? "")
    for index in result.parts.indices { result.parts[index].path = place(result.parts[index].path) }
    return result
  }

  /// All new files are stored, those included that the result does not name (vectors): durable when this returns.
  private func store() throws {
    var new: [(local: String, place: String)] = []
    for output in outputs {
      guard let names = FileManager.default.enumerator(atPath: output.local) else { continue }
      while let name = names.nextObject() as? String {
        let local = "\(output.local)/\(name)"
        var info = stat()
        guard origins[local] == nil, !(name as NSString).lastPathComponent.hasPrefix("."), lstat(local, &info) == 0, info.st_mode & S_IFMT == S_IFREG
        else { continue }
        new.append((local, "\(output.place)/\(name)"))
      }
    }
    let (list, stores) = (new, stores)
    try Self.fetchers.forEach(list.count, atOnce: 4) { index in
      let (store, path) = try stores(list[index].place)
      _ = try store.upload(file: list[index].local, to: path)
    }
  }

  /// Where the local file is, or will be, in S3; the path itself for a file of this machine.
  private func place(_ local: String) -> String {
    if let origin = origins[local] { return origin }
    for output in outputs where local.hasPrefix(output.local + "/") { return output.place + local.dropFirst(output.local.utf8.count) }
    return local
  }

  /// An error about a copy, said of what it is a copy of.
  func explained(_ error: any Error) -> any Error {
    // The engine only knows that it could not read.
    if let failure = partial.failure { return failure }
    guard var known = error as? PlatformError, let path = known.path else { return error }
    known.path = place(path)
    return known
  }
}

extension PartialCopy: PartialFile {}

/// The copies of which the engine fetches pieces, for as long as this lives.
private final class PartialCopies: Sendable {
  private let copies = Mutex<[PartialCopy]>([])

  func add(_ copy: PartialCopy, at path: String) throws {
    try PartialFiles.register(copy, at: path)
    copies.withLock { $0.append(copy) }
  }

  var failure: (any Error)? { copies.withLock { $0.lazy.compactMap(\.failure).first } }

  deinit { PartialFiles.withdraw(copies.withLock { $0 }) }
}

extension StatementSpec {
  /// Files and folders that the statement reads or writes.
  private var places: some Sequence<String> {
    [tables.flatMap(\.scan.paths), change?.files.map(\.path) ?? [], outputDirectory.map { [$0] } ?? []].joined()
  }

  /// Whether some of it is in a bucket.
  public var isRemote: Bool { places.contains { S3Location.isS3($0) } }

  /// The keys among `ring`'s that open its places in buckets, and no others.
  public func keys(of ring: KeyRing) -> [StorageKeys] {
    guard !ring.isEmpty else { return [] }
    let files = fileReads.lazy.flatMap(\.files).map(\.path)
    return Set([AnySequence(places), AnySequence(files)].joined().lazy.filter { S3Location.isS3($0) }.compactMap { ring.keys(of: $0) })
      .sorted { $0.place < $1.place }
  }
}
