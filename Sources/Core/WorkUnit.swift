// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// What an executor process is asked to do: one attempt at one shard, gang rank or replica.
///
/// `payload` is the JSON of the kind's own specification type (for example `IngestShard` in `Pipelines`); the executor
/// decodes it. It carries resolved paths and file lists, never credentials of the database.
public struct WorkSpec: Codable, Sendable, Equatable {
  /// Unit name, unique in the cluster: `run/task/stage/index`, `service/replica`.
  public var unit: String
  /// Counts from 1; results of an older attempt change nothing.
  public var attempt: Int
  /// Which executor function runs it: `ingest`, `prepare.clean`, `train.rank`, `serve.replica`, ...
  public var kind: String
  public var payload: JSONValue

  public init(unit: String, attempt: Int, kind: String, payload: JSONValue) {
    self.unit = unit
    self.attempt = attempt
    self.kind = kind
    self.payload = payload
  }

  /// Decodes the payload.
  /// - Throws: `internalError` naming the kind when the shape is wrong: both ends are the same binary.
  public func decodePayload<T: Decodable>(_ type: T.Type = T.self) throws -> T {
    do {
      return try payload.decode(type)
    } catch {
      throw PlatformError(.internalError, "work of kind '\(kind)' has a payload this binary cannot read: \(JSONValue.reason(error))")
    }
  }
}

/// What running work may tell the outside while it runs. Implemented by the executor process, and by tests.
public protocol WorkContext: Sendable {
  /// A private folder for temporary files, removed after the attempt.
  var scratchDirectory: String { get }
  /// True once the attempt should stop; long loops look at it at least every 100 ms of work and throw `CancellationError`.
  var isCancelled: Bool { get }
  /// A line for the attempt's log.
  func log(_ line: String)
  /// How far the attempt is, in its own units (rows, steps).
  func progress(done: Int64, total: Int64, unit: String)
  /// One point of a curve that is stored in Postgres: loss, tokens per second.
  func metric(_ name: String, step: Int64, value: Double)
}

extension WorkContext {
  public func checkCancelled() throws { if isCancelled { throw CancellationError() } }
}

/// A context that keeps everything in memory and is never cancelled: for tests and one-off calls.
public final class QuietContext: WorkContext {
  public let scratchDirectory: String
  public init(scratchDirectory: String = NSTemporaryDirectory()) { self.scratchDirectory = scratchDirectory }
  public var isCancelled: Bool { false }
  public func log(_ line: String) {}
  public func progress(done: Int64, total: Int64, unit: String) {}
  public func metric(_ name: String, step: Int64, value: Double) {}
}
