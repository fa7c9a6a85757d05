// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation
import Synchronization
public import Tensor
import Transport

/// The collective of ranks on one machine: a shared memory segment with two slots a rank.
///
/// Every operation is a sequence of phases. In phase n a rank writes its slot n mod 2, publishes n, waits until all have
/// published n, and reads all slots in rank order. A slot is written again in phase n + 2, which nobody enters before all
/// have published n + 1, and so have finished reading phase n. Buffers above the slot size take several phases.
///
/// Waiting spins for a moment when there is a core for every rank, gives the core away a few times, then sleeps on a futex;
/// it looks for dead peers 20 times a second. After an error the group is unusable on every rank: the gang starts again with a new name.
public final class SharedMemoryGroup: Collective {
  public let rank: Int
  public let worldSize: Int
  private let state: Mutex<Segment>

  /// Joins the group; blocks until all ranks have joined.
  /// - Parameters:
  ///   - name: the same on every rank, and new for every start of the gang (put the generation into it).
  ///   - capacityBytes: of one slot; the segment takes twice this for each rank.
  ///   - deadline: for joining, and for each wait of every operation.
  ///   - watch: asked 20 times a second while this rank waits; what it throws ends the wait. For who knows of a rank that has
  ///     ended before it joined.
  /// - Throws: `timeout` when a rank does not come, `unavailable` when one has died, `resourceExhausted` when
  ///   `/dev/shm` is too small, `invalidArgument`.
  public convenience init(
    name: String, rank: Int, worldSize: Int, capacityBytes: Int = 1 << 20, deadline: Duration = .seconds(30),
    watch: @escaping @Sendable () throws -> Void = {}
  ) throws {
    try self.init(
      name: name, rank: rank, worldSize: worldSize, capacityBytes: capacityBytes, deadline: deadline,
      processID: ProcessInfo.processInfo.processIdentifier, watch: watch)
  }

  init(
    name: String, rank: Int, worldSize: Int, capacityBytes: Int, deadline: Duration, processID: Int32,
    watch: @escaping @Sendable () throws -> Void = {}
  ) throws {
    guard worldSize > 0, worldSize <= 256, rank >= 0, rank < worldSize, capacityBytes >= 64, capacityBytes <= 1 << 30,
      !name.isEmpty, name.utf8.count <= 200
    else {
      throw PlatformError(
        .invalidArgument, "shared memory group '\(name)': rank \(rank) of \(worldSize), \(capacityBytes) bytes a slot")
    }
    self.rank = rank
    self.worldSize = worldSize
    let file = "/platform-" + String(SHA256Digest.hex(name).prefix(32))
    state = Mutex(
      try Segment(
        file: file, label: name, rank: rank, worldSize: worldSize, slotBytes: (capacityBytes + 63) & ~63,
        waitMilliseconds: deadline.wholeMilliseconds, processID: processID, watch: watch))
  }

  deinit { state.withLock { $0.leave() } }

  /// Tells the peers that this rank is gone, so that they fail at once instead of at their deadline. The group cannot be
  /// used afterwards. Letting go of the group does the same.
  public func leave() { state.withLock { $0.leave() } }

  public func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    let buffer = Loan(buffer)
    try state.withLock { try $0.reduce(buffer.pointer, count: count, with: SharedWords.sum) }
  }

  public func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    let buffer = Loan(buffer)
    try state.withLock { try $0.reduce(buffer.pointer, count: count, with: SharedWords.max) }
  }

  public func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
    let input = Loan(UnsafeMutablePointer(mutating: input))
    let output = Loan(output)
    try state.withLock { try $0.gather(input.pointer, count: count, into: output.pointer) }
  }

  public func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) throws {
    let buffer = Loan(buffer.assumingMemoryBound(to: UInt8.self))
    try state.withLock { try $0.broadcast(buffer.pointer, byteCount: byteCount, root: root) }
  }

  public func barrier() throws { try state.withLock { try $0.phase() } }
}

/// Lets a caller's buffer enter a closure that the compiler believes may outlive the call; it does not.
struct Loan<Element>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Element>
  init(_ pointer: UnsafeMutablePointer<Element>) { self.pointer = pointer }
}

