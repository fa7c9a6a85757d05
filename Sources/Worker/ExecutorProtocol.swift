// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a worker writes to its executor child's standard input, one JSON object a line.
enum ExecutorCommand: Codable, Sendable {
  /// Start this work. An executor runs one work at a time. The keys open the places in buckets that it needs, and no others.
  /// Secrets are those that a program asks for, by `scope/key`.
  case run(WorkSpec, scratch: String, gang: GangSeat?, keys: [StorageKeys], secrets: [String: String])
  /// Everybody's address, for a gang rank that has reported its own.
  case peers([GangPeer])
  case cancel(reason: String)
  /// A replica finishes what it has, takes nothing new, then ends.
  case drain
}

/// What an executor writes back on its standard output, one JSON object a line. Everything else that its process prints
/// goes to standard error and becomes log lines.
enum ExecutorEvent: Codable, Sendable {
  case started
  case progress(done: Int64, total: Int64, unit: String)
  case metric(name: String, step: Int64, value: Double)
  case log(String)
  /// The rank or replica listens here.
  case endpoint(address: String, publicKey: String)
  case succeeded(JSONValue)
  case failed(PlatformError)
  case cancelled
}

/// A rank's place in its gang.
struct GangSeat: Codable, Sendable {
  var gang: String
  var generation: Int
  var rank: Int
  var size: Int
}

/// How a rank reaches another.
struct GangPeer: Codable, Sendable {
  var rank: Int
  var hostID: String
  var address: String
  var publicKey: String
}

/// Splits a byte stream into lines; a line above `limit` bytes is cut there and the rest dropped.
struct LineSplitter {
  var limit: Int
  private var pending: [UInt8] = []
  private var overflowing = false

  init(limit: Int) { self.limit = limit }

  mutating func feed(_ bytes: UnsafeRawBufferPointer) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    for byte in bytes {
      if byte == UInt8(ascii: "\n") {
        lines.append(pending)
        pending.removeAll(keepingCapacity: true)
        overflowing = false
      } else if pending.count < limit {
        pending.append(byte)
      } else {
        overflowing = true
      }
    }
    return lines
  }

  /// What is left when the stream ends.
  mutating func finish() -> [UInt8]? {
    defer { pending = [] }
    return pending.isEmpty ? nil : pending
  }
}
