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

  private static let fetchers = BlockingPool(name: "fetch-files", threads: 8)

  /// - Parameter folder: the attempt's own folder.
  init(folder: String, keepsCopies: Bool, keys: KeyRing, isCancelled: @escaping @Sendable () -> Bool) {
    self.folder = folder
    self.keys = keys
    self.keepsCopies = keepsCopies
    self.isCancelled = isCancelled
  }

  deinit { remove(kept) }

  /// Where the objects of `list` lie now, by position. A few are fetched at once; files of this machine are not in the answer.
  /// - Throws: what kept a store from answering: the work is repeated, the object is not taken for a bad one.
  func provide(_ list: ArraySlice<FileRead.File>) throws -> [Int: Place] {
    let wanted = list.indices.filter { S3Location.isS3(list[$0].path) && kept[$0] == nil }
    var places = kept.filter { list.indices.contains($0.key) }
    guard !wanted.isEmpty else { return places }
    let (folder, keys, isCancelled, files) = (folder, keys, isCancelled, wanted.map { list[$0] })
    let copies = wanted.map { _ in "\(folder)/object-\(UUID().uuidString.lowercased())" }
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
      throw PlatformError.from(error, context: "making a folder for copies of objects")
    }
    let missing = Mutex<Set<Int>>([])
    do {
      try Self.fetchers.forEach(files.count, atOnce: 8) { number in
        if isCancelled() { throw CancellationError() }
        let (store, path) = try ObjectStores.open(files[number].path, keys: keys)
        do {
          _ = try store.download(path, to: copies[number])
        } catch let error as PlatformError where error.code == .notFound {
          _ = missing.withLock { $0.insert(number) }
        }
      }
    } catch {
      for copy in copies { unlink(copy) }
      throw error
    }
    let gone = missing.withLock { $0 }
    for (number, index) in wanted.enumerated() { places[index] = gone.contains(number) ? .gone : .local(copies[number]) }
    if keepsCopies { kept.merge(places) { first, _ in first } }
    return places
  }

  /// The copies are open now, or will not be opened: their names go.
  func release(_ places: [Int: Place]) {
    if !keepsCopies { remove(places) }
  }

  private func remove(_ places: [Int: Place]) {
    for case .local(let copy) in places.values { unlink(copy) }
  }
}
