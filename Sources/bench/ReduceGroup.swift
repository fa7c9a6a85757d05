// SPDX-License-Identifier: Apache-2.0

import Collectives
import Core
import Foundation
import Tensor

/// Sums over two processes of this machine.
enum ReduceGroup {
  static func run(_ setup: Setup, report: Group.Report) async throws {
    let name = "bench-\(UUID().uuidString)"
    let other = try await ChildProcess.start(
      .init(executable: "/proc/self/exe", arguments: [ReduceRank.argument, name], errorPath: setup.file("rank.log"), wantsInput: true),
      onOutput: { _ in }, onExit: { _ in })
    defer { other.closeInput() }
    let group = try SharedMemoryGroup(name: name, rank: 0, worldSize: 2)
    try setup.peer.call("reduce.start", ["folder": .string(setup.folder.path)])

    for (size, bytes, repeats) in [("8 KiB", 8 << 10, 2000), ("4 MiB", 4 << 20, 40)] {
      let count = bytes / 4
      func ours(_ repeats: Int) throws -> Double {
        other.writeLine(Data("\(count) \(repeats)".utf8))
        return try ReduceRank.reduce(group, count: count, repeats: repeats)
      }
      let work: [String: JSONValue] = ["count": .integer(Int64(count)), "repeats": .integer(Int64(repeats))]
      try check(setup.peer.call("reduce.run", ["count": .integer(Int64(count)), "repeats": 1])["sum"]?.doubleValue == 3, "the peer's sum")
      _ = try ours(1)
      try await report(
        Comparison(
          what: "all-reduce of \(size), 2 processes", ours: "SharedMemoryGroup", peer: "torch.distributed gloo", threads: 1, amount: Double(repeats),
          unit: "sums", runOurs: { _ in try ours(repeats) }, runPeer: { _ in try setup.peer.time("reduce.run", work) }))
    }
    try setup.peer.call("reduce.stop")
  }
}

/// One rank. The second one is this program again, told what to do line by line.
enum ReduceRank {
  static let argument = "--reduce-rank"

  static func run(_ arguments: [String]) throws {
    guard let name = arguments.first else { throw PlatformError(.invalidArgument, "no group") }
    let group = try SharedMemoryGroup(name: name, rank: 1, worldSize: 2)
    while let line = readLine() {
      let numbers = line.split(separator: " ").compactMap { Int($0) }
      guard numbers.count == 2 else { throw PlatformError(.invalidArgument, "expected two numbers") }
      _ = try reduce(group, count: numbers[0], repeats: numbers[1])
    }
  }

  /// Seconds for `repeats` sums of `count` floats, all ranks starting together; the first sum of rank + 1 must be 3.
  static func reduce(_ group: SharedMemoryGroup, count: Int, repeats: Int) throws -> Double {
    var buffer = [Float](repeating: Float(group.rank + 1), count: count)
    return try buffer.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return 0 }
      try group.allReduceSum(base, count: count)
      try check(buffer.allSatisfy { $0 == 3 }, "sum over two ranks")
      buffer.update(repeating: 0)
      try group.barrier()
      return try seconds { for _ in 0..<repeats { try group.allReduceSum(base, count: count) } }
    }
  }
}
