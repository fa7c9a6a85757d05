// SPDX-License-Identifier: Apache-2.0

public import Core

extension Record {
  /// As `Codable` writes it. Of shards, of which there are many, in a fraction of the time.
  public var json: JSONValue {
    get throws {
      if case .unit(let unit) = self, let body = unit.shardJSON { return ["unit": ["_0": body]] }
      return try JSONValue(encoding: self)
    }
  }
}

extension UnitRecord {
  /// Nil for what has members that only some units have.
  var shardJSON: JSONValue? {
    guard service == nil, replaces == nil, error == nil, demand == nil, rival == nil, address == nil, publicKey == nil else { return .none }
    var members: [String: JSONValue] = Dictionary(minimumCapacity: 24)
    members["name"] = .string(name)
    members["run"] = .string(run)
    members["task"] = .string(task)
    members["taskAttempt"] = .integer(Int64(taskAttempt))
    members["stage"] = .integer(Int64(stage))
    members["index"] = .integer(Int64(index))
    members["generation"] = .integer(Int64(generation))
    members["kind"] = .string(kind)
    members["payload"] = payload
    members["state"] = .string(state.rawValue)
    members["attempt"] = .integer(Int64(attempt))
    members["worker"] = worker.map { .string($0) }
    members["incarnation"] = .integer(incarnation)
    members["failures"] = .integer(Int64(failures))
    members["losses"] = .integer(Int64(losses))
    members["notBefore"] = notBefore.map { .integer($0) }
    members["readySince"] = readySince.map { .integer($0) }
    members["drainDeadline"] = drainDeadline.map { .integer($0) }
    members["result"] = result
    members["repeatable"] = repeatable.map { .bool($0) }
    members["affinity"] = affinity.map { .integer($0) }
    members["preemptions"] = preemptions.map { .integer(Int64($0)) }
    members["preemptedBy"] = preemptedBy.map { .string($0) }
    members["rivalAttempt"] = rivalAttempt.map { .integer(Int64($0)) }
    return .object(members)
  }
}