extension Duration {
  var wholeMilliseconds: Int64 {
    let (seconds, attoseconds) = components
    return max(1, min(seconds, 1_000_000) * 1000 + attoseconds / 1_000_000_000_000_000)
  }
}

/// The mapped segment. Used under the group's lock only.
///
/// Layout: 64 bytes of header (words: magic, ranks, slot bytes, attached count), 64 bytes for each rank (words: published phase,
/// sleepers, process, state, start time of the process), then two slots for each rank.
private final class Segment {
  private static let magic: UInt32 = 0x3153_4C50
  private static let yields = 20
  private static let lookMilliseconds: Int64 = 50
  private enum Life { static let absent: UInt32 = 0, joined: UInt32 = 1, left: UInt32 = 2 }

  private let base: UnsafeMutableRawPointer
  private let size: Int
  private let label: String
  private let rank: Int
  private let worldSize: Int
  private let slotBytes: Int
  private let waitMilliseconds: Int64
  private let spins: Int
  private let watch: @Sendable () throws -> Void
  private var published: UInt32 = 0
  private var broken: PlatformError?

  init(
    file: String, label: String, rank: Int, worldSize: Int, slotBytes: Int, waitMilliseconds: Int64, processID: Int32,
    watch: @escaping @Sendable () throws -> Void
  ) throws {
    self.watch = watch
    self.label = label
    self.rank = rank
    self.worldSize = worldSize
    self.slotBytes = slotBytes
    self.waitMilliseconds = waitMilliseconds
    // A spinning rank takes the core that the late one needs; 400 pauses are some 10 to 30 microseconds.
    spins = ProcessInfo.processInfo.activeProcessorCount >= worldSize ? 400 : 0
    size = 64 + 64 * worldSize + 2 * worldSize * slotBytes
    let limit = monotonicMilliseconds() + waitMilliseconds
    if rank == 0 {
      base = try Self.create(file, size: size, worldSize: worldSize, slotBytes: slotBytes)
    } else {
      base = try Self.attach(
        file, label: label, size: size, worldSize: worldSize, slotBytes: slotBytes, rank: rank, limit: limit)
    }
    SharedWords.store(Self.word(base, rank, 2), UInt32(bitPattern: processID))
    SharedWords.store(Self.word(base, rank, 4), ProcessLife.startTime(of: processID) ?? 0)
    SharedWords.store(Self.word(base, rank, 3), Life.joined)
    SharedWords.add(Self.header(base, 3), 1)
    defer { if rank == 0 { ps_shared_memory_unlink(file) } }
    try phase()
  }

  deinit { munmap(base, size) }

  private static func header(_ base: UnsafeMutableRawPointer, _ index: Int) -> SharedWords.Word {
    (base + 4 * index).assumingMemoryBound(to: UInt32.self)
  }
  private static func word(_ base: UnsafeMutableRawPointer, _ rank: Int, _ index: Int) -> SharedWords.Word {
    (base + 64 + 64 * rank + 4 * index).assumingMemoryBound(to: UInt32.self)
  }
  private func slot(_ rank: Int) -> UnsafeMutableRawPointer {
    base + 64 + 64 * worldSize + (2 * rank + Int(published & 1)) * slotBytes
  }

  private static func create(_ file: String, size: Int, worldSize: Int, slotBytes: Int) throws -> UnsafeMutableRawPointer {
    // A segment of this name can only be left over from a crash: names are new for every start.
    ps_shared_memory_unlink(file)
    sweep()
    var code: Int32 = 0
    guard let base = ps_shared_memory_open(file, size, 1, &code) else {
      throw PlatformError(
        .resourceExhausted, "cannot make \(size) bytes of shared memory: \(String(cString: strerror(code)))")
    }
    // Reserve the pages now: a full /dev/shm would otherwise be a bus error in the middle of a sum.
    let descriptor = open("/dev/shm" + file, O_RDWR | O_CLOEXEC)
    let reserved = descriptor >= 0 ? posix_fallocate(descriptor, 0, off_t(size)) : 0
    if descriptor >= 0 { close(descriptor) }
    guard reserved == 0 else {
      munmap(base, size)
      ps_shared_memory_unlink(file)
      throw PlatformError(
        .resourceExhausted, "/dev/shm has no \(size) bytes left: \(String(cString: strerror(reserved)))",
        hint: "Make /dev/shm larger or the slots smaller.")
    }
    SharedWords.store(header(base, 1), UInt32(worldSize))
    SharedWords.store(header(base, 2), UInt32(slotBytes))
    SharedWords.store(header(base, 0), magic)
    return base
  }

