// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Provisioning
import Transport

extension ClusterBringUp {
  /// Gives the nodes of a running cluster this program, one after the other: each worker is emptied first, and the next one is touched when it
  /// is back. Stops at the first failure; the same call goes on from there, and one by another program goes back.
  /// - Parameter drainSeconds: how long the work of one node may take to end or move.
  /// - Throws: `resourceExhausted` PLT-4441 where it stopped; `conflict` PLT-4440 when the two programs do not understand each other.
  func upgrade(drainSeconds: Int) async throws {
    let bundle = try await RuntimeBundle.make()
    defer { bundle.close() }
    let asked = nodes.contains(file.coordinator) ? nodes : [file.coordinator] + nodes
    var outcomes: [String: Outcome] = [:]
    let facts = await ask(asked, bundle, &outcomes)
    if let problem = asked.compactMap({ outcomes[$0.name]?.problem }).first { throw problem }
    for finding in Preflight.findings(file, facts, needs: bundle.needs) where finding.isFatal {
      throw PlatformError(.badConfiguration, "\(finding.node): \(finding.message)", hint: finding.fix, number: "PLT-4394")
    }
    let status = try await coordinatorStatus(facts)
    guard ReleaseVersion.speak(status.version, PlatformVersion.current) else {
      throw PlatformError(
        .conflict, "the cluster runs platform \(status.version), and this is platform \(PlatformVersion.current): nodes of both do not understand each other",
        hint: "Run 'platform up -f FILE': it starts all of them again at once.", number: "PLT-4440")
    }
    let plan = UpgradePlan(file, nodes: nodes, facts: facts, bundle: bundle.id)
    Report.note("Plan for \(file.name): \(status.version) -> \(PlatformVersion.current)\(ReleaseVersion.suffix(ofBundle: bundle.id)), one node after the other")
    for step in plan.steps { Report.note("  \(step.node)  \(plan.text(of: step))") }
    if isPlan || plan.isEmpty { return }
    try agree()
    for (index, step) in plan.steps.enumerated() where !step.isDone {
      do {
        // The leader is one that runs this program as soon as all coordinators do.
        let others = file.coordinators.map(\.name).filter { $0 != step.node }
        let later = Set(plan.steps[(index + 1)...].filter { !$0.restarts.isEmpty }.map(\.node))
        let isLast = others.allSatisfy { name in plan.steps.contains { $0.node == name } && !later.contains(name) }
        try await perform(step, facts, bundle, drainSeconds, isLastCoordinator: isLast)
        Report.data("\(Report.check) \(step.node)")
      } catch {
        let failure = PlatformError.from(error)
        let left = plan.steps[index...].filter { !$0.isDone }.map(\.node)
        throw PlatformError(
          .resourceExhausted, "the upgrade stopped at \(step.node): \(failure.message)",
          hint: (failure.hint.isEmpty ? "" : failure.hint + " ") + "Not done: \(left.joined(separator: ", ")); nodes of both programs work together meanwhile. "
            + "Run the same command again to go on, or with the program of before to go back.",
          number: "PLT-4441")
      }
    }
  }

