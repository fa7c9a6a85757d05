// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Transport

/// The sockets of one rank and the exchange of frames between all ranks. Used under the group's lock only.
///
/// A frame is a 28-byte header (u64 generation, u64 operation, u32 kind, u32 index, u32 bytes; little-endian) and its payload.
/// Who sent it is known from the key of the connection.
final class Mesh {
  private enum Kind { static let data: UInt32 = 1, leave: UInt32 = 2 }
  private static let headerBytes = 28
  /// What a lost peer sent before may still be on its way through our own queues for so long without any progress.
  private static let graceMilliseconds: Int64 = 300

  private let listener: RankListener
  private let rank: Int
  private let worldSize: Int
  private let generation: UInt64
  private let ranks: [String: Int]
  private let waitMilliseconds: Int64
  private let peers: [PeerAddress]
  private let router: Socket
  private var dealers: [Socket?] = []
  private var operation: UInt64 = 0
  /// Frames of this and the next two operations, by sender, that were not used yet.
  private var inbox: [Slot: Data] = [:]
  /// Last operation that a rank took part in before it left.
  private var departed: [Int: UInt64] = [:]
  /// Peers whose connection stood, and since when it does not: their process was killed, or their machine cannot be reached.
  private var established: Set<Int> = []
  /// When to try anew to reach a peer, and how long to wait the next time: libzmq does not always come back by itself after
  /// a handshake that was refused, as it is by a peer that does not yet know the members of its group.
  private var retries: [Int: (at: Int64, interval: Int64)] = [:]
  private var lost: [Int: Int64] = [:]
  private var broken: PlatformError?

  private struct Slot: Hashable {
    var operation: UInt64
    var rank: Int
    var index: UInt32
  }

  init(
    listener: RankListener, rank: Int, worldSize: Int, generation: UInt64, peers: [PeerAddress], ranks: [String: Int],
    waitMilliseconds: Int64
  ) throws {
    self.listener = listener
    self.rank = rank
    self.worldSize = worldSize
    self.generation = generation
    self.ranks = ranks
    self.waitMilliseconds = waitMilliseconds
    self.peers = peers
    router = try listener.take()
    for peer in peers {
      dealers.append(peer.rank == rank ? nil : try open(peer))
      retries[peer.rank] = (monotonicMilliseconds() + 1000, 1000)
    }
  }

  private func open(_ peer: PeerAddress) throws -> Socket {
    let socket = try Socket(.dealer, context: listener.context, limits: TransportGroup.limits)
    try socket.authenticate(keys: listener.keys, server: try CurvePublicKey(peer.publicKey))
    try socket.watchConnections()
    try socket.connect(peer.address)
    return socket
  }

  func leave() {
    if broken == nil {
      let last = header(Kind.leave, index: 0, bytes: 0)
      for dealer in dealers { _ = dealer?.send([last, Data()]) }
      broken = PlatformError(.unavailable, "this rank has left the group")
    }
    for dealer in dealers { dealer?.close() }
    dealers = []
    router.close()
    listener.context.shutdown()
    inbox = [:]
  }

  private func header(_ kind: UInt32, index: UInt32, bytes: Int) -> Data {
    var out = Data(capacity: Self.headerBytes)
    func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    put(generation)
    put(operation)
    put(kind)
    put(index)
    put(UInt32(bytes))
    return out
  }

  // MARK: Operations

