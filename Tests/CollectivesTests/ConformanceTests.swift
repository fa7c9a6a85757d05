// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Tensor
import Testing
import Transport

@testable import Collectives

enum Carrier: String, CaseIterable, CustomTestStringConvertible {
  case sharedMemory, transport
  var testDescription: String { rawValue }
}

struct Case: CustomTestStringConvertible {
  var carrier: Carrier
  var ranks: Int
  var testDescription: String { "\(carrier.rawValue) x \(ranks)" }
  static let all = Carrier.allCases.flatMap { carrier in (1...4).map { Case(carrier: carrier, ranks: $0) } }
}

/// Runs one thread for each rank and returns what each made of it.
func gang<T: Sendable>(
  _ carrier: Carrier, ranks: Int, slotBytes: Int = 4096, deadline: Duration = .seconds(5),
  comeLate: UInt32 = 0, name: String = "test-\(UUID())",
  _ body: @escaping @Sendable (any Collective) throws -> T
) throws -> [Result<T, any Error>] {
  let listeners = try carrier == .transport ? (0..<ranks).map { _ in try RankListener(keys: CurveKeyPair.generate()) } : []
  let peers = listeners.enumerated().map {
    PeerAddress(rank: $0, address: $1.endpoint, publicKey: $1.keys.publicKey.description, hostID: "here")
  }
  let slots = ResultSlots<T>(ranks)
  let group = DispatchGroup()
  for rank in 0..<ranks {
    group.enter()
    let thread = Thread {
      slots.set(
        rank,
        Result {
          usleep(comeLate * UInt32(rank))
          let collective: any Collective =
            switch carrier {
            case .sharedMemory:
              try SharedMemoryGroup(name: name, rank: rank, worldSize: ranks, capacityBytes: slotBytes, deadline: deadline)
            case .transport:
              try TransportGroup(
                listener: listeners[rank], rank: rank, worldSize: ranks, generation: 3, peers: peers, deadline: deadline)
            }
          return try body(collective)
        })
      group.leave()
    }
    thread.stackSize = 1 << 20
    thread.start()
  }
  group.wait()
  return slots.all
}

final class ResultSlots<T: Sendable>: Sendable {
  private let values: Mutex<[Result<T, any Error>?]>
  init(_ count: Int) { values = Mutex(Array(repeating: nil, count: count)) }
  func set(_ index: Int, _ value: Result<T, any Error>) { values.withLock { $0[index] = value } }
  var all: [Result<T, any Error>] { values.withLock { $0.map { $0! } } }
}

func randomFloats(_ count: Int, seed: UInt64) -> [Float] {
  var random = SplitMix64(seed: seed)
  return (0..<count).map { _ in Float(random.nextUnit() * 2000 - 1000) }
}

/// What all ranks must get: the parts added in rank order.
func expectedSum(_ count: Int, ranks: Int) -> [UInt32] {
  var total = randomFloats(count, seed: 0)
  for rank in 1..<max(1, ranks) {
    let part = randomFloats(count, seed: UInt64(rank))
    for index in 0..<count { total[index] += part[index] }
  }
  return total.map(\.bitPattern)
}

@Suite(.serialized) struct ConformanceTests {
  @Test(arguments: Case.all) func sums(_ test: Case) throws {
    for count in [0, 1, 7, 1023, 1024, 1025, 5001] {
      let expected = expectedSum(count, ranks: test.ranks)
      for result in try gang(
        test.carrier, ranks: test.ranks,
        { collective in
          var buffer = randomFloats(count, seed: UInt64(collective.rank))
          try buffer.withUnsafeMutableBufferPointer { bytes in
            try withPointer(bytes) { try collective.allReduceSum($0, count: count) }
          }
          return buffer.map(\.bitPattern)
        })
      {
        #expect(try result.get() == expected)
      }
    }
  }

  @Test(arguments: Case.all) func mixedOperationsInARow(_ test: Case) throws {
    let ranks = test.ranks
    for result in try gang(
      test.carrier, ranks: ranks,
      { collective in
        let rank = collective.rank
        for round in 0..<40 {
          if (round + rank) % 7 == 0 { usleep(3000) }  // one after the other comes late
          var maximum: [Float] = [Float(rank), Float(-rank), Float(round)]
          try collective.allReduceMax(&maximum, count: 3)
          guard maximum == [Float(ranks - 1), 0, Float(round)] else { return "max in round \(round): \(maximum)" }

          var gathered = [Float](repeating: -1, count: 1500 * ranks)
          try collective.allGather((0..<1500).map { Float(rank * 10_000 + $0) }, count: 1500, into: &gathered)
          guard gathered == (0..<ranks).flatMap({ rank in (0..<1500).map { Float(rank * 10_000 + $0) } }) else {
            return "gather in round \(round)"
          }
          let root = round % ranks
          var bytes = [UInt8](repeating: rank == root ? UInt8(round) : 255, count: 9001)
          try collective.broadcast(&bytes, byteCount: bytes.count, root: root)
          guard bytes.allSatisfy({ $0 == UInt8(round) }) else { return "broadcast in round \(round)" }
          try collective.barrier()
          var nothing: Float = 4
          try collective.allReduceSum(&nothing, count: 0)
          guard nothing == 4 else { return "empty sum" }
        }
        return "ok"
      })
    {
      #expect(try result.get() == "ok")
    }
  }

