// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Transport

let everyMessage: [ControlMessage] = {
  let unit = UnitAttempt(unit: "run/task/stage/3", attempt: 2)
  return [
    .hello(
      WorkerHello(
        node: "a", platformVersion: "1.0", hostID: "h", incarnation: 7, processID: 9, cpuSlots: 4, memoryBytes: 1 << 33,
        labels: ["zone": "x"], running: [unit], unacknowledged: [unit], cpus: 2.5)),
    .heartbeat(Heartbeat(load: 1.5, residentBytes: 5, running: [unit])), .unitStarted(unit),
    .unitProgress(unit, done: 1, total: 2, unit: "rows"), .unitMetric(unit, name: "loss", step: 5, value: 0.25),
    .unitLog(unit, lines: ["a", "b"]),
    .unitFinished(unit, outcome: .failed, result: Data(), error: Data("{}".utf8)),
    .unitFinished(unit, outcome: .lost, result: Data("1".utf8), error: Data()),
    .unitEndpoint(unit, address: "tcp://127.0.0.1:1", publicKey: "k"),
    .welcome(Welcome(epoch: 3, heartbeatMilliseconds: 100, leaseMilliseconds: 900)),
    .refused(PlatformError(.conflict, "m", hint: "h", number: "PLT-1")), .heartbeatAck(epoch: 3),
    .heartbeatAck(epoch: 3, coordinators: ["tcp://a:1", "tcp://b:2"]),
    .welcome(Welcome(epoch: 3, heartbeatMilliseconds: 100, leaseMilliseconds: 900, coordinators: ["tcp://a:1"])),
    .assign(unit, kind: "ingest", payload: Data([0, 1, 255]), timeoutMilliseconds: 6), .cancel(unit, reason: "r"),
    .acknowledge(unit),
    .peerTable(
      group: "g", generation: 4, peers: [PeerAddress(rank: 1, address: "a", publicKey: "k", hostID: "h")]),
    .drain(reason: "d"), .shutdown(reason: "s"),
  ]
}()

@Suite struct EnvelopeTests {
  @Test(arguments: everyMessage) func messageComesBack(_ message: ControlMessage) throws {
    let envelope = Envelope(sender: "s", sequence: 5, epoch: 6, incarnation: 7, body: .message(message))
    #expect(try Envelope(decoding: envelope.encoded()) == envelope)
  }

  @Test func garbageNeverEndsTheProcess() throws {
    var random = SplitMix64(seed: 11)
    let good = try everyMessage.map { try Envelope(sender: "s", sequence: 1, body: .message($0)).encoded() }
    for round in 0..<20_000 {
      var bytes = [UInt8](good[round % good.count])
      for _ in 0..<(1 + round % 5) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if round % 3 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
      _ = try? Envelope(decoding: Data(bytes))  // throwing is as good as not throwing
      _ = StreamFrame(header: Data(bytes.prefix(24)), payload: Data(bytes.dropFirst(24)))
    }
  }

  @Test func streamHeaderIsFixed() throws {
    let frame = StreamFrame.call(0x0102_0304_0506_0708, verb: "generate", payload: Data([9, 9]))
    #expect(
      frame.header.map { $0 } == [0x50, 0x53, 0x46, 0x31, 1, 1, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 10, 0, 0, 0, 8, 0, 0, 0])
    #expect(StreamFrame(header: frame.header, payload: frame.payload) == frame)
    #expect(frame.call?.verb == "generate" && frame.call?.payload == Data([9, 9]))
    #expect(StreamFrame(header: frame.header, payload: frame.payload + [1]) == nil)
    #expect(StreamFrame(header: frame.header.dropLast(), payload: frame.payload) == nil)
    #expect(StreamFrame(kind: .call, request: 1, argument: 11, payload: Data(count: 10)).call == nil)
  }
}