  func reduce(
    _ buffer: UnsafeMutablePointer<Float>, count: Int,
    with combine: (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void
  ) throws {
    try check(count)
    let frame = TransportGroup.frameBytes / 4
    // What is sent must stay as it was while sums are formed: frames leave before their part is overwritten.
    try exchange(
      UnsafeRawBufferPointer(start: buffer, count: count * 4), to: everyone, from: everyone
    ) { index, parts in
      let start = Int(index) * frame
      let size = min(frame, count - start)
      guard size > 0 else { return }
      let target = buffer + start
      // The own part goes aside, so that the order of the sum is the order of the ranks.
      let own = UnsafeMutablePointer<Float>.allocate(capacity: size)
      defer { own.deallocate() }
      own.update(from: target, count: size)
      for peer in 0..<parts.count {
        func use(_ source: UnsafePointer<Float>) {
          if peer == 0 { target.update(from: source, count: size) } else { combine(target, source, size) }
        }
        if let data = parts[peer] {
          Self.withFloats(data, size, use)
        } else {
          use(own)
        }
      }
    }
  }

  func gather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
    try check(count)
    let frame = TransportGroup.frameBytes / 4
    let own = rank
    (output + own * count).update(from: input, count: count)
    try exchange(UnsafeRawBufferPointer(start: input, count: count * 4), to: everyone, from: everyone) { index, parts in
      let start = Int(index) * frame
      for (peer, data) in parts.enumerated() {
        guard let data, !data.isEmpty else { continue }
        data.withUnsafeBytes {
          UnsafeMutableRawPointer(output + peer * count + start).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
      }
    }
  }

  func broadcast(_ buffer: UnsafeMutablePointer<UInt8>, byteCount: Int, root: Int) throws {
    try check(byteCount)
    guard root >= 0 && root < worldSize else { throw PlatformError(.invalidArgument, "there is no rank \(root)") }
    let bytes = UnsafeRawBufferPointer(start: buffer, count: byteCount)
    if rank == root {
      try exchange(bytes, to: everyone, from: []) { _, _ in }
    } else {
      try exchange(bytes, to: [], from: [root]) { index, parts in
        guard let data = parts[root], !data.isEmpty else { return }
        let start = Int(index) * TransportGroup.frameBytes
        data.withUnsafeBytes {
          UnsafeMutableRawPointer(buffer + start).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
      }
    }
    // Keeps the root from running ahead of its readers.
    try barrier()
  }

  func barrier() throws {
    try check(0)
    try exchange(UnsafeRawBufferPointer(start: nil, count: 0), to: everyone, from: everyone) { _, _ in }
  }

  private var everyone: [Int] { (0..<worldSize).filter { $0 != rank } }

  private func check(_ count: Int) throws {
    if let broken { throw broken }
    guard count >= 0, count < 1 << 40 else { throw PlatformError(.invalidArgument, "a collective of \(count) elements") }
  }

  private static func withFloats(_ data: Data, _ count: Int, _ body: (UnsafePointer<Float>) -> Void) {
    data.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      if Int(bitPattern: base) % 4 == 0 {
        body(base.assumingMemoryBound(to: Float.self))
      } else {
        let copy = UnsafeMutablePointer<Float>.allocate(capacity: count)
        defer { copy.deallocate() }
        UnsafeMutableRawPointer(copy).copyMemory(from: base, byteCount: count * 4)
        body(copy)
      }
    }
  }

  // MARK: Exchange

  /// One operation: sends `bytes` in frames to `receivers`, takes as many bytes from each of `senders`, and calls `use`
  /// for each frame index, in order, when that frame has left to all receivers and has come from all senders.
  private func exchange(
    _ bytes: UnsafeRawBufferPointer, to receivers: [Int], from senders: [Int], use: (UInt32, [Data?]) -> Void
  ) throws {
    operation += 1
    do {
      try run(bytes, to: receivers, from: senders, use: use)
    } catch {
      let failure = PlatformError.from(error)
      operation -= 1  // the last one that was completed: what `leave` tells the others
      leave()
      broken = failure
      throw failure
    }
  }

  private func run(
    _ bytes: UnsafeRawBufferPointer, to receivers: [Int], from senders: [Int], use: (UInt32, [Data?]) -> Void
  ) throws {
    let frame = TransportGroup.frameBytes
    let frames = max(1, (bytes.count + frame - 1) / frame)
    var nextToSend = [Int](repeating: frames, count: worldSize)
    for peer in receivers { nextToSend[peer] = 0 }
    var used = 0
    var progress = monotonicMilliseconds()
    while used < frames || nextToSend.contains(where: { $0 < frames }) {
      var moved = false
      for peer in receivers {
        while nextToSend[peer] < frames, let dealer = dealers[peer] {
          let start = nextToSend[peer] * frame
          let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + frame, bytes.count)])
          let head = header(Kind.data, index: UInt32(nextToSend[peer]), bytes: part.count)
          guard dealer.send(header: head, bytes: part) == .sent else { break }
          nextToSend[peer] += 1
          moved = true
        }
      }
      while let message = router.receive(framesMax: 3) {
        if try take(message) { moved = true }
      }
      if let gone = departed.first(where: { $0.value < operation }) {
        throw PlatformError(.unavailable, "rank \(gone.key) has gone", number: "PLT-2150")
      }
      let sent = nextToSend.min() ?? frames
      while used < min(frames, sent) {
        let index = UInt32(used)
        guard senders.allSatisfy({ inbox[Slot(operation: operation, rank: $0, index: index)] != nil }) else { break }
        let size = min(frame, bytes.count - used * frame)
        var parts = [Data?](repeating: nil, count: worldSize)
        for sender in senders {
          let data = inbox.removeValue(forKey: Slot(operation: operation, rank: sender, index: index))
          guard data?.count == size else {
            throw PlatformError(
              .invalidArgument, "rank \(sender) takes part with another number of elements", number: "PLT-2152")
          }
          parts[sender] = data
        }
        use(index, parts)
        used += 1
        moved = true
      }
      let now = monotonicMilliseconds()
      if moved {
        progress = now
        continue
      }
      try noteConnections(now)
      let index = UInt32(used)
      let missing = senders.filter { used < frames && inbox[Slot(operation: operation, rank: $0, index: index)] == nil }
      let unsent = receivers.filter { nextToSend[$0] < frames }
      if let gone = (missing + unsent).first(where: { peer in
        lost[peer].map { now - max($0, progress) >= Self.graceMilliseconds } ?? false
      }) {
        throw PlatformError(.unavailable, "the connection to rank \(gone) is lost", number: "PLT-2150")
      }
      guard now - progress < waitMilliseconds else {
        throw PlatformError(
          .timeout, "rank \(missing.first ?? unsent.first ?? rank) did not take part within \(waitMilliseconds) ms",
          number: "PLT-2151")
      }
      var watched: [(socket: Socket, wanted: Socket.Readiness)] = [(router, .readable)]
      for dealer in dealers { if let news = dealer?.connectionNews { watched.append((news, .readable)) } }
      for peer in unsent { if let dealer = dealers[peer] { watched.append((dealer, .writable)) } }
      _ = Socket.poll(watched, milliseconds: Int(min(100, waitMilliseconds - (now - progress))))
    }
  }

  private func noteConnections(_ now: Int64) throws {
    for peer in dealers.indices {
      while let event = dealers[peer]?.connectionEvent() {
        switch event {
        case .established:
          established.insert(peer)
          lost[peer] = nil
        case .lost where established.contains(peer): if lost[peer] == nil { lost[peer] = now }
        // Attempts that fail before the first connection stands are part of starting up.
        case .lost:
          if let retry = retries[peer] { retries[peer] = (min(now + 30, retry.at), retry.interval) }
        }
      }
      guard !established.contains(peer), let dealer = dealers[peer], let retry = retries[peer], now >= retry.at else {
        continue
      }
      // Nothing is lost with the old socket: it takes messages only when its connection stands.
      dealer.close()
      dealers[peer] = try open(peers[peer])
      let interval = min(4000, retry.interval * 2)
      retries[peer] = (now + interval, interval)
    }
  }

  /// Files a frame. Returns whether it was one of this gang.
  private func take(_ message: ReceivedMessage) throws -> Bool {
    guard message.frames.count == 3, let key = message.userID, let sender = ranks[key], sender != rank,
      message.frames[1].count == Self.headerBytes
    else { return false }
    let head = [UInt8](message.frames[1])
    func number(_ offset: Int, _ size: Int) -> UInt64 {
      (0..<size).reduce(0) { $0 | UInt64(head[offset + $1]) << UInt64(8 * $1) }
    }
    guard number(0, 8) == generation, number(24, 4) == UInt64(message.frames[2].count) else { return false }
    let kind = UInt32(number(16, 4))
    let theirs = number(8, 8)
    if kind == Kind.leave {
      // Everything that it sent before is here already; only later operations have to fail.
      departed[sender] = theirs
      return true
    }
    // A rank can be two operations ahead: it has all that it needs of this one while another's part is still on its way to
    // us, it has taken the root's bytes in the next, and is at the barrier that ends that one.
    guard kind == Kind.data, theirs >= operation, theirs - operation <= 2 else { return false }
    inbox[Slot(operation: theirs, rank: sender, index: UInt32(number(20, 4)))] = message.frames[2]
    return true
  }
}
