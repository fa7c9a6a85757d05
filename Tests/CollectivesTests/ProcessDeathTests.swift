// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Tensor
import TestSupport
import Testing
import Transport

@testable import Collectives

/// What a process that plays one rank is told, in the environment variable `RankProcess.variable`.
struct RankProcess: Codable {
  static let variable = "PLATFORM_TEST_RANK"
  static let rank = 1

  var carrier: String
  var folder: String
  var worldSize: Int

  static var mine: RankProcess? {
    ProcessInfo.processInfo.environment[variable].flatMap { try? JSONDecoder().decode(Self.self, from: Data($0.utf8)) }
  }

  func file(_ name: String) -> String { folder + "/" + name }

  /// Reads a file that another process writes as a whole.
  func wait(for name: String) throws -> Data {
    let limit = monotonicMilliseconds() + 8000
    while monotonicMilliseconds() < limit {
      if let data = FileManager.default.contents(atPath: file(name)) { return data }
      usleep(2000)
    }
    throw PlatformError(.timeout, "\(name) did not come")
  }

  func write(_ data: Data, to name: String) throws {
    try data.write(to: URL(fileURLWithPath: file(name)), options: .atomic)
  }

  func join(_ rank: Int, _ listener: RankListener?, _ peers: [PeerAddress]) throws -> any Collective {
    guard let listener else {
      return try SharedMemoryGroup(
        name: folder, rank: rank, worldSize: worldSize, capacityBytes: 4096, deadline: .seconds(9))
    }
    return try TransportGroup(
      listener: listener, rank: rank, worldSize: worldSize, generation: 1, peers: peers, deadline: .seconds(9))
  }

  func peer(_ rank: Int, _ listener: RankListener) -> PeerAddress {
    PeerAddress(rank: rank, address: listener.endpoint, publicKey: listener.keys.publicKey.description, hostID: "here")
  }

  func keys(_ rank: Int) throws -> CurveKeyPair { try KeyPairStore(path: file("keys-\(rank)")).loadOrCreate() }
}

/// Adds until something fails; gives the sums that came out right.
private func addForEver(_ collective: any Collective, afterRound: (Int) -> Void) throws {
  for round in 0... {
    var values = [Float](repeating: 1, count: 3000)
    try collective.allReduceSum(&values, count: values.count)
    guard values.allSatisfy({ $0 == Float(collective.worldSize) }) else {
      throw PlatformError(.internalError, "wrong sum in round \(round)")
    }
    afterRound(round)
  }
}

@Suite(.serialized) struct ProcessDeathTests {
  /// The other process: not a test by itself.
  @Test(.enabled(if: RankProcess.mine != nil, "runs in the processes that the next test starts"))
  func rankBody() throws {
    let process = try #require(RankProcess.mine)
    var listener: RankListener?
    var peers: [PeerAddress] = []
    if process.carrier == Carrier.transport.rawValue {
      let bound = try RankListener(keys: process.keys(RankProcess.rank))
      try process.write(JSONEncoder().encode(process.peer(RankProcess.rank, bound)), to: "address")
      peers = try JSONDecoder().decode([PeerAddress].self, from: process.wait(for: "peers"))
      listener = bound
    }
    try addForEver(process.join(RankProcess.rank, listener, peers)) { _ in }
  }

