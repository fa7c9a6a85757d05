// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Testing

@testable import Transport

final class Counter: Sendable {
  private let number = Mutex(0)
  var value: Int { number.withLock { $0 } }
  func add() { number.withLock { $0 += 1 } }
}

@Suite(.serialized) struct StreamTests {
  struct Pair {
    var server: StreamServer
    var client: StreamClient
  }

  func make(_ handler: @escaping StreamServer.Handler) throws -> Pair {
    let keys = try CurveKeyPair.generate()
    let mine = try CurveKeyPair.generate()
    let server = try StreamServer(.init(keys: keys), admitted: [mine.publicKey], handler: handler)
    let client = try StreamClient(.init(address: server.endpoint, serverKey: keys.publicKey, keys: mine))
    return Pair(server: server, client: client)
  }

  func code(_ stream: AsyncThrowingStream<Data, any Error>) async -> PlatformError.Code? {
    do {
      for try await _ in stream {}
      return nil
    } catch {
      return (error as? PlatformError)?.code
    }
  }

  @Test func piecesComeInOrderForManyCallsAtOnce() async throws {
    let pair = try make { request, reply in
      let count = Int(String(decoding: request.payload, as: UTF8.self))!
      for index in 0..<count { try await reply.send(Data("\(request.verb)-\(index)".utf8)) }
    }
    await withTaskGroup(of: Bool.self) { group in
      for call in 0..<20 {
        group.addTask {
          let count = call * 37
          var next = 0
          do {
            for try await piece in pair.client.call(verb: "v\(call)", payload: Data("\(count)".utf8), deadline: .seconds(30)) {
              guard piece == Data("v\(call)-\(next)".utf8) else { return false }
              next += 1
            }
          } catch { return false }
          return next == count
        }
      }
      for await ok in group { #expect(ok) }
    }
    pair.client.close()
    pair.server.close()
  }

  @Test func errorsDeadlinesAndLimits() async throws {
    let pair = try make { request, reply in
      switch request.verb {
      case "fail": throw PlatformError(.notFound, "no such model", hint: "look", number: "PLT-9")
      case "half":
        try await reply.send(Data([1]))
        throw PlatformError(.conflict, "later")
      default: try await Task.sleep(for: .seconds(60))
      }
    }
    do {
      for try await _ in pair.client.call(verb: "fail", payload: Data(), deadline: .seconds(10)) {}
      Issue.record("no error")
    } catch { #expect(error as? PlatformError == PlatformError(.notFound, "no such model", hint: "look", number: "PLT-9")) }
    var got = 0
    do {
      for try await _ in pair.client.call(verb: "half", payload: Data(), deadline: .seconds(10)) { got += 1 }
    } catch { #expect((error as? PlatformError)?.code == .conflict) }
    #expect(got == 1)
    #expect(await code(pair.client.call(verb: "wait", payload: Data(), deadline: .milliseconds(200))) == .timeout)
    let long = String(repeating: "v", count: 300)
    #expect(await code(pair.client.call(verb: long, payload: Data(), deadline: .seconds(1))) == .invalidArgument)
    pair.client.close()
    pair.server.close()
  }

  @Test func slowReaderHoldsTheServerBack() async throws {
    let sent = Counter()
    let pair = try make { _, reply in
      for _ in 0..<1000 {
        try await reply.send(Data(count: 100))
        sent.add()
      }
    }
    var iterator = pair.client.call(verb: "v", payload: Data(), deadline: .seconds(30)).makeAsyncIterator()
    _ = try await iterator.next()
    try await Task.sleep(for: .milliseconds(300))
    #expect(sent.value <= 65)
    var count = 1
    while try await iterator.next() != nil { count += 1 }
    #expect(count == 1000)
    pair.client.close()
    pair.server.close()
  }

  @Test func cancellingTheReaderCancelsTheHandler() async throws {
    let (ended, signal) = AsyncStream.makeStream(of: String.self)
    let pair = try make { request, reply in
      do {
        while true {
          try await reply.send(Data([1]))
          try await Task.sleep(for: .milliseconds(5))
        }
      } catch { signal.yield(request.verb) }
    }
    let task = Task {
      for try await _ in pair.client.call(verb: "cancelled", payload: Data(), deadline: .seconds(60)) {}
    }
    try await Task.sleep(for: .milliseconds(200))
    task.cancel()
    #expect(try await first(ended, "cancel") { $0 } == "cancelled")
    for try await _ in pair.client.call(verb: "dropped", payload: Data(), deadline: .seconds(60)) { break }
    #expect(try await first(ended, "drop") { $0 } == "dropped")
    pair.client.close()
    pair.server.close()
  }

  @Test func silentServerFailsTheCall() async throws {
    let pair = try make { _, _ in try await Task.sleep(for: .seconds(60)) }
    let begin = ContinuousClock.now
    async let outcome = code(pair.client.call(verb: "v", payload: Data(), deadline: .seconds(60)))
    try await Task.sleep(for: .milliseconds(300))
    pair.server.close()
    #expect(await outcome == .unavailable)
    #expect(begin.duration(to: .now) < .seconds(6))
    pair.client.close()
  }

  @Test func strangersGetNoAnswerAndGarbageNoHold() async throws {
    let keys = try CurveKeyPair.generate()
    let mine = try CurveKeyPair.generate()
    let server = try StreamServer(.init(keys: keys), admitted: [mine.publicKey]) { _, reply in
      try await reply.send(Data("hello".utf8))
    }
    let stranger = try StreamClient(.init(address: server.endpoint, serverKey: keys.publicKey, keys: try .generate()))
    #expect(await code(stranger.call(verb: "v", payload: Data(), deadline: .seconds(20))) == .unavailable)
    let frame = StreamFrame.call(1, verb: "v", payload: Data())
    let pool = BlockingPool(name: "attack", threads: 1)
    _ = try await pool.run {
      try AttackTests.attack(
        server.endpoint, server: keys.publicKey, keys: mine,
        [
          [Data()], [Data(count: 24), Data()], [frame.header], [frame.header, Data()],
          [StreamFrame(kind: .credit, request: 7, argument: .max).header, Data()],
          [StreamFrame(kind: .call, request: 7, argument: .max).header, Data()],
          [frame.header, frame.payload, Data()],
        ])
    }
    let client = try StreamClient(.init(address: server.endpoint, serverKey: keys.publicKey, keys: mine))
    var text = Data()
    for try await piece in client.call(verb: "v", payload: Data(), deadline: .seconds(20)) { text += piece }
    #expect(text == Data("hello".utf8))
    stranger.close()
    client.close()
    server.close()
  }
}
