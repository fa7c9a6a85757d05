// SPDX-License-Identifier: Apache-2.0

public import Core

/// The payload of an assignment on the control link: the unit's own specification and, for a rank, its place.
public struct AssignedWork: Sendable {
  public struct Seat: Codable, Sendable {
    public var gang: String
    public var generation: Int
    public var rank: Int
    public var size: Int
    public init(gang: String, generation: Int, rank: Int, size: Int) {
      self.gang = gang
      self.generation = generation
      self.rank = rank
      self.size = size
    }
  }
  /// The incarnation of the worker that was meant; another one refuses.
  public var incarnation: Int64
  public var payload: JSONValue
  public var gang: Seat?
  /// Replicas are kept in processes of their own and take no slot.
  public var isReplica: Bool
  /// It begins when fewer such units run than the worker has slots. Absent: at once.
  public var mayWait: Bool?
  /// What opens the places in buckets that the work reads or writes. The link is encrypted.
  public var keys: [StorageKeys]?
  /// Values of the secrets that a program asks for, by `scope/key`, without those that are not there.
  public var secrets: [String: String]?

  public init(
    incarnation: Int64, payload: JSONValue, gang: Seat? = nil, isReplica: Bool = false, mayWait: Bool? = nil, keys: [StorageKeys]? = nil,
    secrets: [String: String]? = nil
  ) {
    self.mayWait = mayWait
    self.secrets = secrets
    self.incarnation = incarnation
    self.payload = payload
    self.gang = gang
    self.isReplica = isReplica
    self.keys = keys
  }

  /// What is absent is nil or false. Read and written by hand: of work that is over in a moment, this would take the most time.
  public var json: JSONValue {
    get throws {
      var members: [String: JSONValue] = ["incarnation": .integer(incarnation), "payload": payload, "isReplica": .bool(isReplica)]
      if let gang { members["gang"] = try JSONValue(encoding: gang) }
      if let mayWait { members["mayWait"] = .bool(mayWait) }
      if let keys { members["keys"] = try JSONValue(encoding: keys) }
      if let secrets { members["secrets"] = .object(secrets.mapValues { .string($0) }) }
      return .object(members)
    }
  }

  /// - Throws: `internalError`: a binary of this version wrote it.
  public init(json: JSONValue) throws {
    guard let incarnation = json["incarnation"]?.intValue, let payload = json["payload"], let isReplica = json["isReplica"]?.boolValue else {
      throw PlatformError(.internalError, "unreadable assignment")
    }
    func present(_ name: String) -> JSONValue? { json[name].flatMap { $0 == .null ? .none : $0 } }
    do {
      self.init(
        incarnation: Int64(incarnation), payload: payload, gang: try present("gang")?.decode(), isReplica: isReplica,
        mayWait: present("mayWait")?.boolValue, keys: try present("keys")?.decode(), secrets: try present("secrets")?.decode())
    } catch { throw PlatformError(.internalError, "unreadable assignment: \(JSONValue.reason(error))") }
  }

  /// The reason in a cancel message that asks a replica to finish what it has first.
  public static let drainReason = "drain"
}
