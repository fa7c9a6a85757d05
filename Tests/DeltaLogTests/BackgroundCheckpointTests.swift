// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import TestSupport
import Testing

@testable import DeltaLog

/// Checkpoints behind the commits, and commits that wait for files which the disk may not have yet.
@Suite struct BackgroundCheckpointTests {
  private func table(_ store: any ObjectStorage, _ cache: SnapshotCache) throws -> DeltaTable {
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: cache)
    _ = try table.create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "3"])
    return table
  }

  private func names(_ store: any ObjectStorage) throws -> [String] {
    try store.list(ObjectPath("t/_delta_log")).map(\.path.text).filter { $0.hasSuffix(".checkpoint.parquet") }
  }

  @Test func checkpointsAreWrittenBehindCommits() throws {
    let store = InMemoryObjectStore()
    let cache = SnapshotCache(checkpointsBehind: true)
    let table = try table(store, cache)
    for index in 0..<7 {
      #expect(try table.append([AddFile(relativePath: "f\(index)", size: 1, statistics: nil)]).checkpointProblem == nil)
      #expect(cache.waitForCheckpoints(seconds: 60))
    }
    #expect(try names(store).count == 2)
    #expect(try table.snapshot().files.count == 7)
    #expect(try store.head(ObjectPath("t/_delta_log/_last_checkpoint")) != nil)
  }

  /// One at a time; what goes wrong is told once, later.
  @Test func oneCheckpointAtATime() throws {
    let checkpoints = BackgroundCheckpoints()
    let gate = DispatchSemaphore(value: 0)
    let count = Mutex(0)
    #expect(
      checkpoints.begin {
        gate.wait()
        count.withLock { $0 += 1 }
        throw PlatformError(.resourceExhausted, "the disk is full")
      } == nil)
    #expect(checkpoints.begin { count.withLock { $0 += 100 } } == nil)
    #expect(!checkpoints.wait(seconds: 0))
    gate.signal()
    #expect(checkpoints.wait(seconds: 60))
    #expect(checkpoints.begin { count.withLock { $0 += 1 } }?.message == "the disk is full")
    #expect(checkpoints.wait(seconds: 60))
    #expect(checkpoints.begin { count.withLock { $0 += 1 } } == nil)
    #expect(checkpoints.wait(seconds: 60))
    #expect(count.withLock { $0 } == 3)
  }

  /// A commit that cannot have its files on the disk is none, for whoever asks how often.
  @Test func commitsWaitForTheirFiles() throws {
    let folder = TemporaryDirectory("unsynced")
    let store = try LocalObjectStore(root: folder.path)
    let table = try table(store, SnapshotCache(groupsAppends: true))
    func file(_ name: String) throws -> UnsyncedFile {
      let path = folder.file("t/" + name)
      let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw PlatformError.system("create", path) }
      return UnsyncedFile(descriptor: descriptor, path: path)
    }
    let add = AddFile(relativePath: "a", size: 0, statistics: nil)
    let sound = try file("a")
    #expect(try table.append([add], unsynced: [sound]).version == 1)
    try sound.sync()  // again, without effect
    // A pipe has no disk: fsync refuses it.
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    defer { close(ends[0]) }
    let damaged = UnsyncedFile(descriptor: ends[1], path: folder.file("t/b"))
    for _ in 0..<2 {
      #expect(throws: PlatformError.self) { try table.append([AddFile(relativePath: "b", size: 0, statistics: nil)], unsynced: [damaged]) }
    }
    #expect(try table.snapshot().version == 1)
    let memory = InMemoryObjectStore()
    #expect(throws: PlatformError.self) { try memory.putIfAbsent(ObjectPath("x"), Data(), behind: [damaged]) }
    #expect(try memory.head(ObjectPath("x")) == nil)
  }
}
