// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Transport

let quick = ControlTiming(heartbeatMilliseconds: 60, leaseMilliseconds: 1500)
let oneUnit = UnitAttempt(unit: "run/a", attempt: 1)

func helloOf(_ node: String, version: String = "1.0", incarnation: UInt64 = 1) -> @Sendable () -> WorkerHello {
  { WorkerHello(node: node, platformVersion: version, incarnation: incarnation, cpuSlots: 2, memoryBytes: 1 << 30) }
}

/// A control link under test: a server, and a way to connect workers to it.
struct Link {
  var server: any ControlServing
  var connect: (_ node: String, _ hello: @escaping @Sendable () -> WorkerHello) throws -> any ControlConnecting

  static func make(_ kind: String, nodes: [String], version: String = "1.0", epoch: UInt64 = 1) throws -> Link {
    if kind == "process" {
      let server = InProcessControl(platformVersion: version, epoch: epoch, timing: quick)
      return Link(server: server) { server.connect(as: $0, hello: $1, heartbeat: { Heartbeat(load: 0.5) }) }
    }
    let keys = try CurveKeyPair.generate()
    let nodeKeys = try Dictionary(uniqueKeysWithValues: nodes.map { ($0, try CurveKeyPair.generate()) })
    var configuration = ControlServer.Configuration(keys: keys, platformVersion: version, epoch: epoch)
    configuration.timing = quick
    let server = try ControlServer(
      configuration, admitted: AdmittedKeys(Dictionary(uniqueKeysWithValues: nodeKeys.map { ($1.publicKey, $0) }))
    ) { _ in .refused(PlatformError(.permissionDenied, "no")) }
    return Link(server: server) { node, hello in
      try ControlClient(
        .init(address: server.endpoint, serverKey: keys.publicKey, keys: nodeKeys[node]!), hello: hello,
        heartbeat: { Heartbeat(load: 0.5) })
    }
  }
}

/// The first event that `pick` makes something of.
func first<E: Sendable, T: Sendable>(
  _ stream: AsyncStream<E>, _ what: String, _ pick: @escaping @Sendable (E) -> T?
) async throws -> T {
  try await withDeadline(.seconds(15), what) {
    for await event in stream { if let found = pick(event) { return found } }
    throw PlatformError(.unavailable, "\(what): the stream ended")
  }
}

