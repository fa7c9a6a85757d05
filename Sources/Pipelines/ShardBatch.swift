// SPDX-License-Identifier: Apache-2.0

public import Core

/// Several shards of one stage as one: one lease, one order to an executor, one durable result. For parts that are so short that handing each of
/// them out costs more than doing it. They are done one after the other; when one fails, or its worker is lost, all of the batch are done again.
public struct ShardBatch: Sendable, Equatable {
  public static let kind = "batch"
  /// Members of a result that no other kind of work has.
  private static let member = "batch"

  /// What all of them are.
  public var kind: String
  /// In the order of the stage.
  public var payloads: [JSONValue]

  public init(kind: String, payloads: [JSONValue]) {
    self.kind = kind
    self.payloads = payloads
  }

  public var json: JSONValue { ["kind": .string(kind), "payloads": .array(payloads)] }

  /// - Throws: `internalError` when it is no batch.
  public init(json: JSONValue) throws {
    guard let kind = json["kind"]?.stringValue, kind != Self.kind, let payloads = json["payloads"]?.arrayValue else {
      throw PlatformError(.internalError, "a batch of parts cannot be read")
    }
    self.init(kind: kind, payloads: payloads)
  }

  /// Does one after the other.
  /// - Throws: what the first part that fails throws, with its place; `CancellationError`.
  /// - Parameter ended: how many have ended; after each.
  public func run(context: some WorkContext, ended: (Int) -> Void, _ work: (JSONValue) throws -> JSONValue) throws -> JSONValue {
    var results: [JSONValue] = []
    results.reserveCapacity(payloads.count)
    for (index, payload) in payloads.enumerated() {
      try context.checkCancelled()
      do {
        results.append(try work(payload))
      } catch let error as PlatformError {
        throw error.wrapping("part \(index + 1) of the \(payloads.count) of its batch")
      }
      ended(index + 1)
    }
    return [Self.member: .array(results)]
  }

  /// The results of a stage, part by part, whether they came in batches or not.
  public static func parts(of results: [JSONValue]) -> [JSONValue] {
    guard results.contains(where: { batch(in: $0) != nil }) else { return results }
    return results.flatMap { batch(in: $0) ?? [$0] }
  }

  private static func batch(in result: JSONValue) -> [JSONValue]? {
    guard let members = result.objectValue, members.count == 1 else { return nil }
    return members[member]?.arrayValue
  }
}