  @Test(.enabled(if: RankProcess.mine == nil, "not in a process that a test has started"), arguments: Carrier.allCases)
  func killedProcessFailsAllOthersAtOnce(_ carrier: Carrier) async throws {
    let folder = TemporaryDirectory("ranks")
    let process = RankProcess(carrier: carrier.rawValue, folder: folder.path, worldSize: 3)
    var environment = ProcessInfo.processInfo.environment
    environment[RankProcess.variable] = String(decoding: try JSONEncoder().encode(process), as: UTF8.self)
    let itself = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let child = try await ChildProcess.start(
      .init(
        executable: itself, arguments: ["--testing-library", "swift-testing", "--filter", "ProcessDeathTests/rankBody"],
        environment: environment, outputPath: folder.file("out"), errorPath: folder.file("err"))
    ) { _ in }
    defer { child.signal(SIGKILL) }
    let pool = BlockingPool(name: "ranks", threads: 1)
    let (results, killed) = try await pool.run {
      var listeners: [Int: RankListener] = [:]
      var peers: [PeerAddress] = []
      if carrier == .transport {
        listeners = [0: try RankListener(keys: process.keys(0)), 2: try RankListener(keys: process.keys(2))]
        peers = listeners.map { process.peer($0, $1) }
        peers.append(try JSONDecoder().decode(PeerAddress.self, from: process.wait(for: "address")))
        try process.write(JSONEncoder().encode(peers), to: "peers")
      }
      let ends = ResultSlots<Int64>(2)
      let killed = Mutex<Int64>(0)
      let done = DispatchGroup()
      for (slot, rank) in [0, 2].enumerated() {
        done.enter()
        Thread.detachNewThread { [listeners, peers] in
          do {
            try addForEver(process.join(rank, listeners[rank], peers)) { round in
              guard round == 20, rank == 0 else { return }
              killed.withLock { $0 = monotonicMilliseconds() }
              child.signal(SIGKILL)
            }
          } catch {
            let isGone = (error as? PlatformError)?.number == "PLT-2150"
            ends.set(slot, isGone ? .success(monotonicMilliseconds()) : .failure(error))
          }
          done.leave()
        }
      }
      done.wait()
      return (ends.all, killed.withLock { $0 })
    }
    #expect(
      killed > 0,
      "\(FileManager.default.contents(atPath: folder.file("out")).map { String(decoding: $0, as: UTF8.self) } ?? "")")
    for result in results { #expect(try result.get() - killed < 2000) }
  }

  /// The process whose number stands in the slot is not the one that writes there: the mark of a killed rank, as it stays.
  @Test(.enabled(if: RankProcess.mine == nil, "not in a process that a test has started")) func numberOfAKilledProcess() async throws {
    let sleeper = try await ChildProcess.start(.init(executable: "/bin/sleep", arguments: ["60"])) { _ in }
    defer { sleeper.signal(SIGKILL) }
    let number = sleeper.processID
    #expect(!ProcessLife.hasEnded(number, startTime: try #require(ProcessLife.startTime(of: number))))
    let name = "dead-\(UUID())"
    let pool = BlockingPool(name: "ranks", threads: 1)
    let (results, seconds) = try await pool.run {
      let slots = ResultSlots<Float>(2)
      let group = DispatchGroup()
      let begin = ContinuousClock.now
      for rank in 0..<2 {
        group.enter()
        Thread.detachNewThread {
          slots.set(
            rank,
            Result {
              let collective = try SharedMemoryGroup(
                name: name, rank: rank, worldSize: 2, capacityBytes: 4096, deadline: .seconds(9),
                processID: rank == 1 ? number : ProcessInfo.processInfo.processIdentifier)
              try collective.barrier()
              if rank == 1 {
                sleeper.signal(SIGKILL)
                usleep(1_500_000)  // keeps the object: leaving would be noticed
                return 0
              }
              var value: Float = 1
              try collective.allReduceSum(&value, count: 1)
              return value
            })
          group.leave()
        }
      }
      group.wait()
      return (slots.all, begin.duration(to: .now))
    }
    #expect { try results[0].get() } throws: { ($0 as? PlatformError)?.number == "PLT-2150" }
    #expect(seconds < .seconds(4))
  }

  @Test(.enabled(if: RankProcess.mine == nil, "not in a process that a test has started")) func deadButNotWaitedForHasEnded() throws {
    var process: pid_t = 0
    let name = strdup("true")
    defer { free(name) }
    var arguments = [name, nil]
    try #require(posix_spawn(&process, "/bin/true", nil, nil, &arguments, nil) == 0)
    var information = siginfo_t()
    #expect(waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) == 0)
    #expect(kill(process, 0) == 0)
    #expect(ProcessLife.hasEnded(process, startTime: 0))
    #expect(waitpid(process, nil, 0) == process)
    #expect(ProcessLife.hasEnded(process, startTime: 0))
    let mine = ProcessInfo.processInfo.processIdentifier
    let start = try #require(ProcessLife.startTime(of: mine))
    #expect(!ProcessLife.hasEnded(mine, startTime: start) && !ProcessLife.hasEnded(mine, startTime: 0))
    #expect(ProcessLife.hasEnded(mine, startTime: start &+ 1))
  }
}