  /// Removes segments whose first rank was killed before the others had joined, when nobody was left to do so: their names are never used again.
  private static func sweep() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/dev/shm")) ?? [] {  // cannot be listed: nothing to remove
      guard name.hasPrefix("platform-"), name.utf8.count == 41 else { continue }
      let descriptor = open("/dev/shm/" + name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      var facts = stat()
      var words = [UInt32](repeating: 0, count: 32)
      guard fstat(descriptor, &facts) == 0, facts.st_uid == geteuid() else { continue }
      let count = pread(descriptor, &words, 128, 0)
      // One that is being made has no process yet.
      let isNew = facts.st_mtim.tv_sec + 600 > time(nil)
      let process = Int32(bitPattern: words[18])
      guard count == 128, words[0] == magic, process > 0 ? ProcessLife.hasEnded(process, startTime: words[20]) : !isNew else { continue }
      ps_shared_memory_unlink("/" + name)
    }
  }

  /// Waits for rank 0's segment. A left-over one is told from it by its members being gone.
  private static func attach(
    _ file: String, label: String, size: Int, worldSize: Int, slotBytes: Int, rank: Int, limit: Int64
  ) throws -> UnsafeMutableRawPointer {
    while monotonicMilliseconds() < limit {
      var facts = stat()
      var code: Int32 = 0
      // Mapping a file that is still empty would be a bus error at the first touch.
      if stat("/dev/shm" + file, &facts) == 0, facts.st_size == size, let base = ps_shared_memory_open(file, size, 0, &code) {
        if SharedWords.load(header(base, 0)) == magic {
          guard SharedWords.load(header(base, 1)) == UInt32(worldSize),
            SharedWords.load(header(base, 2)) == UInt32(slotBytes)
          else {
            munmap(base, size)
            throw PlatformError(.invalidArgument, "the ranks of '\(label)' disagree about the group's size")
          }
          let first = Int32(bitPattern: SharedWords.load(word(base, 0, 2)))
          if first > 0, kill(first, 0) == 0 || errno != ESRCH, SharedWords.load(word(base, rank, 3)) == Life.absent {
            return base
          }
        }
        munmap(base, size)
      } else if facts.st_size > 0 && facts.st_size != size && facts.st_mtim.tv_sec + 2 < time(nil) {
        throw PlatformError(.invalidArgument, "the ranks of '\(label)' disagree about the group's size")
      }
      usleep(2000)
    }
    throw PlatformError(.timeout, "rank 0 of '\(label)' did not come")
  }

  func leave() {
    guard SharedWords.load(Self.word(base, rank, 3)) == Life.joined else { return }
    SharedWords.store(Self.word(base, rank, 3), Life.left)
    SharedWords.wakeAll(Self.word(base, rank, 0))
    if broken == nil { broken = PlatformError(.unavailable, "this rank has left '\(label)'") }
  }

  /// Publishes the next phase and waits for all others.
  func phase() throws {
    published &+= 1
    try meet()
  }

  /// Publishes `published` and waits until every rank has.
  private func meet() throws {
    if let broken { throw broken }
    let mine = Self.word(base, rank, 0)
    SharedWords.store(mine, published)
    if SharedWords.load(Self.word(base, rank, 1)) > 0 { SharedWords.wakeAll(mine) }
    for peer in 0..<worldSize where peer != rank {
      do {
        try wait(for: peer)
      } catch {
        let failure = PlatformError.from(error)
        leave()
        broken = failure
        throw failure
      }
    }
  }

  private func wait(for peer: Int) throws {
    let word = Self.word(base, peer, 0)
    let sleepers = Self.word(base, peer, 1)
    func arrived(_ value: UInt32) -> Bool { Int32(bitPattern: value &- published) >= 0 }
    for _ in 0..<spins {
      if arrived(SharedWords.load(word)) { return }
      SharedWords.relax()
    }
    for _ in 0..<Self.yields {
      sched_yield()
      if arrived(SharedWords.load(word)) { return }
    }
    let limit = monotonicMilliseconds() + waitMilliseconds
    var nextLook = monotonicMilliseconds() + Self.lookMilliseconds
    SharedWords.add(sleepers, 1)
    defer { SharedWords.add(sleepers, UInt32.max) }
    while true {
      let value = SharedWords.load(word)
      if arrived(value) { return }
      let now = monotonicMilliseconds()
      if SharedWords.load(Self.word(base, peer, 3)) == Life.left || now >= nextLook {
        nextLook = now + Self.lookMilliseconds
        try watch()
        // Any rank that has gone ends this phase for all, not only the one that is waited for.
        for other in 0..<worldSize where other != rank && hasGone(other) {
          // It may have published just before it went.
          if arrived(SharedWords.load(Self.word(base, other, 0))) { continue }
          throw PlatformError(.unavailable, "rank \(other) of '\(label)' has gone", number: "PLT-2150")
        }
      }
      let left = limit - now
      guard left > 0 else {
        throw PlatformError(
          .timeout, "rank \(peer) of '\(label)' did not come within \(waitMilliseconds) ms", number: "PLT-2151")
      }
      SharedWords.wait(word, while: value, milliseconds: Int32(min(left, Self.lookMilliseconds)))
    }
  }

  private func hasGone(_ peer: Int) -> Bool {
    switch SharedWords.load(Self.word(base, peer, 3)) {
    case Life.left: true
    case Life.joined:
      ProcessLife.hasEnded(
        Int32(bitPattern: SharedWords.load(Self.word(base, peer, 2))), startTime: SharedWords.load(Self.word(base, peer, 4)))
    default: false
    }
  }

  // MARK: Operations

  func reduce(
    _ buffer: UnsafeMutablePointer<Float>, count: Int,
    with combine: (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void
  ) throws {
    try check(count)
    var done = 0
    repeat {
      let part = min(count - done, slotBytes / 4)
      published &+= 1
      slot(rank).copyMemory(from: buffer + done, byteCount: part * 4)
      try meet()
      (UnsafeMutableRawPointer(buffer + done)).copyMemory(from: slot(0), byteCount: part * 4)
      for peer in 1..<max(1, worldSize) { combine(buffer + done, slot(peer).assumingMemoryBound(to: Float.self), part) }
      done += part
    } while done < count
  }

  func gather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
    try check(count)
    var done = 0
    repeat {
      let part = min(count - done, slotBytes / 4)
      published &+= 1
      slot(rank).copyMemory(from: input + done, byteCount: part * 4)
      try meet()
      for peer in 0..<worldSize {
        UnsafeMutableRawPointer(output + peer * count + done).copyMemory(from: slot(peer), byteCount: part * 4)
      }
      done += part
    } while done < count
  }

  func broadcast(_ buffer: UnsafeMutablePointer<UInt8>, byteCount: Int, root: Int) throws {
    try check(byteCount)
    guard root >= 0 && root < worldSize else { throw PlatformError(.invalidArgument, "there is no rank \(root)") }
    var done = 0
    repeat {
      let part = min(byteCount - done, slotBytes)
      published &+= 1
      if rank == root { slot(rank).copyMemory(from: buffer + done, byteCount: part) }
      try meet()
      if rank != root { UnsafeMutableRawPointer(buffer + done).copyMemory(from: slot(root), byteCount: part) }
      done += part
    } while done < byteCount
  }

  private func check(_ count: Int) throws {
    if let broken { throw broken }
    guard count >= 0 else { throw PlatformError(.invalidArgument, "a collective of \(count) elements") }
  }
}
