// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Something that happened in the cluster, as `platform events` shows it.
public struct EventInfo: Codable, Sendable, Equatable {
  /// Grows with every event.
  public var id: Int64
  public var at: Date
  /// `node.joined`, `run.failed`, ..
  public var kind: String
  /// `INFO`, `WARNING`, `ERROR`.
  public var severity: String
  public var subject: String
  public var node: String?
  public var message: String

  public init(id: Int64, at: Date, kind: String, severity: String, subject: String, node: String?, message: String) {
    self.id = id
    self.at = at
    self.kind = kind
    self.severity = severity
    self.subject = subject
    self.node = node
    self.message = message
  }
}

/// Events, oldest first.
public struct EventList: Codable, Sendable, Equatable {
  public var events: [EventInfo]
  /// Give it as `after` to get what comes next.
  public var last: Int64

  public init(events: [EventInfo], last: Int64) {
    self.events = events
    self.last = last
  }
}