  @Test(arguments: Carrier.allCases) func specialValuesPassThrough(_ carrier: Carrier) throws {
    for result in try gang(
      carrier, ranks: 2,
      { collective in
        let mine: [Float] =
          collective.rank == 0 ? [.nan, .infinity, .infinity, 1, -0.0, 3] : [1, 1, -.infinity, .nan, -0.0, .nan]
        var sum = mine
        try collective.allReduceSum(&sum, count: 6)
        var maximum = mine
        try collective.allReduceMax(&maximum, count: 6)
        return (sum, maximum)
      })
    {
      let (sum, maximum) = try result.get()
      #expect(sum[0].isNaN && sum[1] == .infinity && sum[2].isNaN && sum[3].isNaN && sum[4].sign == .minus && sum[5].isNaN)
      #expect(maximum[0].isNaN && maximum[1] == .infinity && maximum[2] == .infinity && maximum[3].isNaN && maximum[5].isNaN)
    }
  }

  @Test(arguments: Carrier.allCases) func largeBuffer(_ carrier: Carrier) throws {
    let count = 5_000_000
    let results = try gang(carrier, ranks: 2, slotBytes: 1 << 20) { collective in
      let buffer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      defer { buffer.deallocate() }
      let value = Float(collective.rank + 1) * 0.1
      buffer.initialize(repeating: value, count: count)
      buffer[count - 1] = Float(collective.rank) + 0.25
      try collective.allReduceSum(buffer, count: count)
      return SHA256Digest.hex(Data(bytes: buffer, count: count * 4)) + " \(buffer[0]) \(buffer[count - 1])"
    }
    let first = try results[0].get()
    #expect(try results[1].get() == first)
    #expect(first.hasSuffix(" \(Float(0.1) + Float(0.2)) 1.5"))
  }

  @Test(arguments: Carrier.allCases) func lateRankIsATimeoutOrAGoneRankForAll(_ carrier: Carrier) throws {
    let begin = ContinuousClock.now
    let results = try gang(carrier, ranks: 3, deadline: .milliseconds(700)) { collective in
      var value: Float = 1
      try collective.allReduceSum(&value, count: 1)
      // Rank 2 comes no more, but does not leave either until the others have given up.
      if collective.rank == 2 {
        usleep(1_500_000)
        return value
      }
      try collective.allReduceSum(&value, count: 1)
      return value
    }
    #expect(begin.duration(to: .now) < .seconds(10))
    for result in results[0..<2] {
      #expect { try result.get() } throws: { [.timeout, .unavailable].contains(($0 as? PlatformError)?.code) }
    }
    #expect(try results[2].get() == 3)
  }

  @Test(arguments: Carrier.allCases) func leavingFailsThePeersAtOnce(_ carrier: Carrier) throws {
    let begin = ContinuousClock.now
    let results = try gang(carrier, ranks: 2, deadline: .seconds(30)) { collective in
      var value: Float = 1
      try collective.allReduceSum(&value, count: 1)
      if collective.rank == 1 { return value }
      try collective.allReduceSum(&value, count: 1)
      return value
    }
    #expect(try results[1].get() == 2)
    #expect { try results[0].get() } throws: { ($0 as? PlatformError)?.code == .unavailable }
    #expect(begin.duration(to: .now) < .seconds(2))
  }

  /// The first ranks knock at the doors of ranks that do not know them yet.
  @Test(arguments: Carrier.allCases) func ranksComeOneAfterTheOther(_ carrier: Carrier) throws {
    for order in [300_000, 20_000, 1000] as [UInt32] {
      let results = try gang(carrier, ranks: 3, comeLate: order) { collective in
        var value: Float = 2
        try collective.allReduceSum(&value, count: 1)
        return value
      }
      for result in results { #expect(try result.get() == 6) }
    }
  }

  @Test func missingRankIsATimeout() throws {
    #expect {
      try SharedMemoryGroup(name: "alone-\(UUID())", rank: 0, worldSize: 2, deadline: .milliseconds(200))
    } throws: { ($0 as? PlatformError)?.code == .timeout }
    #expect {
      try SharedMemoryGroup(name: "alone-\(UUID())", rank: 1, worldSize: 2, deadline: .milliseconds(200))
    } throws: { ($0 as? PlatformError)?.code == .timeout }
    let keys = try CurveKeyPair.generate()
    let listener = try RankListener(keys: keys)
    let other = try CurveKeyPair.generate().publicKey.description
    #expect {
      try TransportGroup(
        listener: listener, rank: 0, worldSize: 2, generation: 1,
        peers: [
          PeerAddress(rank: 0, address: listener.endpoint, publicKey: keys.publicKey.description, hostID: "h"),
          PeerAddress(rank: 1, address: "tcp://127.0.0.1:9", publicKey: other, hostID: "h"),
        ], deadline: .milliseconds(300))
    } throws: { ($0 as? PlatformError)?.code == .timeout }
  }

  @Test func segmentIsGoneOnceAllHaveJoined() throws {
    let name = "segment-\(UUID())"
    let file = "/dev/shm/platform-" + SHA256Digest.hex(name).prefix(32)
    let results = try gang(.sharedMemory, ranks: 2, name: name) { collective in
      // Rank 0 removes the name before it comes here.
      try collective.barrier()
      return FileManager.default.fileExists(atPath: file)
    }
    for result in results { #expect(try result.get() == false) }
  }
}

func withPointer(
  _ buffer: UnsafeMutableBufferPointer<Float>, _ body: (UnsafeMutablePointer<Float>) throws -> Void
) throws {
  if let base = buffer.baseAddress { return try body(base) }
  var nothing: Float = 0
  try body(&nothing)
}
