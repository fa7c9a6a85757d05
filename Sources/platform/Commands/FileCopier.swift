// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Synchronization

/// Copies files between this machine and volumes, one after the other, in streams.
struct FileCopier {
  let client: PlatformClient
  let overwrite: Bool
  let recursive: Bool
  let progress = CopyProgress()

  /// - Parameter intoFolder: the target was written with a slash at its end: it is a folder also when it is not there yet.
  func upload(_ source: String, to target: String, intoFolder: Bool) async throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: source, isDirectory: &isFolder) else {
      throw PlatformError(.notFound, "no such file or folder", path: source)
    }
    let name = (source as NSString).lastPathComponent
    guard isFolder.boolValue else {
      let there = try await client.look(atFile: target)
      let path = intoFolder || there?.isDirectory == true ? "\(target)/\(name)" : target
      return try await send(source, to: path)
    }
    guard recursive else { throw PlatformError(.invalidArgument, "'\(source)' is a folder", hint: "Copy it with -r.") }
    try await client.makeFolder(target)
    guard let walk = FileManager.default.enumerator(atPath: source) else { throw PlatformError(.notFound, "cannot read the folder", path: source) }
    while let below = walk.nextObject() as? String {
      let kind = walk.fileAttributes?[.type] as? FileAttributeType
      if kind == .typeDirectory {
        try await client.makeFolder("\(target)/\(below)")
      } else if kind == .typeRegular {
        try await send("\(source)/\(below)", to: "\(target)/\(below)")
      } else {
        Report.note("! \(source)/\(below) is neither a file nor a folder: left out")
      }
    }
  }

  private func send(_ source: String, to target: String) async throws {
    guard let file = FileHandle(forReadingAtPath: source) else { throw PlatformError(.notFound, "cannot open the file", path: source) }
    defer { try? file.close() }  // nothing was written
    let size = Int64(try file.seekToEnd())
    try file.seek(toOffset: 0)
    progress.begin(target, size: size)
    try await client.upload(target, size: size, overwrite: overwrite, FilePieces(file: file, progress: progress))
  }

  func download(_ source: String, to target: String) async throws {
    guard let found = try await client.look(atFile: source) else {
      throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: source)
    }
    let name = (source as NSString).lastPathComponent
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: target, isDirectory: &isFolder)
    guard found.isDirectory else {
      return try await fetch(source, found, to: exists && isFolder.boolValue ? "\(target)/\(name)" : target)
    }
    guard recursive else { throw PlatformError(.invalidArgument, "'\(source)' is a folder", hint: "Copy it with -r.") }
    var waiting = [(source, target)]
    while let (folder, local) = waiting.popLast() {
      try FileManager.default.createDirectory(atPath: local, withIntermediateDirectories: true)
      for entry in try await client.files(in: folder) {
        // A name from outside becomes a path here.
        guard !entry.name.utf8.contains(UInt8(ascii: "/")), entry.name != "..", entry.name != "." else { continue }
        if entry.isDirectory {
          waiting.append((entry.path, "\(local)/\(entry.name)"))
        } else if let facts = try await client.look(atFile: entry.path) {
          try await fetch(entry.path, facts, to: "\(local)/\(entry.name)")
        }
      }
    }
  }

  /// Into a file beside the target that carries the content's tag in its name: what an earlier call left of the same content is kept.
  private func fetch(_ source: String, _ facts: PlatformClient.FileFacts, to target: String) async throws {
    if FileManager.default.fileExists(atPath: target) && !overwrite {
      throw PlatformError(.alreadyExists, "there is a file of this name", hint: "Use --overwrite.", path: target)
    }
    let part = "\(target).\(SHA256Digest.hex(facts.tag).prefix(12)).part"
    if !FileManager.default.fileExists(atPath: part) {
      guard FileManager.default.createFile(atPath: part, contents: nil) else { throw PlatformError(.permissionDenied, "cannot write the file", path: part) }
    }
    guard let file = FileHandle(forWritingAtPath: part) else { throw PlatformError(.permissionDenied, "cannot write the file", path: part) }
    defer { try? file.close() }  // what matters was synchronised before
    var at = Int64(try file.seekToEnd())
    if at > facts.size {
      try file.truncate(atOffset: 0)
      at = 0
    }
    progress.begin(target, size: facts.size, done: at)
    var attempt = 0
    while at < facts.size {
      do {
        try await client.download(source, from: at, tag: facts.tag) { data in
          try file.write(contentsOf: data)
          at += Int64(data.count)
          progress.advance(Int64(data.count))
        }
        guard at == facts.size else { throw PlatformError(.unavailable, "the download broke off", path: source) }
      } catch let error as PlatformError where error.code == .unavailable && attempt < 5 {
        attempt += 1
        try await Task.sleep(for: .milliseconds(200 << attempt))
      }
    }
    try file.synchronize()
    guard rename(part, target) == 0 else { throw PlatformError.system("rename the download", target) }
  }

  /// From a volume to a volume, through this machine but not its disk.
  func copy(_ source: String, to target: String) async throws {
    guard let found = try await client.look(atFile: source) else {
      throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: source)
    }
    guard found.isDirectory else {
      let there = try await client.look(atFile: target)
      return try await pipe(source, found.size, to: there?.isDirectory == true ? "\(target)/\((source as NSString).lastPathComponent)" : target)
    }
    guard recursive else { throw PlatformError(.invalidArgument, "'\(source)' is a folder", hint: "Copy it with -r.") }
    guard !(target + "/").hasPrefix(source + "/") else { throw PlatformError(.invalidArgument, "a folder cannot be copied into itself") }
    var waiting = [(source, target)]
    while let (from, to) = waiting.popLast() {
      try await client.makeFolder(to)
      for entry in try await client.files(in: from) {
        if entry.isDirectory {
          waiting.append((entry.path, "\(to)/\(entry.name)"))
        } else {
          try await pipe(entry.path, entry.fileSize ?? 0, to: "\(to)/\(entry.name)")
        }
      }
    }
  }

  private func pipe(_ source: String, _ size: Int64, to target: String) async throws {
    progress.begin(target, size: size)
    let (client, progress) = (client, progress)
    let pieces = Handover()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          try await client.download(source) { data in
            progress.advance(Int64(data.count))
            try await pieces.put(data)
          }
          await pieces.end(nil)
        } catch { await pieces.end(error) }
      }
      group.addTask {
        do { try await client.upload(target, size: size, overwrite: overwrite, pieces) } catch {
          await pieces.abandon()
          throw error
        }
      }
      try await group.waitForAll()
    }
  }
}

