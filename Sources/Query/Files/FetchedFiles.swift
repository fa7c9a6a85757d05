// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization

/// Local copies of objects that are about to be read: the engine is shut off from the network. Files of this machine are read where
/// they are.
final class FetchedFiles {
  enum Place {
    case local(String)
    /// The object is no longer there.
    case gone
  }

  private let folder: String
  /// Whether copies stay until all is read.
  private let keepsCopies: Bool
  private let keys: KeyRing
  private let isCancelled: @Sendable () -> Bool
  private var kept: [Int: Place] = [:]
  /// What is on its way while others are read, with positions.
  private var ahead: (indices: [Int], fetch: Fetch)?
  /// The objects that were fetched, by position, as they were then: others may have been listed.
  private(set) var found: [Int: ObjectInfo] = [:]

  private static let atOnce = 16
  private static let fetchers = BlockingPool(name: "fetch-files", threads: atOnce)
  /// Of the objects that are fetched before they are needed; they take room on the disk beside those that are read.
  private static let aheadBytes: Int64 = 256 << 20

  /// - Parameter folder: the attempt's own folder.
  init(folder: String, keepsCopies: Bool, keys: KeyRing, isCancelled: @escaping @Sendable () -> Bool) {
    self.folder = folder
    self.keys = keys
    self.keepsCopies = keepsCopies
    self.isCancelled = isCancelled
  }

  deinit {
    ahead?.fetch.abandon()
    remove(kept)
  }

  /// Where the objects of `list` lie now, by position. Several are fetched at once; files of this machine are not in the answer.
  /// - Throws: what kept a store from answering: the work is repeated, the object is not taken for a bad one.
  func provide(_ list: ArraySlice<FileRead.File>) throws -> [Int: Place] {
    var places = kept.filter { list.indices.contains($0.key) }
    if let (indices, fetch) = ahead, indices.contains(where: { list.indices.contains($0) }) {
      ahead = nil
      fetch.wait()
      places.merge(try take(fetch, indices)) { first, _ in first }
    }
    let wanted = list.indices.filter { S3Location.isS3(list[$0].path) && places[$0] == nil }
    guard !wanted.isEmpty else { return places }
    let fetch = try fetch(wanted.map { list[$0] })
    fetch.run(Self.fetchers, atOnce: Self.atOnce)
    places.merge(try take(fetch, wanted)) { first, _ in first }
    return places
  }

  /// Begins to fetch objects that `provide` will be asked for next.
  func begin(_ list: ArraySlice<FileRead.File>) throws {
    guard ahead == nil else { return }
    var bytes: Int64 = 0
    let wanted = list.indices.filter { S3Location.isS3(list[$0].path) && kept[$0] == nil }.prefix {
      bytes += list[$0].sizeBytes
      return bytes <= Self.aheadBytes
    }
    guard !wanted.isEmpty else { return }
    let fetch = try fetch(wanted.map { list[$0] })
    // Without a free place in the queue they are fetched when they are needed.
    guard (try? Self.fetchers.submit { fetch.run(Self.fetchers, atOnce: Self.atOnce) }) != nil else { return }
    ahead = (Array(wanted), fetch)
  }

  /// The copies are open now, or will not be opened: their names go.
  func release(_ places: [Int: Place]) {
    if !keepsCopies { remove(places) }
  }

  private func fetch(_ files: [FileRead.File]) throws -> Fetch {
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
      throw PlatformError.from(error, context: "making a folder for copies of objects")
    }
    let folder = folder
    return Fetch(
      files, copies: files.map { _ in "\(folder)/object-\(UUID().uuidString.lowercased())" }, keys: keys, isCancelled: isCancelled)
  }

  private func take(_ fetch: Fetch, _ indices: [Int]) throws -> [Int: Place] {
    let objects = try fetch.result()
    var places: [Int: Place] = [:]
    for (number, index) in indices.enumerated() {
      places[index] = objects[number] == nil ? .gone : .local(fetch.copies[number])
      found[index] = objects[number]
    }
    if keepsCopies { kept.merge(places) { first, _ in first } }
    return places
  }

  private func remove(_ places: [Int: Place]) {
    for case .local(let copy) in places.values { unlink(copy) }
  }
}

/// Some objects that are fetched together: all of them, or an error and no copies.
private final class Fetch: Sendable {
  private struct State {
    /// Nil: not there.
    var objects: [ObjectInfo?]
    var failure: (any Error)?
    var isDone = false
    var isAbandoned = false
  }

  let copies: [String]
  private let files: [FileRead.File]
  private let keys: KeyRing
  private let isCancelled: @Sendable () -> Bool
  private let state: Mutex<State>
  private let done = DispatchSemaphore(value: 0)

  init(_ files: [FileRead.File], copies: [String], keys: KeyRing, isCancelled: @escaping @Sendable () -> Bool) {
    self.files = files
    self.copies = copies
    self.keys = keys
    self.isCancelled = isCancelled
    state = Mutex(State(objects: files.map { _ in nil }))
  }

  /// Fetches them, on this thread and others of the pool. Called once.
  func run(_ pool: BlockingPool, atOnce: Int) {
    var failure: (any Error)?
    do { try pool.forEach(files.count, atOnce: atOnce) { try self.fetch($0) } } catch { failure = error }
    let isKept = state.withLock { state in
      (state.isDone, state.failure) = (true, failure)
      return failure == nil && !state.isAbandoned
    }
    if !isKept { removeCopies() }
    done.signal()
  }

  private func fetch(_ number: Int) throws {
    if isCancelled() || state.withLock({ $0.isAbandoned }) { throw CancellationError() }
    let (store, path) = try ObjectStores.open(files[number].path, keys: keys)
    do {
      let info = try store.fetch(path, to: copies[number])
      state.withLock { $0.objects[number] = info }
    } catch let error as PlatformError where error.code == .notFound && error.number.isEmpty {
      unlink(copies[number])
    }
  }

  func wait() { done.wait() }

  /// The objects as they were read, nil for those that are gone. Behind `run`.
  func result() throws -> [ObjectInfo?] {
    let (objects, failure) = state.withLock { ($0.objects, $0.failure) }
    if let failure { throw failure }
    return objects
  }

  /// Nobody will read the copies: they go now, or when what is under way has ended.
  func abandon() {
    let isDone = state.withLock { state in
      state.isAbandoned = true
      return state.isDone
    }
    if isDone { removeCopies() }
  }

  private func removeCopies() { for copy in copies { unlink(copy) } }
}