@Suite(.serialized) struct ControlConformanceTests {
  @Test(arguments: ["sockets", "process"]) func conversation(_ kind: String) async throws {
    let link = try Link.make(kind, nodes: ["a"])
    #expect { try link.server.send(.drain(reason: ""), to: "a") } throws: { ($0 as? PlatformError)?.code == .unavailable }
    let worker = try link.connect("a", helloOf("a"))
    let hello = try await first(link.server.events, "hello") { if case .connected(let hello) = $0 { hello } else { nil } }
    #expect(hello.node == "a" && hello.cpuSlots == 2)
    let welcome = try await first(worker.events, "welcome") { if case .connected(let welcome) = $0 { welcome } else { nil } }
    #expect(welcome.epoch == 1 && welcome.leaseMilliseconds == 1500)

    let payload = Data((0..<100_000).map { UInt8(truncatingIfNeeded: $0) })
    for index in 0..<200 {
      try link.server.send(
        .assign(UnitAttempt(unit: "u", attempt: index), kind: "k", payload: payload, timeoutMilliseconds: 5), to: "a")
    }
    for index in 0..<200 {
      let message = try await first(worker.events, "assign") { if case .message(let message) = $0 { message } else { nil } }
      #expect(
        message == .assign(UnitAttempt(unit: "u", attempt: index), kind: "k", payload: payload, timeoutMilliseconds: 5))
      if message.unit?.attempt != index { break }
    }
    for index in 0..<200 { try worker.send(.unitProgress(oneUnit, done: Int64(index), total: 200, unit: "rows")) }
    for index in 0..<200 {
      let done: Int64 = try await first(link.server.events, "progress") {
        if case .message("a", 1, .unitProgress(_, let done, _, _)) = $0 { done } else { nil }
      }
      #expect(done == Int64(index))
    }
    let load = try await first(link.server.events, "heartbeat") {
      if case .message(_, _, .heartbeat(let beat)) = $0 { beat.load } else { nil }
    }
    #expect(load == 0.5)
    worker.close()
    let gone = try await first(link.server.events, "disconnect") {
      if case .disconnected(let node, _) = $0 { node } else { nil }
    }
    #expect(gone == "a")
    #expect { try link.server.send(.drain(reason: ""), to: "a") } throws: { ($0 as? PlatformError)?.code == .unavailable }
    link.server.close()
  }

  /// What one transaction makes known at once is more than a connection holds.
  @Test func manyMessagesAtOnceEndNoSession() async throws {
    let link = try Link.make("sockets", nodes: ["a"])
    let worker = try link.connect("a", helloOf("a"))
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    for index in 0..<9000 { try link.server.send(.acknowledge(UnitAttempt(unit: "u", attempt: index)), to: "a") }
    var next = 0
    while next < 9000 {
      let event = try await first(worker.events, "message \(next)") { event -> WorkerEvent? in event }
      guard case .message(.acknowledge(let key)) = event else {
        Issue.record("\(event) instead of message \(next)")
        break
      }
      #expect(key.attempt == next)
      next = key.attempt + 1
    }
    worker.close()
    link.server.close()
  }

  @Test(arguments: ["sockets", "process"]) func endedSessionIsRestored(_ kind: String) async throws {
    let link = try Link.make(kind, nodes: ["a"])
    let worker = try link.connect("a", helloOf("a"))
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    link.server.disconnect("a", reason: "test")
    let seen = try await first(worker.events, "lost") { $0 == .lost ? true : nil }
    #expect(seen)
    _ = try await first(worker.events, "restored") { if case .restored = $0 { true } else { nil } }
    try worker.send(.unitStarted(oneUnit))
    _ = try await first(link.server.events, "started") {
      if case .message(_, _, .unitStarted) = $0 { true } else { nil }
    }
    worker.close()
    link.server.close()
  }

  /// Long before its lease has run out: its system has closed the connection.
  @Test func aWorkerThatHasEndedIsMissedAtOnce() async throws {
    let (keys, mine) = (try CurveKeyPair.generate(), try CurveKeyPair.generate())
    var configuration = ControlServer.Configuration(keys: keys, platformVersion: "1.0", epoch: 1)
    configuration.timing = ControlTiming(heartbeatMilliseconds: 60, leaseMilliseconds: 3_600_000)
    let server = try ControlServer(configuration, admitted: AdmittedKeys([mine.publicKey: "a"])) { _ in .refused(PlatformError(.notFound, "")) }
    let worker = try ControlClient(
      .init(address: server.endpoint, serverKey: keys.publicKey, keys: mine), hello: helloOf("a"), heartbeat: { Heartbeat() })
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    worker.close()
    let reason = try await first(server.events, "its end") { if case .disconnected("a", let reason) = $0 { reason } else { nil } }
    #expect(reason == "its connection has ended")
    server.close()
  }

  /// The coordinator looks whether a connection is still there without telling the worker that it was heard.
  @Test func beingLookedForRenewsNoLease() {
    var session = ClientSession()
    func envelope(_ sequence: UInt64, _ message: ControlMessage) -> Envelope {
      Envelope(sender: "coordinator", sequence: sequence, epoch: 1, incarnation: 7, body: .message(message))
    }
    let welcome = Welcome(epoch: 1, heartbeatMilliseconds: 10, leaseMilliseconds: 100)
    #expect(session.received(envelope(1, .welcome(welcome)), now: 1_000) == .event(.connected(welcome)))
    #expect(session.received(envelope(0, .heartbeatAck(epoch: 1, coordinators: [])), now: 1_090) == .ignore && session.heard == 1_000)
    #expect(session.received(envelope(2, .heartbeatAck(epoch: 1, coordinators: [])), now: 1_050) == .ignore && session.heard == 1_050)
    #expect(!session.expire(now: 1_149) && session.expire(now: 1_150))
  }

  @Test func versionsThatDifferInTheLastNumberWorkTogether() throws {
    #expect(ReleaseVersion.speak("0.1.0", "0.1.0+1a2b3c4d") && ReleaseVersion.speak("1.2.3+a", "1.2.4+b"))
    #expect(!ReleaseVersion.speak("0.1.0", "0.2.0") && !ReleaseVersion.speak("1.2.3", "2.2.3") && !ReleaseVersion.speak("", "0.1.0"))
    let folder = TemporaryDirectory("release")
    #expect(ReleaseVersion.named(installedAt: folder.file("bin/platform")) == PlatformVersion.current)
    try Data("1a2b3c4d5e6f\n".utf8).write(to: URL(fileURLWithPath: folder.file(".bundle")))
    #expect(ReleaseVersion.named(installedAt: folder.file("bin/platform")) == PlatformVersion.current + "+1a2b3c4d")
  }

  @Test(arguments: ["sockets", "process"]) func otherVersionIsRefusedByName(_ kind: String) async throws {
    let link = try Link.make(kind, nodes: ["a"], version: "2.0")
    let worker = try link.connect("a", helloOf("a", version: "1.9"))
    let error = try await first(worker.events, "refusal") { if case .refused(let error) = $0 { error } else { nil } }
    #expect(error.number == "PLT-2123" && error.message.contains("1.9") && error.message.contains("2.0"))
    worker.close()
    link.server.close()
  }
}

