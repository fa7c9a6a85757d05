// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// One attempt at one unit, as named on the bus.
public struct UnitAttempt: Sendable, Hashable, Codable, CustomStringConvertible {
  public var unit: String
  public var attempt: Int
  public init(unit: String, attempt: Int) {
    self.unit = unit
    self.attempt = attempt
  }
  public var description: String { "\(unit)#\(attempt)" }
}

/// How a worker introduces itself, each time a connection is made anew.
public struct WorkerHello: Sendable, Equatable {
  /// The name under which the coordinator admitted this node's key; any other name is refused.
  public var node: String
  public var platformVersion: String
  /// Boot identifier and host name; ranks with the same one share memory.
  public var hostID: String
  /// Grows with each start of the process (milliseconds since 1970 will do); an older one is refused.
  public var incarnation: UInt64
  public var processID: Int32
  public var cpuSlots: Int
  public var memoryBytes: Int64
  public var labels: [String: String]
  public var running: [UnitAttempt]
  /// Finished, and no `acknowledge` seen yet.
  public var unacknowledged: [UnitAttempt]
  /// Processors for what says how many it needs; 0: as many as slots.
  public var cpus: Double

  public init(
    node: String, platformVersion: String, hostID: String = ProcessSupport.hostID, incarnation: UInt64,
    processID: Int32 = ProcessInfo.processInfo.processIdentifier, cpuSlots: Int, memoryBytes: Int64,
    labels: [String: String] = [:], running: [UnitAttempt] = [], unacknowledged: [UnitAttempt] = [], cpus: Double = 0
  ) {
    self.cpus = cpus
    self.node = node
    self.platformVersion = platformVersion
    self.hostID = hostID
    self.incarnation = incarnation
    self.processID = processID
    self.cpuSlots = cpuSlots
    self.memoryBytes = memoryBytes
    self.labels = labels
    self.running = running
    self.unacknowledged = unacknowledged
  }
}

/// The coordinator's answer to a hello.
public struct Welcome: Sendable, Equatable {
  /// The coordinator's lease number; messages with a lower one are refused from then on.
  public var epoch: UInt64
  public var heartbeatMilliseconds: Int
  /// A node that was not heard for so long is taken for gone; a node that hears nothing for so long must stop its side effects.
  public var leaseMilliseconds: Int
  /// Control endpoints of all coordinators, this one among them; one of the others may lead next.
  public var coordinators: [String]
  public init(epoch: UInt64, heartbeatMilliseconds: Int, leaseMilliseconds: Int, coordinators: [String] = []) {
    self.epoch = epoch
    self.heartbeatMilliseconds = heartbeatMilliseconds
    self.leaseMilliseconds = leaseMilliseconds
    self.coordinators = coordinators
  }
}

public struct Heartbeat: Sendable, Equatable {
  /// One-minute load average of the node.
  public var load: Double
  public var residentBytes: Int64
  public var running: [UnitAttempt]
  public init(load: Double = 0, residentBytes: Int64 = 0, running: [UnitAttempt] = []) {
    self.load = load
    self.residentBytes = residentBytes
    self.running = running
  }
}

/// How an attempt ended. `lost`: its process vanished without a result.
public enum UnitOutcome: String, Sendable, Codable, CaseIterable { case succeeded, failed, cancelled, lost }

/// Where a rank or replica can be reached.
public struct PeerAddress: Sendable, Equatable, Codable {
  public var rank: Int
  public var address: String
  /// 64 hexadecimal characters.
  public var publicKey: String
  public var hostID: String
  public init(rank: Int, address: String, publicKey: String, hostID: String) {
    self.rank = rank
    self.address = address
    self.publicKey = publicKey
    self.hostID = hostID
  }
}

/// Everything that coordinator and worker tell each other on the control link.
public enum ControlMessage: Sendable, Equatable {
  // Worker to coordinator
  case hello(WorkerHello)
  case heartbeat(Heartbeat)
  case unitStarted(UnitAttempt)
  case unitProgress(UnitAttempt, done: Int64, total: Int64, unit: String)
  case unitMetric(UnitAttempt, name: String, step: Int64, value: Double)
  case unitLog(UnitAttempt, lines: [String])
  /// `result` and `error` are JSON, empty when there is none.
  case unitFinished(UnitAttempt, outcome: UnitOutcome, result: Data, error: Data)
  case unitEndpoint(UnitAttempt, address: String, publicKey: String)
  // Coordinator to worker
  case welcome(Welcome)
  case refused(PlatformError)
  case heartbeatAck(epoch: UInt64, coordinators: [String] = [])
  /// `payload` is the JSON of the kind's specification; `timeoutMilliseconds` 0 means no limit.
  case assign(UnitAttempt, kind: String, payload: Data, timeoutMilliseconds: Int64)
  case cancel(UnitAttempt, reason: String)
  case acknowledge(UnitAttempt)
  case peerTable(group: String, generation: Int, peers: [PeerAddress])
  case drain(reason: String)
  case shutdown(reason: String)

  /// The attempt that the message is about, where it is about one.
  public var unit: UnitAttempt? {
    switch self {
    case .unitStarted(let unit), .unitProgress(let unit, _, _, _), .unitMetric(let unit, _, _, _), .unitLog(let unit, _),
      .unitFinished(let unit, _, _, _), .unitEndpoint(let unit, _, _), .assign(let unit, _, _, _), .cancel(let unit, _),
      .acknowledge(let unit):
      unit
    default: nil
    }
  }
}

extension ControlMessage {
  /// - Throws: `resourceExhausted` when the message would not fit a frame of `limit` bytes.
  func checkSize(_ limit: Int) throws {
    let bulk =
      switch self {
      case .assign(_, _, let payload, _): payload.count
      case .unitFinished(_, _, let result, let error): result.count + error.count
      case .unitLog(_, let lines): lines.reduce(0) { $0 + $1.utf8.count + 8 }
      case .peerTable(_, _, let peers): peers.reduce(0) { $0 + $1.address.utf8.count + $1.hostID.utf8.count + 96 }
      default: 0
      }
    guard bulk <= limit - 4096 else {
      throw PlatformError(
        .resourceExhausted, "a control message of \(bulk) bytes is over the limit of \(limit)",
        hint: "Write large results to the object store and send their path.", number: "PLT-2113")
    }
  }
}

/// A new node's request for admission.
public struct JoinRequest: Sendable, Equatable {
  /// The token's secret; compare its SHA-256 with the stored one.
  public var secret: Data
  /// Proven: the connection was made with this key.
  public var publicKey: CurvePublicKey
  public var node: String
  public var platformVersion: String
  public init(secret: Data, publicKey: CurvePublicKey, node: String, platformVersion: String) {
    self.secret = secret
    self.publicKey = publicKey
    self.node = node
    self.platformVersion = platformVersion
  }
}

/// The answer: the node's name and where the control link listens, or why not.
public enum JoinReply: Sendable, Equatable {
  case accepted(node: String, controlEndpoint: String)
  case refused(PlatformError)
}
