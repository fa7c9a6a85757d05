// SPDX-License-Identifier: Apache-2.0

import Core
import Postgres
import Testing

@Suite struct NotificationTests {
  private func configuration(_ name: String) async throws -> PostgresConfiguration {
    var configuration = PostgresConfiguration(connectionString: try await PostgresServer.shared.connection(), schema: "public")
    configuration.applicationName = name
    return configuration
  }

  /// Reads events up to and with the one that `isLast` says.
  private func collect(
    _ iterator: inout AsyncStream<NotificationListener.Event>.Iterator, until isLast: (NotificationListener.Event) -> Bool
  ) async -> [NotificationListener.Event] {
    var events: [NotificationListener.Event] = []
    while let event = await iterator.next(isolation: nil) {
      events.append(event)
      if isLast(event) { break }
    }
    return events
  }

  @Test(.timeLimit(.minutes(2))) func listenersHearEverythingAndResumeAfterTheirSessionsAreKilled() async throws {
    let name = "listen-\(UInt32.random(in: 0 ... .max))"
    let pool = try await makePool()
    defer { pool.close() }
    var options = NotificationListener.Options()
    options.backoff = Backoff(firstMilliseconds: 10, limitMilliseconds: 100)
    // Names that need quotes, and one that would mean another without them.
    let channels = ["\(name)-a", "\(name) \"B\""]
    let first = try NotificationListener(await configuration(name), channels: channels, options: options)
    let second = try NotificationListener(await configuration(name), channels: [channels[1]], options: options)
    var firstEvents = first.events.makeAsyncIterator()
    var secondEvents = second.events.makeAsyncIterator()
    #expect(await firstEvents.next(isolation: nil) == .resynchronise)
    #expect(await secondEvents.next(isolation: nil) == .resynchronise)

    func send(_ range: Range<Int>) async throws {
      for index in range { try await pool.notify(channel: channels[index % 2], payload: "n'\(index)☃") }
    }
    func expected(_ range: Range<Int>, _ parity: Set<Int>) -> [NotificationListener.Event] {
      range.filter { parity.contains($0 % 2) }.map { .notification(channel: channels[$0 % 2], payload: "n'\($0)☃") }
    }
    try await send(0..<100)
    #expect(await collect(&firstEvents) { $0 == expected(99..<100, [1]).first } == expected(0..<100, [0, 1]))
    #expect(await collect(&secondEvents) { $0 == expected(99..<100, [1]).first } == expected(0..<100, [1]))

    let killed = try await pool.query(
      "SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE application_name = $1", [.text(name)])
    #expect(try killed.count == 2 && killed.allSatisfy { try $0.bool("done") })
    #expect(await firstEvents.next(isolation: nil) == .resynchronise, "the gap is told")
    #expect(await secondEvents.next(isolation: nil) == .resynchronise)
    #expect(first.problem == nil && second.problem == nil)
    try await send(100..<200)
    #expect(await collect(&firstEvents) { $0 == expected(199..<200, [1]).first } == expected(100..<200, [0, 1]))
    #expect(await collect(&secondEvents) { $0 == expected(199..<200, [1]).first } == expected(100..<200, [1]))

    await first.stop()
    await second.stop()
    #expect(await firstEvents.next(isolation: nil) == nil, "the stream ends")
    #expect(await secondEvents.next(isolation: nil) == nil)
    await first.stop()
  }

  @Test(.timeLimit(.minutes(2))) func aFullBufferIsReportedInsteadOfGrowing() async throws {
    let name = "full-\(UInt32.random(in: 0 ... .max))"
    let pool = try await makePool()
    defer { pool.close() }
    var options = NotificationListener.Options()
    options.bufferLimit = 10
    let listener = try NotificationListener(await configuration(name), channels: [name, "\(name)-end"], options: options)
    var events = listener.events.makeAsyncIterator()
    #expect(await events.next(isolation: nil) == .resynchronise)
    _ = try await pool.transaction { transaction in
      for index in 0..<500 { try transaction.notify(channel: name, payload: "\(index)") }
    }
    while listener.droppedCount < 490 { await Task.yield() }
    #expect(listener.droppedCount == 490)
    for index in 0..<10 { #expect(await events.next(isolation: nil) == .notification(channel: name, payload: "\(index)")) }
    #expect(await events.next(isolation: nil) == .resynchronise, "what was dropped is told")
    try await pool.notify(channel: "\(name)-end")
    #expect(await events.next(isolation: nil) == .notification(channel: "\(name)-end", payload: ""))
    await listener.stop()
  }

  @Test func transactionsThatRollBackNotifyNobody() async throws {
    let name = "rolled-\(UInt32.random(in: 0 ... .max))"
    let pool = try await makePool()
    defer { pool.close() }
    let listener = try NotificationListener(await configuration(name), channels: [name])
    var events = listener.events.makeAsyncIterator()
    #expect(await events.next(isolation: nil) == .resynchronise)
    await #expect(throws: PlatformError.self) {
      try await pool.transaction { transaction in
        try transaction.notify(channel: name, payload: "lost")
        try transaction.execute("SELECT 1/0")
      }
    }
    try await pool.notify(channel: name, payload: "kept")
    #expect(await events.next(isolation: nil) == .notification(channel: name, payload: "kept"))
    await listener.stop()
  }

  @Test(.timeLimit(.minutes(1))) func stopsWhileNothingCanBeReachedAndWhenItsReaderLeaves() async throws {
    let away = try NotificationListener(PostgresConfiguration(connectionString: "host=/nonexistent dbname=x"), channels: ["c"])
    while away.problem == nil { await Task.yield() }
    #expect(away.problem?.code == .unavailable)
    await away.stop()

    let name = "left-\(UInt32.random(in: 0 ... .max))"
    let listener = try NotificationListener(await configuration(name), channels: ["c"])
    let reader = Task {
      for await _ in listener.events {}
    }
    reader.cancel()
    await reader.value
    await listener.stop()
    for channels in [[], [""], [String(repeating: "x", count: 64)], ["a\0b"]] {
      #expect(throws: PlatformError.self) { _ = try NotificationListener(PostgresConfiguration(connectionString: ""), channels: channels) }
    }
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    await #expect(throws: PlatformError.self) { try await pool.notify(channel: "c", payload: String(repeating: "x", count: 8000)) }
    await #expect(throws: PlatformError.self) { try await pool.notify(channel: "") }
    try await pool.notify(channel: "c", payload: String(repeating: "x", count: 7999))
  }
}