@Suite(.serialized) struct ControlServerTests {
  @Test func workerFindsARestartedCoordinator() async throws {
    let keys = try CurveKeyPair.generate()
    let mine = try CurveKeyPair.generate()
    let admitted = AdmittedKeys([mine.publicKey: "a"])
    func server(_ address: String, epoch: UInt64) throws -> ControlServer {
      var configuration = ControlServer.Configuration(keys: keys, platformVersion: "1.0", epoch: epoch)
      configuration.timing = ControlTiming(heartbeatMilliseconds: 50, leaseMilliseconds: 400)
      configuration.address = address
      return try ControlServer(configuration, admitted: admitted) { _ in .refused(PlatformError(.notFound, "")) }
    }
    let before = try server("tcp://127.0.0.1:0", epoch: 1)
    let worker = try ControlClient(
      .init(address: before.endpoint, serverKey: keys.publicKey, keys: mine), hello: helloOf("a"), heartbeat: { Heartbeat() }
    )
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    before.close()
    await before.closed()
    _ = try await first(worker.events, "lost") { $0 == .lost ? true : nil }
    #expect { try worker.send(.unitStarted(oneUnit)) } throws: { ($0 as? PlatformError)?.code == .unavailable }
    var after: ControlServer?
    for _ in 0..<100 where after == nil {
      after = try? server(before.endpoint, epoch: 2)  // the kernel may still be giving the port back
      if after == nil { try await Task.sleep(for: .milliseconds(20)) }
    }
    let welcome = try await first(worker.events, "restored") { if case .restored(let welcome) = $0 { welcome } else { nil } }
    #expect(welcome.epoch == 2)
    worker.close()
    after?.close()
  }

  /// Two coordinators with one key: the worker has heard of the second from the first, and turns to it when the first is gone.
  @Test func workerTurnsToTheCoordinatorThatTakesOver() async throws {
    let keys = try CurveKeyPair.generate()
    let mine = try CurveKeyPair.generate()
    func server(_ address: String, epoch: UInt64) throws -> ControlServer {
      var configuration = ControlServer.Configuration(keys: keys, platformVersion: "1.0", epoch: epoch)
      configuration.timing = ControlTiming(heartbeatMilliseconds: 50, leaseMilliseconds: 400)
      configuration.address = address
      return try ControlServer(configuration, admitted: AdmittedKeys([mine.publicKey: "a"])) { _ in .refused(PlatformError(.notFound, "")) }
    }
    let first = try server("tcp://127.0.0.1:0", epoch: 1)
    let second = try server("tcp://127.0.0.1:0", epoch: 2)
    let worker = try ControlClient(
      .init(address: first.endpoint, serverKey: keys.publicKey, keys: mine), hello: helloOf("a"), heartbeat: { Heartbeat() })
    defer { worker.close() }
    _ = try await TransportTests.first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    first.setCoordinators([first.endpoint, second.endpoint])
    // There and back and there again, so that a heartbeat was answered with the list and the answer was read.
    func told(_ reason: String) async throws {
      try first.send(.drain(reason: reason), to: "a")
      _ = try await TransportTests.first(worker.events, reason) { $0 == .message(.drain(reason: reason)) ? true : nil }
    }
    try await told("one")
    try worker.send(.unitStarted(oneUnit))
    _ = try await TransportTests.first(first.events, "unit") { if case .message(_, _, .unitStarted) = $0 { true } else { nil } }
    _ = try await TransportTests.first(first.events, "heartbeat") { if case .message(_, _, .heartbeat) = $0 { true } else { nil } }
    try await told("two")
    first.close()
    await first.closed()
    _ = try await TransportTests.first(worker.events, "the second's welcome") {
      if case .restored(let welcome) = $0, welcome.epoch == 2 { true } else { nil }
    }
    second.close()
  }

