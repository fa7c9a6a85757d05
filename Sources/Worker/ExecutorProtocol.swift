// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Transport

/// What a worker and an executor tell each other. Everything else that the executor's process prints goes to standard error and becomes
/// log lines.
typealias ExecutorFrame = PipeFrame<ExecutorFrameKind>
typealias ExecutorFrameReader = PipeFrameReader<ExecutorFrameKind>

enum ExecutorFrameKind: UInt8, Sendable {
  // To the executor
  /// Do this, behind what was ordered before: an `ExecutorOrder`.
  case run = 1
  /// Everybody's address, for a gang rank that has reported its own: a list of `GangPeer`.
  case peers = 2
  /// What has not begun is taken off the queue and answered at once.
  case cancel = 3
  /// A replica finishes what it has, takes nothing new, then ends.
  case drain = 4
  /// What has not begun is given back; what has begun goes on.
  case takeBack = 5
  // From the executor
  case progress = 16
  case metric = 17
  /// A line of text.
  case log = 18
  /// The rank or replica listens here.
  case endpoint = 19
  /// The result as JSON.
  case succeeded = 20
  /// A `PlatformError` as JSON.
  case failed = 21
  case cancelled = 22
  /// It was not begun: another executor may do it.
  case returned = 23
}

/// One attempt at one unit, for an executor.
struct ExecutorOrder: Sendable {
  var unit: String
  var attempt: Int
  var kind: String
  /// Where its own folder is, when it wants one.
  var scratch: String
  /// The `AssignedWork` as it came from the coordinator. Its keys open the places in buckets that the work needs, and no others.
  var work: Data

  init(unit: String, attempt: Int, kind: String, scratch: String, work: Data) {
    self.unit = unit
    self.attempt = attempt
    self.kind = kind
    self.scratch = scratch
    self.work = work
  }

  /// The length of a JSON object (u32, little-endian), the object, the work.
  var encoded: Data {
    let label = JSONValue.object([
      "unit": .string(unit), "attempt": .integer(Int64(attempt)), "kind": .string(kind), "scratch": .string(scratch),
    ]).sortedData
    var out = Data(capacity: 4 + label.count + work.count)
    withUnsafeBytes(of: UInt32(label.count).littleEndian) { out.append(contentsOf: $0) }
    out.append(label)
    out.append(work)
    return out
  }

  /// - Throws: `internalError`: the same binary wrote it.
  init(decoding data: Data) throws {
    let length = data.count < 4 ? nil : data.withUnsafeBytes { Int(UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self))) }
    guard let length, data.count >= 4 + length, let label = try? JSONValue(parsing: Data(data.dropFirst(4).prefix(length))),
      let unit = label["unit"]?.stringValue, let attempt = label["attempt"]?.intValue, let kind = label["kind"]?.stringValue,
      let scratch = label["scratch"]?.stringValue
    else { throw PlatformError(.internalError, "an order for an executor that cannot be read") }
    self.init(unit: unit, attempt: attempt, kind: kind, scratch: scratch, work: Data(data.dropFirst(4 + length)))
  }
}

/// How far work is, in its own units.
struct ExecutorProgress: Codable, Sendable {
  var done: Int64
  var total: Int64
  var unit: String
}

/// One point of a curve.
struct ExecutorMetric: Codable, Sendable {
  var name: String
  var step: Int64
  var value: Double
}

/// Where a rank or replica listens.
struct ExecutorEndpoint: Codable, Sendable {
  var address: String
  var publicKey: String
}

/// How a rank reaches another.
struct GangPeer: Codable, Sendable {
  var rank: Int
  var hostID: String
  var address: String
  var publicKey: String
}
