// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Jobs

/// Rights of jobs as a value.
@Suite struct JobRightsTests {
  private static func entries(_ lines: [(String, String)]) throws -> [JobRights.Entry] {
    try JobRights.entries(
      .array(
        lines.map { who, level in
          let parts = who.split(separator: ":").map(String.init)
          return [parts.count == 2 ? "group_name" : "user_name": .string(parts.last ?? ""), "permission_level": .string(level)]
        }))
  }

  private static func number(_ body: () throws -> Void) -> String? {
    do { try body() } catch { return (error as? PlatformError)?.number }
    return nil
  }

  @Test func aRightIncludesThoseBelowItAndTheBestOneCounts() {
    let rights = JobRights(owner: "ann", grants: ["user:bob": .manageRun, "group:users": .view, "group:admins": .manage])
    #expect(rights.right(of: JobViewer(user: "ann")) == .owner)
    #expect(rights.right(of: JobViewer(user: "bob")) == .manageRun)
    #expect(rights.right(of: JobViewer(user: "eve")) == .view)
    #expect(JobRights(owner: "ann").right(of: JobViewer(user: "eve")) == nil)
    #expect(JobRight.allCases.sorted() == JobRight.allCases && JobRight.view < .owner)
    for right in JobRight.allCases { #expect(JobRight(name: right.name) == right) }
  }

  @Test func thereIsOneOwnerAtEveryMoment() throws {
    var rights = JobRights(owner: "ann", grants: ["user:bob": .view])
    #expect(Self.number { try rights.set(Self.entries([("bob", "CAN_VIEW")])) } == "PLT-4461")
    #expect(Self.number { try rights.update(Self.entries([("ann", "CAN_MANAGE")])) } == "PLT-4461")
    #expect(Self.number { _ = try Self.entries([("ann", "IS_OWNER"), ("bob", "IS_OWNER")]) } == "PLT-4461")
    #expect(Self.number { _ = try Self.entries([("group:users", "IS_OWNER")]) } == "PLT-4461")
    #expect(rights == JobRights(owner: "ann", grants: ["user:bob": .view]))
    try rights.set(Self.entries([("group:users", "CAN_VIEW")]), keepsOwner: true)
    #expect(rights == JobRights(owner: "ann", grants: ["group:users": .view]))
    try rights.update(Self.entries([("bob", "CAN_MANAGE"), ("eve", "IS_OWNER"), ("ann", "CAN_VIEW")]))
    #expect(rights == JobRights(owner: "eve", grants: ["group:users": .view, "user:bob": .manage, "user:ann": .view]))
    try rights.update(Self.entries([("bob", "IS_OWNER")]))
    #expect(rights == JobRights(owner: "bob", grants: ["group:users": .view, "user:ann": .view]))
  }

  @Test func listsAreReadAsTheyAreWritten() throws {
    let rights = JobRights(owner: "ann", grants: ["user:bob": .manageRun, "group:users": .view])
    var read = JobRights(owner: "x")
    try read.set(JobRights.entries(.array(rights.list())))
    #expect(read == rights)
    // The better one of two, and what project files say.
    #expect(
      try JobRights.entries([["user_name": "a", "level": "CAN_VIEW"], ["user_name": "a", "level": "CAN_RUN"]])
        == [JobRights.Entry(grantee: "user:a", right: .manageRun)])
    for bad: JSONValue in [
      "x", ["x"], [["user_name": "a"]], [["permission_level": "CAN_VIEW"]], [["user_name": "a", "group_name": "b", "permission_level": "CAN_VIEW"]],
      [["user_name": "a", "permission_level": "CAN_RESTART"]], [["user_name": "", "permission_level": "CAN_VIEW"]],
    ] {
      #expect(Self.number { _ = try JobRights.entries(bad) } == "PLT-4461", "\(bad)")
    }
    #expect(Self.number { _ = try JobRights.entries([["service_principal_name": "p", "permission_level": "CAN_VIEW"]]) } == "PLT-4462")
  }
}