  @Test func keyMayBeAdmittedAfterTheWorkerHasCome() async throws {
    let keys = try CurveKeyPair.generate()
    let mine = try CurveKeyPair.generate()
    let admitted = AdmittedKeys()
    let server = try ControlServer(.init(keys: keys, platformVersion: "1.0", epoch: 1), admitted: admitted) { _ in
      .refused(PlatformError(.notFound, ""))
    }
    let worker = try ControlClient(
      .init(address: server.endpoint, serverKey: keys.publicKey, keys: mine), hello: helloOf("a"), heartbeat: { Heartbeat() }
    )
    try await Task.sleep(for: .milliseconds(300))
    admitted.admit(mine.publicKey, as: "a")
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    worker.close()
    server.close()
  }

  @Test func addressesAreChecked() async throws {
    func make(_ address: String) throws -> ControlServer {
      var configuration = ControlServer.Configuration(keys: try .generate(), platformVersion: "1", epoch: 1)
      configuration.address = address
      return try ControlServer(configuration, admitted: AdmittedKeys()) { _ in .refused(PlatformError(.notFound, "")) }
    }
    for wildcard in ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0"] {
      #expect { try make(wildcard) } throws: { ($0 as? PlatformError)?.number == "PLT-2112" }
    }
    for wrong in ["", "tcp://", "127.0.0.1:80", "tcp://127.0.0.1", "tcp://:1", "tcp://127.0.0.1:x", "udp://1.1.1.1:1"] {
      #expect { try make(wrong) } throws: { ($0 as? PlatformError)?.number == "PLT-2111" }
    }
    let server = try make("tcp://127.0.0.1:0")
    #expect(!server.endpoint.hasSuffix(":0"))
    #expect { try make(server.endpoint) } throws: {
      let error = $0 as? PlatformError
      return error?.number == "PLT-2110" && error?.message.contains(server.endpoint) == true
    }
    server.close()
  }

  @Test func joining() async throws {
    let keys = try CurveKeyPair.generate()
    let token = JoinToken(coordinatorKey: keys.publicKey)
    let admitted = AdmittedKeys()
    let server = try ControlServer(.init(keys: keys, platformVersion: "1.0", epoch: 1), admitted: admitted) { request in
      guard SHA256Digest.hex(request.secret) == token.secretDigest else {
        return .refused(PlatformError(.permissionDenied, "this join token is not known", number: "PLT-2131"))
      }
      admitted.admit(request.publicKey, as: request.node)
      return .accepted(node: request.node, controlEndpoint: "")
    }
    let mine = try CurveKeyPair.generate()
    let wrong = JoinToken(coordinatorKey: keys.publicKey)
    await #expect {
      try await Joining.join(address: server.joinEndpoint, token: wrong, keys: mine, node: "n", platformVersion: "1.0")
    } throws: { ($0 as? PlatformError)?.number == "PLT-2131" }
    await #expect {
      try await Joining.join(address: server.joinEndpoint, token: token, keys: mine, node: "n", platformVersion: "0.9")
    } throws: { ($0 as? PlatformError)?.number == "PLT-2123" }
    let stranger = JoinToken(coordinatorKey: try CurveKeyPair.generate().publicKey)
    await #expect {
      try await Joining.join(
        address: server.joinEndpoint, token: stranger, keys: mine, node: "n", platformVersion: "1.0",
        deadline: .milliseconds(500))
    } throws: { ($0 as? PlatformError)?.number == "PLT-2102" }
    #expect(admitted.name(of: mine.publicKey) == nil)

    let (node, endpoint) = try await Joining.join(
      address: server.joinEndpoint, token: token, keys: mine, node: "n", platformVersion: "1.0")
    #expect(node == "n" && endpoint == server.endpoint)
    let worker = try ControlClient(
      .init(address: endpoint, serverKey: keys.publicKey, keys: mine), hello: helloOf("n"), heartbeat: { Heartbeat() })
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }
    worker.close()
    server.close()
  }
}

@Suite(.serialized) struct AttackTests {
  /// A raw dealer with any key; sends `messages` and returns how many answers came within half a second.
  static func attack(
    _ address: String, server: CurvePublicKey, keys: CurveKeyPair, _ messages: [[Data]], milliseconds: Int = 500
  ) throws -> Int {
    let context = try MessageContext()
    let socket = try Socket(.dealer, context: context, limits: SocketLimits(messageBytesMax: 1 << 30))
    defer { socket.close() }
    try socket.authenticate(keys: keys, server: server)
    try socket.connect(address)
    let limit = monotonicMilliseconds() + Int64(milliseconds)
    var next = 0
    var answers = 0
    while monotonicMilliseconds() < limit {
      while next < messages.count, socket.send(messages[next]) == .sent { next += 1 }
      _ = Socket.poll([(socket, .readable)], milliseconds: 10)
      while socket.receive() != nil { answers += 1 }
    }
    return answers
  }

