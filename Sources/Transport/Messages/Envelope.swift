// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import SwiftProtobuf

/// A control message with its address label. Conversion from and to the bytes on the wire; bytes from outside can make it
/// throw, nothing else.
struct Envelope: Sendable, Equatable {
  /// Raised when an older node could misunderstand; new optional fields do not raise it.
  static let protocolVersion: UInt32 = 1

  enum Body: Sendable, Equatable {
    case message(ControlMessage)
    case joinRequest(secret: Data, publicKey: String, node: String, platformVersion: String)
    case joinReply(JoinReply)
    /// A kind that this version does not know.
    case unknown
  }

  var version: UInt32 = Envelope.protocolVersion
  var sender: String
  var sequence: UInt64 = 0
  var epoch: UInt64 = 0
  var incarnation: UInt64 = 0
  var body: Body

  /// - Throws: `invalidArgument` for anything that is no envelope.
  init(decoding data: Data) throws {
    let wire: Platform_Control_Envelope
    do {
      var options = BinaryDecodingOptions()
      options.messageDepthLimit = 8
      wire = try Platform_Control_Envelope(serializedBytes: data, options: options)
    } catch {
      throw PlatformError(.invalidArgument, "not a control message: \(error)")
    }
    version = wire.protocolVersion
    sender = wire.sender
    sequence = wire.sequence
    epoch = wire.epoch
    incarnation = wire.incarnation
    body = try Body(wire.body)
  }

  init(sender: String, sequence: UInt64 = 0, epoch: UInt64 = 0, incarnation: UInt64 = 0, body: Body) {
    self.sender = sender
    self.sequence = sequence
    self.epoch = epoch
    self.incarnation = incarnation
    self.body = body
  }

  func encoded() throws -> Data {
    var wire = Platform_Control_Envelope()
    wire.protocolVersion = version
    wire.sender = sender
    wire.sequence = sequence
    wire.epoch = epoch
    wire.incarnation = incarnation
    wire.body = body.wire
    do {
      return try wire.serializedData()
    } catch {
      throw PlatformError(.internalError, "cannot encode a control message: \(error)")
    }
  }
}

extension Envelope.Body {
  fileprivate init(_ wire: Platform_Control_Envelope.OneOf_Body?) throws {
    switch wire {
    case .hello(let m): self = .message(.hello(try WorkerHello(m)))
    case .welcome(let m):
      self = .message(
        .welcome(
          Welcome(
            epoch: m.epoch, heartbeatMilliseconds: Int(clamping: m.heartbeatMilliseconds),
            leaseMilliseconds: Int(clamping: m.leaseMilliseconds), coordinators: m.coordinators)))
    case .refused(let m): self = .message(.refused(PlatformError(m)))
    case .heartbeat(let m):
      self = .message(
        .heartbeat(Heartbeat(load: m.load, residentBytes: m.residentBytes, running: try m.running.map(UnitAttempt.init))))
    case .heartbeatAck(let m): self = .message(.heartbeatAck(epoch: m.epoch, coordinators: m.coordinators))
    case .assign(let m):
      self = .message(
        .assign(
          try UnitAttempt(m.unit), kind: m.kind, payload: m.payloadJson, timeoutMilliseconds: m.timeoutMilliseconds))
    case .cancel(let m): self = .message(.cancel(try UnitAttempt(m.unit), reason: m.reason))
    case .unitStarted(let m): self = .message(.unitStarted(try UnitAttempt(m.unit)))
    case .unitProgress(let m):
      self = .message(.unitProgress(try UnitAttempt(m.unit), done: m.done, total: m.total, unit: m.measure))
    case .unitMetric(let m):
      self = .message(.unitMetric(try UnitAttempt(m.unit), name: m.name, step: m.step, value: m.value))
    case .unitLog(let m): self = .message(.unitLog(try UnitAttempt(m.unit), lines: m.lines))
    case .unitFinished(let m):
      let outcome: UnitOutcome =
        switch m.outcome {
        case .succeeded: .succeeded
        case .failed: .failed
        case .cancelled: .cancelled
        case .lost: .lost
        case .unspecified, .UNRECOGNIZED: throw PlatformError(.invalidArgument, "a finished unit without an outcome")
        }
      self = .message(
        .unitFinished(try UnitAttempt(m.unit), outcome: outcome, result: m.resultJson, error: m.errorJson))
    case .acknowledge(let m): self = .message(.acknowledge(try UnitAttempt(m.unit)))
    case .unitEndpoint(let m):
      self = .message(.unitEndpoint(try UnitAttempt(m.unit), address: m.address, publicKey: m.publicKey))
    case .peerTable(let m):
      self = .message(
        .peerTable(
          group: m.group, generation: Int(clamping: m.generation),
          peers: m.peers.map {
            PeerAddress(rank: Int($0.rank), address: $0.address, publicKey: $0.publicKey, hostID: $0.hostID)
          }))
    case .drain(let m): self = .message(.drain(reason: m.reason))
    case .shutdown(let m): self = .message(.shutdown(reason: m.reason))
    case .joinRequest(let m):
      self = .joinRequest(secret: m.secret, publicKey: m.publicKey, node: m.node, platformVersion: m.platformVersion)
    case .joinReply(let m):
      self = .joinReply(
        m.hasRefused ? .refused(PlatformError(m.refused)) : .accepted(node: m.node, controlEndpoint: m.controlEndpoint))
    case nil: self = .unknown
    }
  }