@Suite struct SessionTests {
  func hello(_ incarnation: UInt64 = 5, node: String = "a", version: String = "1") -> ControlMessage {
    .hello(WorkerHello(node: node, platformVersion: version, incarnation: incarnation, cpuSlots: 1, memoryBytes: 1))
  }
  func envelope(_ message: ControlMessage, _ sequence: UInt64, epoch: UInt64 = 2, incarnation: UInt64 = 5) -> Envelope {
    Envelope(sender: "a", sequence: sequence, epoch: epoch, incarnation: incarnation, body: .message(message))
  }
  let started = ControlMessage.unitStarted(UnitAttempt(unit: "u", attempt: 1))

  @Test func replaysAndOldEpochsChangeNothing() {
    var table = SessionTable(platformVersion: "1", epoch: 2)
    func refusal(_ decision: SessionTable.Decision) -> String? {
      if case .refuse(let e) = decision { e.number } else { nil }
    }
    #expect(refusal(table.received(envelope(started, 1), from: "a", route: 0, now: 0)) == SessionTable.helloFirst)
    guard case .connected = table.received(envelope(hello(), 1, epoch: 0), from: "a", route: 0, now: 0) else {
      Issue.record("hello was not accepted")
      return
    }
    #expect(table.received(envelope(started, 2), from: "a", route: 0, now: 0) == .deliver(started))
    #expect(table.received(envelope(started, 2), from: "a", route: 0, now: 0) == .ignore)
    #expect(table.received(envelope(hello(), 1), from: "a", route: 0, now: 0) == .ignore)
    #expect(refusal(table.received(envelope(started, 3, epoch: 1), from: "a", route: 0, now: 0)) == SessionTable.helloFirst)
    #expect(refusal(table.received(envelope(hello(4), 9, incarnation: 4), from: "a", route: 0, now: 0)) == "PLT-2124")
    #expect(refusal(table.received(envelope(hello(node: "b"), 9), from: "a", route: 0, now: 0)) == "PLT-2122")
    #expect(table.received(envelope(.drain(reason: ""), 9), from: "a", route: 0, now: 0) == .ignore)
    #expect(table.expire(heardBefore: 0) == [])
    #expect(table.expire(heardBefore: 1) == ["a"])
  }

  @Test func versionsAreNamed() {
    var table = SessionTable(platformVersion: "1.2.0", epoch: 2)
    guard case .refuse(let error) = table.received(envelope(hello(version: "1.1.9"), 1), from: "a", route: 0, now: 0) else {
      Issue.record("not refused")
      return
    }
    #expect(error.message.contains("1.1.9") && error.message.contains("1.2.0"))
    var old = envelope(hello(), 1)
    old.version = 77
    guard case .refuse(let other) = table.received(old, from: "a", route: 0, now: 0) else {
      Issue.record("not refused")
      return
    }
    #expect(other.message.contains("77"))
  }

  @Test func workerRefusesLowerEpochsAndRepeats() {
    func from(_ message: ControlMessage, _ sequence: UInt64, epoch: UInt64, incarnation: UInt64 = 1) -> Envelope {
      Envelope(sender: "c", sequence: sequence, epoch: epoch, incarnation: incarnation, body: .message(message))
    }
    func welcome(_ epoch: UInt64) -> Welcome { Welcome(epoch: epoch, heartbeatMilliseconds: 10, leaseMilliseconds: 30) }
    var session = ClientSession()
    let drain = ControlMessage.drain(reason: "x")
    #expect(session.received(from(drain, 1, epoch: 4), now: 0) == .ignore)
    #expect(session.received(from(.welcome(welcome(4)), 2, epoch: 4), now: 0) == .event(.connected(welcome(4))))
    #expect(session.received(from(drain, 3, epoch: 4), now: 0) == .event(.message(drain)))
    #expect(session.received(from(drain, 3, epoch: 4), now: 0) == .ignore)
    #expect(session.received(from(drain, 9, epoch: 3), now: 0) == .ignore)
    #expect(session.received(from(.welcome(welcome(3)), 9, epoch: 3), now: 0) == .ignore)
    #expect(
      session.received(from(.welcome(welcome(5)), 1, epoch: 5, incarnation: 2), now: 10) == .event(.restored(welcome(5))))
    #expect(session.expire(now: 39) == false)
    #expect(session.expire(now: 40) == true)
    #expect(session.state == .searching)
  }
}