  @Test func hostileMessagesLeaveTheServerWorking() async throws {
    let keys = try CurveKeyPair.generate()
    let good = try CurveKeyPair.generate()
    let bad = try CurveKeyPair.generate()
    let unknown = try CurveKeyPair.generate()
    let admitted = AdmittedKeys([good.publicKey: "good", bad.publicKey: "bad"])
    var configuration = ControlServer.Configuration(keys: keys, platformVersion: "1.0", epoch: 1)
    configuration.timing = quick
    configuration.messageBytesMax = 1 << 20
    let server = try ControlServer(configuration, admitted: admitted) { _ in .refused(PlatformError(.permissionDenied, "no"))
    }
    let publicKey = keys.publicKey
    let pool = BlockingPool(name: "attack", threads: 1)
    func attack(_ address: String, _ keys: CurveKeyPair, _ messages: [[Data]]) async throws -> Int {
      try await pool.run { try Self.attack(address, server: publicKey, keys: keys, messages) }
    }
    let hello = try Envelope(sender: "good", sequence: 1, incarnation: 1, body: .message(.hello(helloOf("good")())))
      .encoded()
    let beat = try Envelope(sender: "x", sequence: 2, epoch: 1, incarnation: 1, body: .message(.heartbeat(Heartbeat())))
      .encoded()
    let join = try Envelope(
      sender: "x",
      body: .joinRequest(
        secret: Data(count: 32), publicKey: good.publicKey.description, node: "good", platformVersion: "1.0")
    ).encoded()

    // An unknown key gets silence on the control socket, and does not become a node.
    #expect(try await attack(server.endpoint, unknown, [[hello], [beat], [Data()]]) == 0)
    // On the join socket it gets an answer to a join request only, and not for the key of another.
    #expect(
      try await attack(server.joinEndpoint, unknown, [[hello], [beat], [Data([1, 2, 3])], [Data(count: 5), Data()]]) == 0)
    #expect(try await attack(server.joinEndpoint, unknown, [[join]]) == 1)
    #expect(try await attack(server.joinEndpoint, unknown, [[Data(count: 20_000)]]) == 0)
    // An admitted key cannot speak for another node: it is refused, by name.
    #expect(try await attack(server.endpoint, bad, [[hello]]) == 1)
    // Garbage, too many frames, too large frames.
    var random = SplitMix64(seed: 3)
    let garbage = (0..<300).map { size in [Data((0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) })] }
    _ = try await attack(server.endpoint, bad, garbage + [Array(repeating: Data([1]), count: 500)])
    _ = try await attack(server.endpoint, bad, [[Data(count: 3 << 20)]])

    let worker = try ControlClient(
      .init(address: server.endpoint, serverKey: keys.publicKey, keys: good), hello: helloOf("good"),
      heartbeat: { Heartbeat() })
    let connected = try await first(server.events, "good node") {
      if case .connected(let hello) = $0 { hello.node } else { nil }
    }
    #expect(connected == "good")
    _ = try await first(worker.events, "welcome") { if case .connected = $0 { true } else { nil } }

    // Replayed messages count once.
    let unit = try Envelope(sender: "bad", sequence: 2, epoch: 1, incarnation: 1, body: .message(.unitStarted(oneUnit)))
      .encoded()
    let badHello = try Envelope(sender: "bad", sequence: 1, incarnation: 1, body: .message(.hello(helloOf("bad")())))
      .encoded()
    let after = try Envelope(
      sender: "bad", sequence: 3, epoch: 1, incarnation: 1, body: .message(.unitLog(oneUnit, lines: ["end"]))
    ).encoded()
    _ = try await attack(server.endpoint, bad, [[badHello], [unit], [unit], [unit], [after]])
    var started = 0
    for await event in server.events {
      if case .message("bad", _, .unitStarted) = event { started += 1 }
      if case .message("bad", _, .unitLog) = event { break }
    }
    #expect(started == 1)

    // A revoked key is not heard any more, although its connection stands.
    admitted.revoke(good.publicKey)
    let gone = try await first(server.events, "revoked") { event in
      if case .disconnected("good", _) = event { true } else { nil }
    }
    #expect(gone)
    worker.close()
    server.close()
  }
}
