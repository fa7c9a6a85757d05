// SPDX-License-Identifier: Apache-2.0

public import Scheduling

/// What a trigger that waits for changes looks at, and when it starts a run.
public struct WatchRule: Sendable, Equatable {
  public enum Source: Sendable, Equatable {
    /// New names of files below it.
    case files(url: String)
    /// New versions; of all of them when `all`, else of any.
    case tables([String], all: Bool)
    /// New versions of a model that are ready.
    case modelVersions(String)
    /// Where aliases of a model point; empty: all of them.
    case modelAliases(String, [String])
  }
  public var source: Source
  /// From one start to the next.
  public var secondsBetween: Int64?
  /// Without a change before a start.
  public var quietSeconds: Int64?

  /// As `runs/get` shows it.
  public var triggerType: String {
    switch source {
    case .files: "FILE_ARRIVAL"
    case .tables: "TABLE"
    case .modelVersions, .modelAliases: "MODEL"
    }
  }
}

/// What is known of a trigger that waits for changes. A value, stored after each look that changed it: a change while nobody looked is
/// seen at the next look, and each is followed by one run.
public struct ChangeWatch: Codable, Sendable, Equatable {
  /// Keeps the keys of runs apart from those of earlier triggers of the job.
  public var series: String
  /// Version by table or alias; of files and versions of models only that they are there.
  public var seen: [String: String]
  /// What has changed since the last start.
  public var changed: Set<String> = []
  public var changedAt: Instant?
  public var startedAt: Instant?
  public var starts = 0
  /// The run of that number is wanted, and not known to be stored.
  public var isStarting = false

  /// What is there now is no change.
  public init(series: String, seen: [String: String]) {
    self.series = series
    self.seen = seen
  }

  public func key(job: Int64) -> String { "trigger:\(job):\(series):\(starts)" }

  /// Takes note of what is there now.
  public mutating func look(_ now: [String: String], _ rule: WatchRule, at time: Instant) {
    let fresh = now.filter { seen[$0.key] != $0.value }.keys
    if !fresh.isEmpty {
      changedAt = time
      // Of files it is enough that there is one: there may be very many.
      if case .tables = rule.source { changed.formUnion(fresh) } else { changed.insert("") }
    }
    // A table that is away for a moment is not new when it is back.
    if case .tables = rule.source { seen.merge(now) { $1 } } else { seen = now }
    guard !isStarting, isMet(rule), let changedAt else { return }
    if let quiet = rule.quietSeconds, time - changedAt < quiet * 1000 { return }
    if let between = rule.secondsBetween, let startedAt, time - startedAt < between * 1000 { return }
    changed = []
    self.changedAt = nil
    startedAt = time
    starts += 1
    isStarting = true
  }

  private func isMet(_ rule: WatchRule) -> Bool {
    if case .tables(let names, all: true) = rule.source { return changed.isSuperset(of: names) }
    return !changed.isEmpty
  }
}
