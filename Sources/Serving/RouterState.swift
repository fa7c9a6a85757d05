// SPDX-License-Identifier: Apache-2.0

/// Which replica answers the next request of each endpoint: a value without clock, socket or lock.
///
/// The choice is the ready replica with the least outstanding work (power of all choices: replicas are few), ties to the
/// one that was chosen longest ago. A draining replica finishes what it has and gets nothing new; a replica that failed a
/// request is not offered to that request again.
public struct RouterState: Sendable, Equatable {
  public struct Replica: Sendable, Equatable {
    public var unit: String
    public var attempt: Int
    public var node: String
    public var address: String
    /// The replica's CURVE public key (hexadecimal).
    public var publicKey: String
    public var draining = false
    /// It is forgotten with its last request.
    public var leaving = false
    /// Requests sent and not yet ended.
    public var outstanding = 0
    /// Estimate of the tokens that those requests still cost.
    public var outstandingWork = 0
    /// Position in the sequence of choices when it was last chosen.
    public var lastChosen: UInt64 = 0
    /// Of its service: replicas of one generation serve the same model in the same way.
    public var generation: Int

    /// This very process: a restarted replica keeps its unit and has a new attempt.
    public var process: String { "\(unit)#\(attempt)" }

    public init(unit: String, attempt: Int, node: String, address: String, publicKey: String, generation: Int = 0) {
      self.generation = generation
      self.unit = unit
      self.attempt = attempt
      self.node = node
      self.address = address
      self.publicKey = publicKey
    }
  }

  /// Replicas by endpoint, in order of arrival.
  public private(set) var endpoints: [String: [Replica]] = [:]
  private var choices: UInt64 = 0

  public init() {}

  public func replicas(of endpoint: String) -> [Replica] { endpoints[endpoint] ?? [] }

  /// A replica is ready. A newer attempt of the same unit replaces the older.
  public mutating func replicaReady(_ replica: Replica, endpoint: String) {
    var list = endpoints[endpoint] ?? []
    list.removeAll { $0.unit == replica.unit }
    list.append(replica)
    endpoints[endpoint] = list
  }

  /// A draining replica with requests stays until the last of them has ended.
  /// - Returns: the replica that was removed, when it was known with this attempt.
  @discardableResult
  public mutating func replicaGone(unit: String, attempt: Int, endpoint: String) -> Replica? {
    guard let index = endpoints[endpoint]?.firstIndex(where: { $0.unit == unit && $0.attempt == attempt }) else { return nil }
    if let known = endpoints[endpoint]?[index], known.draining, known.outstanding > 0 {
      endpoints[endpoint]?[index].leaving = true
      return nil
    }
    return endpoints[endpoint]?.remove(at: index)
  }

  public mutating func drain(unit: String, endpoint: String) {
    update(unit, endpoint) { $0.draining = true }
  }

  /// Picks a replica for a request that costs about `work` tokens, and books it.
  /// - Parameters:
  ///   - excluding: `process` of replicas that already failed this request.
  ///   - generation: the one that may answer; nil: any.
  public mutating func choose(endpoint: String, work: Int, excluding: Set<String> = [], generation: Int? = nil) -> Replica? {
    let ready = replicas(of: endpoint).filter {
      !$0.draining && !excluding.contains($0.process) && (generation == nil || $0.generation == generation)
    }
    guard let best = ready.min(by: { ($0.outstandingWork, $0.lastChosen) < ($1.outstandingWork, $1.lastChosen) }) else {
      return nil
    }
    choices += 1
    let sequence = choices
    update(best.unit, endpoint) { replica in
      replica.outstanding += 1
      replica.outstandingWork += work
      replica.lastChosen = sequence
    }
    return best
  }

  /// The request that `choose` booked has ended, in whatever way.
  /// - Returns: the replica, when that was the last request of a leaving one.
  @discardableResult
  public mutating func finished(unit: String, attempt: Int, endpoint: String, work: Int) -> Replica? {
    guard let index = endpoints[endpoint]?.firstIndex(where: { $0.unit == unit && $0.attempt == attempt }) else { return nil }
    update(unit, endpoint) { replica in
      replica.outstanding = max(0, replica.outstanding - 1)
      replica.outstandingWork = max(0, replica.outstandingWork - work)
    }
    guard let known = endpoints[endpoint]?[index], known.leaving, known.outstanding == 0 else { return nil }
    return endpoints[endpoint]?.remove(at: index)
  }

  private mutating func update(_ unit: String, _ endpoint: String, _ change: (inout Replica) -> Void) {
    guard let index = endpoints[endpoint]?.firstIndex(where: { $0.unit == unit }) else { return }
    change(&endpoints[endpoint]![index])
  }
}