  private func perform(
    _ step: UpgradePlan.Step, _ facts: [String: NodeFacts], _ bundle: RuntimeBundle, _ drainSeconds: Int, isLastCoordinator: Bool
  ) async throws {
    let node = file.nodes.first { $0.name == step.node }!
    let (host, fact) = (SSHHost(node: node), facts[node.name]!)
    let root = fact.power == .sudo
    let wanted = ReleaseVersion.suffix(ofBundle: bundle.id)
    // Sent before the node is emptied: that takes longer.
    let mustSwitch = try await send(node, facts, bundle)
    var reopens = step.reopens
    if step.restarts.contains(.worker), let now = try await coordinatorNodes(facts).first(where: { $0.name == node.name }), now.state != "LOST" {
      if now.state == "READY" {
        reopens = true
        try await host.require("note the upgrade", scripts.noteUpgrade(node), asRoot: root)
      }
      Report.note("  \(node.name)  waiting until nothing runs there")
      try await coordinator(["nodes", "drain", node.name, "--timeout", String(drainSeconds)], facts, seconds: Double(drainSeconds) + 60)
    }
    if mustSwitch { try await host.require("install the program", scripts.activateBundle(bundle.id), asRoot: root) }
    for role in step.restarts {
      Report.note("  \(node.name)  starting the \(role.rawValue) again")
      try await host.require("start the \(role.rawValue)", scripts.start(role, node, bundle: bundle.id, systemd: fact.hasSystemd), asRoot: root)
      switch role {
      case .worker:
        try await until("\(node.name) is back with \(wanted.dropFirst())", last: scripts.lastWords(.worker, node, systemd: fact.hasSystemd), host, root) {
          try await coordinatorNodes(facts).contains { $0.name == node.name && $0.state != "LOST" && $0.version.hasSuffix(wanted) }
        }
      case .coordinator:
        let workers = Set(file.workers.map(\.name))
        try await until(
          "the coordinator is back with \(wanted.dropFirst())", last: scripts.lastWords(.coordinator, node, systemd: fact.hasSystemd), host, root
        ) {
          let status = try await coordinatorStatus(facts, of: node)
          guard status.version.hasSuffix(wanted) || !isLastCoordinator else { return false }
          return try await workers.isSubset(of: coordinatorNodes(facts).filter { $0.state != "LOST" }.map(\.name))
        }
      }
    }
    guard reopens else { return }
    try await coordinator(["nodes", "uncordon", node.name], facts)
    try await host.require("forget the upgrade", scripts.forgetUpgrade(node), asRoot: root)
  }

  /// Asks again until it is so. Whoever is just starting does not answer, which is no failure before the deadline.
  private func until(_ what: String, last words: String, _ host: SSHHost, _ root: Bool, _ condition: () async throws -> Bool) async throws {
    let deadline = Date().addingTimeInterval(120)
    var said = ""
    while true {
      do { if try await condition() { return } } catch let error as PlatformError { said = error.message }
      guard Date() < deadline else {
        // Without them the message only says less.
        let log = (try? await host.run(words, asRoot: root).out) ?? ""
        throw PlatformError(
          .timeout, "it is not so that \(what) after 120 s\(said.isEmpty ? "" : " (\(said))"); its last words: \(log.suffix(600))", number: "PLT-4396")
      }
      try await Task.sleep(for: .milliseconds(500))
    }
  }

  /// Runs this program on the coordinator's machine.
  @discardableResult
  private func coordinator(
    _ arguments: [String], _ facts: [String: NodeFacts], seconds: Double = 60, on asked: ClusterFile.Node? = nil
  ) async throws -> String {
    let node = asked ?? file.coordinator
    let root = facts[node.name]?.power == .sudo
    let answer = try await SSHHost(node: node).run(scripts.platform(node, arguments), asRoot: root, seconds: seconds)
    guard answer.status == 0 else {
      let said = answer.error.split(separator: "\n").filter { !$0.hasPrefix("  ") }.suffix(2).joined(separator: " | ")
      throw PlatformError(.failed, "'platform \(arguments.joined(separator: " "))' on \(node.name): \(said)", number: "PLT-4392")
    }
    return answer.out
  }

  private func coordinatorNodes(_ facts: [String: NodeFacts]) async throws -> [NodeInfo] {
    let text = try await coordinator(["nodes", "list", "-o", "json", "--timeout", "20"], facts)
    return try JSONDecoder.platform.decode(NodeList.self, from: Data(text.utf8)).nodes
  }

  /// - Parameter node: which coordinator is asked; it may hand the question on to the one that leads.
  private func coordinatorStatus(_ facts: [String: NodeFacts], of node: ClusterFile.Node? = nil) async throws -> StatusInfo {
    let text = try await coordinator(["status", "-o", "json", "--timeout", "20"], facts, on: node)
    return try JSONDecoder.platform.decode(StatusInfo.self, from: Data(text.utf8))
  }
}