  fileprivate var wire: Platform_Control_Envelope.OneOf_Body? {
    switch self {
    case .unknown: return nil
    case .joinRequest(let secret, let publicKey, let node, let platformVersion):
      return .joinRequest(
        .with {
          $0.secret = secret
          $0.publicKey = publicKey
          $0.node = node
          $0.platformVersion = platformVersion
        })
    case .joinReply(.accepted(let node, let endpoint)):
      return .joinReply(
        .with {
          $0.node = node
          $0.controlEndpoint = endpoint
        })
    case .joinReply(.refused(let error)): return .joinReply(.with { $0.refused = error.wire })
    case .message(let message): return message.wire
    }
  }
}

extension ControlMessage {
  fileprivate var wire: Platform_Control_Envelope.OneOf_Body {
    switch self {
    case .hello(let hello): return .hello(hello.wire)
    case .heartbeat(let beat):
      return .heartbeat(
        .with {
          $0.load = beat.load
          $0.residentBytes = beat.residentBytes
          $0.running = beat.running.map(\.wire)
        })
    case .unitStarted(let unit): return .unitStarted(.with { $0.unit = unit.wire })
    case .unitProgress(let unit, let done, let total, let measure):
      return .unitProgress(
        .with {
          $0.unit = unit.wire
          $0.done = done
          $0.total = total
          $0.measure = measure
        })
    case .unitMetric(let unit, let name, let step, let value):
      return .unitMetric(
        .with {
          $0.unit = unit.wire
          $0.name = name
          $0.step = step
          $0.value = value
        })
    case .unitLog(let unit, let lines):
      return .unitLog(
        .with {
          $0.unit = unit.wire
          $0.lines = lines
        })
    case .unitFinished(let unit, let outcome, let result, let error):
      return .unitFinished(
        .with {
          $0.unit = unit.wire
          $0.outcome =
            switch outcome {
            case .succeeded: .succeeded
            case .failed: .failed
            case .cancelled: .cancelled
            case .lost: .lost
            }
          $0.resultJson = result
          $0.errorJson = error
        })
    case .unitEndpoint(let unit, let address, let publicKey):
      return .unitEndpoint(
        .with {
          $0.unit = unit.wire
          $0.address = address
          $0.publicKey = publicKey
        })
    case .welcome(let welcome):
      return .welcome(
        .with {
          $0.epoch = welcome.epoch
          $0.heartbeatMilliseconds = Int64(welcome.heartbeatMilliseconds)
          $0.leaseMilliseconds = Int64(welcome.leaseMilliseconds)
          $0.coordinators = welcome.coordinators
        })
    case .refused(let error): return .refused(error.wire)
    case .heartbeatAck(let epoch, let coordinators):
      return .heartbeatAck(
        .with {
          $0.epoch = epoch
          $0.coordinators = coordinators
        })
    case .assign(let unit, let kind, let payload, let timeout):
      return .assign(
        .with {
          $0.unit = unit.wire
          $0.kind = kind
          $0.payloadJson = payload
          $0.timeoutMilliseconds = timeout
        })
    case .cancel(let unit, let reason):
      return .cancel(
        .with {
          $0.unit = unit.wire
          $0.reason = reason
        })
    case .acknowledge(let unit): return .acknowledge(.with { $0.unit = unit.wire })
    case .peerTable(let group, let generation, let peers):
      return .peerTable(
        .with {
          $0.group = group
          $0.generation = Int64(generation)
          $0.peers = peers.map { peer in
            .with {
              $0.rank = Int32(clamping: peer.rank)
              $0.address = peer.address
              $0.publicKey = peer.publicKey
              $0.hostID = peer.hostID
            }
          }
        })
    case .drain(let reason): return .drain(.with { $0.reason = reason })
    case .shutdown(let reason): return .shutdown(.with { $0.reason = reason })
    }
  }
}

extension UnitAttempt {
  fileprivate init(_ wire: Platform_Control_UnitAttempt) throws {
    guard !wire.unit.isEmpty, let attempt = Int(exactly: wire.attempt), attempt >= 0 else {
      throw PlatformError(.invalidArgument, "a control message names no unit")
    }
    self.init(unit: wire.unit, attempt: attempt)
  }
  fileprivate var wire: Platform_Control_UnitAttempt {
    .with {
      $0.unit = unit
      $0.attempt = Int64(attempt)
    }
  }
}

extension WorkerHello {
  fileprivate init(_ m: Platform_Control_WorkerHello) throws {
    guard !m.node.isEmpty, m.cpuSlots >= 0, m.memoryBytes >= 0, m.cpus >= 0 else {
      throw PlatformError(.invalidArgument, "a hello without a node name, or with negative capacity")
    }
    self.init(
      node: m.node, platformVersion: m.platformVersion, hostID: m.hostID, incarnation: m.incarnation, processID: m.processID,
      cpuSlots: Int(m.cpuSlots), memoryBytes: m.memoryBytes, labels: m.labels, running: try m.running.map(UnitAttempt.init),
      unacknowledged: try m.unacknowledged.map(UnitAttempt.init), cpus: m.cpus)
  }
  fileprivate var wire: Platform_Control_WorkerHello {
    .with {
      $0.node = node
      $0.platformVersion = platformVersion
      $0.hostID = hostID
      $0.incarnation = incarnation
      $0.processID = processID
      $0.cpuSlots = Int32(clamping: cpuSlots)
      $0.memoryBytes = memoryBytes
      $0.labels = labels
      $0.running = running.map(\.wire)
      $0.unacknowledged = unacknowledged.map(\.wire)
      $0.cpus = cpus
    }
  }
}

extension PlatformError {
  fileprivate init(_ m: Platform_Control_Refused) {
    self.init(Code(rawValue: m.code) ?? .unavailable, m.message, hint: m.hint, number: m.number)
  }
  fileprivate var wire: Platform_Control_Refused {
    .with {
      $0.code = code.rawValue
      $0.message = message
      $0.hint = hint
      $0.number = number
    }
  }
}
