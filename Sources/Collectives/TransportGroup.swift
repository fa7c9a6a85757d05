// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
public import Tensor
public import Transport

/// The bound socket of a rank, made before the peers are known so that its address can be told to them.
public final class RankListener: Sendable {
  /// As in `tcp://10.0.0.5:40123`, with the real port.
  public let endpoint: String
  public let keys: CurveKeyPair
  let context: MessageContext
  let admitted = AdmittedKeys()
  private let socket: Mutex<Loaned?>

  struct Loaned: @unchecked Sendable {
    // Passed on once, under the lock above: from the binding thread to the group.
    let socket: Socket
  }

  /// - Throws: `unavailable` when the address is taken, `badConfiguration` when it may not be used.
  public init(address: String = "tcp://127.0.0.1:0", keys: CurveKeyPair, allowsWildcardAddress: Bool = false) throws {
    self.keys = keys
    context = try MessageContext(maxSockets: 1023)  // three for each peer
    let admitted = admitted
    try AuthenticationHandler.start(context) { _, key in admitted.name(of: key) != nil }
    let socket = try Socket(.router, context: context, limits: TransportGroup.limits)
    do {
      try socket.serve(keys: keys, domain: "rank")
      endpoint = try socket.bind(address, allowsWildcard: allowsWildcardAddress)
    } catch {
      socket.close()
      context.shutdown()
      throw error
    }
    self.socket = Mutex(Loaned(socket: socket))
  }

  deinit {
    socket.withLock { $0 = nil }
    context.shutdown()
  }

  func take() throws -> Socket {
    let taken = socket.withLock { held in
      defer { held = nil }
      return held
    }
    guard let taken else { throw PlatformError(.internalError, "this listener already belongs to a group") }
    return taken.socket
  }
}

/// The collective of ranks on several machines: every rank sends to every other over ZeroMQ with CURVE ("one-shot") and
/// adds what it gets in rank order. One hop, (ranks - 1) x bytes sent by each.
///
/// A rank whose process is killed is noticed when its connection breaks, at once; one whose machine is cut off when it does
/// not answer heartbeats for five seconds; one that hangs at the deadline.
///
/// After an error the group is unusable on every rank: the gang starts again with the next generation.
public final class TransportGroup: Collective {
  static let frameBytes = 1 << 20

  static var limits: SocketLimits {
    var limits = SocketLimits(messageBytesMax: frameBytes + 64)
    // Nobody can be more than one operation ahead, and a rank reads whatever has come while it sends: 16 MiB a peer are
    // enough to keep the wire busy.
    limits.sendQueue = 16
    limits.receiveQueue = 16
    // A rank that computes for long answers heartbeats all the same: libzmq does that on its own thread.
    limits.heartbeatMilliseconds = 1000
    // The last frames of a rank that is done must still reach the others.
    limits.lingerMilliseconds = 1000
    limits.heartbeatTimeoutMilliseconds = 5000
    return limits
  }

  public let rank: Int
  public let worldSize: Int
  private let mesh: Mutex<Mesh>

  /// Connects to all peers and returns when all have answered.
  /// - Parameters:
  ///   - listener: this rank's bound socket; the group takes it over.
  ///   - generation: of the gang; messages of another one are dropped.
  ///   - peers: one entry for each rank, this one's included.
  ///   - deadline: for connecting, and for each operation's wait without any progress.
  /// - Throws: `timeout` when a rank does not come, `invalidArgument` for an incomplete table.
  public init(
    listener: RankListener, rank: Int, worldSize: Int, generation: Int, peers: [PeerAddress],
    deadline: Duration = .seconds(30)
  ) throws {
    guard worldSize > 0, worldSize <= 256, rank >= 0, rank < worldSize,
      peers.map(\.rank).sorted() == Array(0..<worldSize)
    else { throw PlatformError(.invalidArgument, "the peer table does not name each of \(worldSize) ranks once") }
    var ranks: [String: Int] = [:]
    for peer in peers {
      let key = try CurvePublicKey(peer.publicKey)
      guard ranks.updateValue(peer.rank, forKey: key.description) == nil else {
        throw PlatformError(.invalidArgument, "two ranks have the same key")
      }
      listener.admitted.admit(key, as: "\(peer.rank)")
    }
    self.rank = rank
    self.worldSize = worldSize
    mesh = Mutex(
      try Mesh(
        listener: listener, rank: rank, worldSize: worldSize, generation: UInt64(bitPattern: Int64(generation)),
        peers: peers.sorted { $0.rank < $1.rank }, ranks: ranks, waitMilliseconds: deadline.wholeMilliseconds))
    try barrier()
  }

  deinit { mesh.withLock { $0.leave() } }

  /// Tells the peers that this rank is gone and closes its sockets. Letting go of the group does the same.
  public func leave() { mesh.withLock { $0.leave() } }

  public func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    let buffer = Loan(buffer)
    try mesh.withLock { try $0.reduce(buffer.pointer, count: count, with: SharedWords.sum) }
  }

  public func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    let buffer = Loan(buffer)
    try mesh.withLock { try $0.reduce(buffer.pointer, count: count, with: SharedWords.max) }
  }

  public func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
    let input = Loan(UnsafeMutablePointer(mutating: input))
    let output = Loan(output)
    try mesh.withLock { try $0.gather(input.pointer, count: count, into: output.pointer) }
  }

  public func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) throws {
    let buffer = Loan(buffer.assumingMemoryBound(to: UInt8.self))
    try mesh.withLock { try $0.broadcast(buffer.pointer, byteCount: byteCount, root: root) }
  }

  public func barrier() throws { try mesh.withLock { try $0.barrier() } }
}
