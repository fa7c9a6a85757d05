// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Provisioning

@Suite struct PreflightTests {
  static let needs = Preflight.Needs(architecture: "x86_64", libc: "2.36", packages: ["libpq.so.5": "libpq5", "libzmq.so.5": "libzmq5"])

  static func answer(_ changes: [String: String] = [:]) -> String {
    var values = [
      "arch": "x86_64", "host": "h", "os": "Debian", "libc": "2.36", "cpus": "8", "memory_kb": "1000", "flags": "fma avx2", "user": "admin", "uid": "1000",
      "power": "sudo", "apt": "yes", "free_kb": "90000000", "time": "100.5", "postgres": "/usr/lib/postgresql/15/bin", "end": "yes",
    ]
    for (key, value) in changes { values[key] = value }
    return "Welcome to this machine\n" + values.map { "fact:\($0.key)=\($0.value)" }.sorted().joined(separator: "\n")
  }

  static func facts(_ changes: [String: String] = [:]) throws -> NodeFacts { try NodeFacts(parsing: answer(changes), sent: 100, received: 101) }

  @Test func factsAreReadFromWhateverElseIsPrinted() throws {
    let facts = try Self.facts(["listening": "20D0 1CE8 ", "running": " worker", "missing": " libpq.so.5"])
    #expect(facts.processors == 8 && facts.memoryBytes == 1_024_000 && facts.vectorUnit == "avx2" && facts.power == .sudo && facts.clockOffset == 0)
    #expect(facts.listening == [8400, 7400] && facts.running == [.worker] && facts.missingLibraries == ["libpq.so.5"])
    #expect(throws: PlatformError.self) { try NodeFacts(parsing: "sh: not found", sent: 0, received: 0) }
  }

  private func findings(_ changes: [String: String]) throws -> [String] {
    let file = try ClusterFile(parsing: ClusterFileTests.whole, path: "c.yaml")
    let facts = ["c1": try Self.facts(changes), "w1": try Self.facts(["host": "other", "service_uid": "998"])]
    return Preflight.findings(file, facts, needs: Self.needs).map { ($0.isFatal ? "x " : "! ") + $0.node + " " + $0.message }
  }

  @Test func whatIsInTheWayIsFound() throws {
    #expect(try findings(["service_uid": "998"]) == [])
    #expect(try findings(["arch": "aarch64"]).first?.hasPrefix("x c1 its processor is aarch64") == true)
    #expect(try findings(["libc": "2.31"]).first?.hasPrefix("x c1 its C library is 2.31") == true)
    #expect(try findings(["libc": "2.4"]).count == 1)
    #expect(try findings(["libc": "3.0"]) == [])
    #expect(try findings(["power": "none"]).first?.contains("may not act as root") == true)
    #expect(try findings(["missing": "libpq.so.5", "apt": ""]).first?.contains("it lacks libpq5") == true)
    #expect(try findings(["missing": "libpq.so.5"]) == [])
    #expect(try findings(["missing": "libodd.so.1"]).first?.contains("it lacks the library libodd.so.1") == true)
    #expect(try findings(["free_kb": "100"]).first?.contains("are free") == true)
    #expect(try findings(["time": "104.6"]).first == "! c1 its clock is +4.1 s off")
    #expect(try findings(["time": "400"]).first?.hasPrefix("x ") == true)
    #expect(try findings(["listening": "20D0"]).first == "x c1 port 8400 is in use")
    #expect(try findings(["listening": "20D0", "running": "coordinator"]) == [])
    #expect(try findings(["host": "other"]).contains { $0.contains("it calls itself other") })
    #expect(try findings(["service_uid": "999"]).contains { $0.contains("has another number") })
  }