/// The pieces of a file, read as they are wanted.
struct FilePieces: AsyncSequence, Sendable {
  let file: FileHandle
  let progress: CopyProgress

  struct AsyncIterator: AsyncIteratorProtocol {
    let file: FileHandle
    let progress: CopyProgress
    mutating func next() async throws -> Data? {
      let file = file
      let piece = try await BlockingPool.shared.run { try file.read(upToCount: 1 << 20) }
      progress.advance(Int64(piece?.count ?? 0))
      return piece?.isEmpty == false ? piece : nil
    }
  }
  func makeAsyncIterator() -> AsyncIterator { AsyncIterator(file: file, progress: progress) }
}

/// Hands pieces from one task to another, one at a time: whoever puts waits until the piece before was taken.
actor Handover: AsyncSequence {
  typealias Element = Data
  private var piece: Data?
  private var ended = false
  private var abandoned = false
  private var failure: (any Error)?
  private var taker: CheckedContinuation<Void, Never>?
  private var putter: CheckedContinuation<Void, Never>?

  /// - Throws: `CancellationError` when nobody takes any more.
  func put(_ data: Data) async throws {
    while piece != nil && !abandoned { await withCheckedContinuation { putter = $0 } }
    if abandoned { throw CancellationError() }
    piece = data
    taker?.resume()
    taker = nil
  }

  /// Whoever takes has given up.
  func abandon() {
    abandoned = true
    putter?.resume()
    putter = nil
  }

  func end(_ error: (any Error)?) {
    ended = true
    failure = error
    taker?.resume()
    taker = nil
  }

  func take() async throws -> Data? {
    while piece == nil && !ended { await withCheckedContinuation { taker = $0 } }
    if let failure { throw failure }
    let taken = piece
    piece = nil
    putter?.resume()
    putter = nil
    return taken
  }

  struct AsyncIterator: AsyncIteratorProtocol {
    let handover: Handover
    mutating func next() async throws -> Data? { try await handover.take() }
  }
  nonisolated func makeAsyncIterator() -> AsyncIterator { AsyncIterator(handover: self) }
}

/// How far a copy is: shown on the standard error when that is a terminal.
final class CopyProgress: Sendable {
  private struct State {
    var files = 0
    var bytes: Int64 = 0
    var name = ""
    var size: Int64 = 0
    var done: Int64 = 0
    var shown = ContinuousClock.now
    let started = ContinuousClock.now
  }
  private let state = Mutex(State())
  private let isShown = isatty(STDERR_FILENO) == 1

  func begin(_ name: String, size: Int64, done: Int64 = 0) {
    state.withLock { state in
      state.files += 1
      (state.name, state.size, state.done) = (name, size, done)
    }
  }

  func advance(_ count: Int64) {
    let line = state.withLock { state -> String? in
      state.bytes += count
      state.done += count
      guard isShown, ContinuousClock.now - state.shown > .milliseconds(200) else { return nil }
      state.shown = .now
      let rate = Double(state.bytes) / max(0.001, (state.shown - state.started) / .seconds(1))
      let left = rate > 0 ? Int(Double(max(0, state.size - state.done)) / rate) : 0
      return "\(ByteText.of(state.done)) of \(ByteText.of(state.size))  \(ByteText.of(Int64(rate)))/s  \(left) s left  \(state.name)"
    }
    if let line { StandardStreams.error("\r\u{1B}[K\(line.prefix(120))") }
  }

  func finish() {
    if isShown { StandardStreams.error("\r\u{1B}[K") }
  }

  var summary: String {
    state.withLock { state in
      let rate = Double(state.bytes) / max(0.001, (ContinuousClock.now - state.started) / .seconds(1))
      return "\(state.files) file\(state.files == 1 ? "" : "s"), \(ByteText.of(state.bytes)), \(ByteText.of(Int64(rate)))/s"
    }
  }
}