  @Test(arguments: [false, true]) func thePlanSaysWhatIsNotDoneYet(systemd: Bool) throws {
    let file = try ClusterFile(parsing: ClusterFileTests.whole, path: "c.yaml")
    let c1 = file.nodes[0]
    func settings(_ role: ClusterFile.Role) -> String {
      SHA256Digest.hex(NodeScripts(file).settings(role, c1, bundle: "abc", systemd: systemd))
    }
    let facts = [
      "c1": try Self.facts([
        "bundle": "abc", "running": "coordinator worker", "service_uid": "9", "systemd": systemd ? "yes" : "no",
        "settings_coordinator": settings(.coordinator), "settings_worker": settings(.worker),
      ]),
      "w1": try Self.facts(["missing": "libzmq.so.5"]),
    ]
    let plan = BringUpPlan(file, nodes: file.nodes, facts: facts, needs: Self.needs, bundle: "abc")
    #expect(plan.lines[0].actions == [] && !plan.isEmpty)
    #expect(plan.lines[1].actions == ["install packages libzmq5", "install the program", "make the user platform", "start the worker"])
    let later = BringUpPlan(file, nodes: [c1], facts: facts, needs: Self.needs, bundle: "def")
    #expect(later.lines[0].actions == ["replace the program abc by def", "start the coordinator again", "start the worker again"])
    var changed = file
    changed.nodes[0].labels = ["zone": "b"]
    #expect(
      BringUpPlan(changed, nodes: [changed.nodes[0]], facts: facts, needs: Self.needs, bundle: "abc").lines[0].actions == ["start the worker again"])
  }

  @Test func anUpgradeTakesWorkersFirst() throws {
    let file = try ClusterFile(parsing: ClusterFileTests.whole, path: "c.yaml")
    let facts = [
      "c1": try Self.facts(["bundle": "abc", "running": "coordinator worker"]), "w1": try Self.facts(["bundle": "abc", "running": "worker"]),
    ]
    let plan = UpgradePlan(file, nodes: file.nodes, facts: facts, bundle: "def")
    #expect(
      plan.steps == [
        .init(node: "w1", installs: true, restarts: [.worker], reopens: false),
        .init(node: "c1", installs: true, restarts: [.worker, .coordinator], reopens: false),
      ])
    #expect(plan.text(of: plan.steps[0]) == "send the program · empty it · start the worker again · open it again")
    // One that ended before it opened the node again.
    let settings = SHA256Digest.hex(NodeScripts(file).settings(.worker, file.nodes[1], bundle: "abc", systemd: false))
    let half = try Self.facts(["bundle": "abc", "running": "worker", "settings_worker": settings, "upgrading": "yes"])
    let rest = UpgradePlan(file, nodes: [file.nodes[1]], facts: ["w1": half], bundle: "abc")
    #expect(rest.steps == [.init(node: "w1", installs: false, restarts: [], reopens: true)] && rest.text(of: rest.steps[0]) == "open it again")
    let done = try Self.facts(["bundle": "abc", "running": "worker", "settings_worker": settings])
    #expect(UpgradePlan(file, nodes: [file.nodes[1]], facts: ["w1": done], bundle: "abc").isEmpty)
  }

  private func shell(_ arguments: [String], _ script: String) throws -> Program.Output {
    try Program.run("/bin/sh", arguments + ["-c", script])
  }

  /// The questions are put to the machine of the test; they change nothing.
  @Test func theFactsOfThisMachineAreRead() throws {
    let file = try ClusterFile(parsing: ClusterFileTests.whole, path: "c.yaml")
    let answer = try shell([], NodeScripts(file).facts(file.nodes[0], libraries: ["libc.so.6", "libnobodyhas.so.1"]))
    let facts = try NodeFacts(parsing: answer.out, sent: Date().timeIntervalSince1970, received: Date().timeIntervalSince1970)
    #expect(answer.status == 0 && facts.processors > 0 && facts.memoryBytes > 0 && !facts.libc.isEmpty && facts.missingLibraries == ["libnobodyhas.so.1"])
    // Of a service that never was: of nothing.
    #expect(facts.running == [] && facts.settings[.worker] == SHA256Digest.hex(""))
  }

  @Test func everyScriptIsOneForAShell() throws {
    let file = try ClusterFile(parsing: ClusterFileTests.whole, path: "c.yaml")
    let (scripts, node) = (NodeScripts(file), file.nodes[0])
    var all = [
      scripts.packages(["a", "b"]), scripts.prepareBundle("x"), scripts.receiveBundle("x"), scripts.activateBundle("x"), scripts.account(node),
      scripts.mark("x")!, scripts.readMark!, scripts.secret("s", node, text: "it's"), scripts.purge(node), scripts.platform(node, ["it's"]),
      scripts.noteUpgrade(node), scripts.forgetUpgrade(node),
    ]
    for role in ClusterFile.Role.allCases {
      for systemd in [false, true] {
        all += [
          scripts.start(role, node, bundle: "x", systemd: systemd), scripts.stop(role, node, systemd: systemd),
          scripts.lastWords(role, node, systemd: systemd),
        ]
      }
    }
    for script in all { #expect(try shell(["-n"], script).status == 0, "\(script)") }
    // What systemd is given is what the plan compares with.
    let unit = scripts.settings(.worker, node, bundle: "x", systemd: true)
    #expect(scripts.start(.worker, node, bundle: "x", systemd: true).contains("'END-OF-UNIT'\n\(unit)END-OF-UNIT\n"))
  }
}
