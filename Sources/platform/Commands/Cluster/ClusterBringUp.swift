// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Provisioning

/// Makes the machines of a cluster file one cluster, or changes one to what the file says now. Every step looks first whether it is done, so
/// that a call that ended in the middle is simply made again.
struct ClusterBringUp {
  let file: ClusterFile
  /// Names of the nodes that are touched; empty: all.
  var limit: [String] = []
  var isPlan = false
  var yes = false

  let scripts: NodeScripts

  init(file: ClusterFile, limit: [String] = [], isPlan: Bool = false, yes: Bool = false) throws {
    self.file = file
    self.limit = limit
    self.isPlan = isPlan
    self.yes = yes
    scripts = NodeScripts(file)
    for name in limit where !file.nodes.contains(where: { $0.name == name }) {
      let close = Spelling.suggestion(for: name, among: file.nodes.map(\.name))
      throw PlatformError(
        .notFound, "the file has no node '\(name)'", hint: close.map { "Did you mean '\($0)'?" } ?? "It has \(file.nodes.map(\.name).joined(separator: ", ")).")
    }
  }

  /// Reads a file; prints everything that is wrong with it.
  static func load(_ path: String) throws -> ClusterFile {
    guard let data = FileManager.default.contents(atPath: path) else { throw PlatformError(.notFound, "cannot read the cluster file", path: path) }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw PlatformError(.invalidFile, "the file is not UTF-8", number: "PLT-4390", path: path, line: 1)
    }
    do { return try ClusterFile(parsing: text, path: path) } catch let problems as ClusterFile.Problems {
      for problem in problems.all.dropLast() { Report.failure(problem, json: false) }
      throw problems.all.last ?? PlatformError(.invalidFile, "the file cannot be used", path: path)
    }
  }

  var nodes: [ClusterFile.Node] { limit.isEmpty ? file.nodes : file.nodes.filter { limit.contains($0.name) } }

  /// What came of one node.
  struct Outcome {
    var installed = ""
    var services: [String] = []
    var joined = false
    var problem: PlatformError?
  }

  // MARK: up

  /// - Throws: `resourceExhausted` (exit 75) when some nodes did not come up and the others did.
  func up() async throws {
    // The coordinator is asked even when it is not touched: tokens and the nodes' states come from it.
    let asked = nodes.contains(file.coordinator) ? nodes : [file.coordinator] + nodes
    if case .external(let variable) = file.database, ProcessInfo.processInfo.environment[variable, default: ""].isEmpty {
      throw PlatformError(
        .badConfiguration, "the variable \(variable) with Postgres' connection string is not set", hint: "Set it in this shell.", number: "PLT-4393")
    }
    let bundle = try await RuntimeBundle.make()
    defer { bundle.close() }
    var outcomes: [String: Outcome] = [:]
    let facts = await ask(asked, bundle, &outcomes)
    for finding in Preflight.findings(file, facts, needs: bundle.needs) {
      Report.note("\(finding.isFatal ? Report.cross : "!") \(finding.node): \(finding.message)")
      if !finding.fix.isEmpty { Report.note("    Fix: \(finding.fix)") }
      if finding.isFatal, outcomes[finding.node]?.problem == nil {
        outcomes[finding.node, default: Outcome()].problem = PlatformError(.badConfiguration, finding.message, hint: finding.fix, number: "PLT-4394")
      }
    }
    if let problem = outcomes[file.coordinator.name]?.problem { throw problem }
    let usable = nodes.filter { facts[$0.name] != nil && outcomes[$0.name]?.problem == nil }
    let plan = BringUpPlan(file, nodes: usable, facts: facts, needs: bundle.needs, bundle: bundle.id)
    Report.note(
      "Plan for \(file.name): \(file.nodes.count) nodes, \(file.coordinators.count == 1 ? "the coordinator" : "coordinators") on \(file.coordinators.map(\.name).joined(separator: ", ")), \(file.workers.count) workers, \(Report.bytes(bundle.bytes)) for a new machine"
    )
    for line in plan.lines { Report.note("  \(line.node)  \(line.actions.isEmpty ? "nothing to do" : line.actions.joined(separator: " · "))") }
    if isPlan { return }
    if !plan.isEmpty { try agree() }

    if usable.contains(file.coordinator) {
      try await prepare(file.coordinator, facts, bundle, &outcomes)
      try await startCoordinator(file.coordinator, facts, bundle, &outcomes)
    }
    // One after the other, when the first has made what all of them share. One that does not come up keeps nobody else from it.
    for node in file.coordinators.dropFirst() where usable.contains(node) {
      do {
        try await prepare(node, facts, bundle, &outcomes)
        try await copyKeys(to: node, facts)
        try await startCoordinator(node, facts, bundle, &outcomes)
      } catch {
        outcomes[node.name, default: Outcome()].problem = PlatformError.from(error)
      }
    }
    let token = try await joinToken(usable)
    // Machines at once, the nodes of one machine one after the other.
    let groups = Dictionary(grouping: usable.filter { $0.roles.contains(.worker) }) { $0.host }
    await withTaskGroup(of: [(String, Outcome)].self) { group in
      for (_, members) in groups {
        let known = outcomes
        group.addTask {
          var results: [(String, Outcome)] = []
          for node in members {
            var own = [node.name: known[node.name] ?? Outcome()]
            do {
              if !node.roles.contains(.coordinator) { try await prepare(node, facts, bundle, &own) }
              if own[node.name]?.problem != nil { throw own[node.name]!.problem! }
              try await startWorker(node, facts[node.name]!, bundle, token, &own)
            } catch {
              own[node.name, default: Outcome()].problem = PlatformError.from(error)
            }
            results.append((node.name, own[node.name]!))
          }
          return results
        }
      }
      for await results in group { for (name, outcome) in results { outcomes[name] = outcome } }
    }
    await awaitJoined(usable.filter { $0.roles.contains(.worker) && outcomes[$0.name]?.problem == nil }, facts, &outcomes)
    try report(facts, outcomes)
    if !plan.isEmpty, limit.isEmpty, file.workers.count > 1 { try await verifyNetwork(facts) }
  }

  /// Lets all workers add up a buffer over their network, as training does.
  /// - Throws: `resourceExhausted` PLT-4442 where they cannot.
  private func verifyNetwork(_ facts: [String: NodeFacts]) async throws {
    let root = facts[file.coordinator.name]?.power == .sudo
    let arguments = ["bench", "net", "--ranks", String(file.workers.count), "--timeout", "90"]
    let answer = try await SSHHost(node: file.coordinator).run(scripts.platform(file.coordinator, arguments), asRoot: root, seconds: 150)
    if answer.status == 0 { return Report.note(answer.out.trimmingCharacters(in: .whitespacesAndNewlines)) }
    let said = answer.error.trimmingCharacters(in: .whitespacesAndNewlines)
    guard !said.contains("PLT-4443") else {
      return Report.note("! the network was not measured: the workers had no room within 90 s.  Next: platform bench net")
    }
    throw PlatformError(
      .resourceExhausted, "the workers cannot work together over their network: \(said.suffix(600))",
      hint: "Let the nodes reach each other on the ports that the system chooses, then: platform bench net", number: "PLT-4442")
  }

  func agree() throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw PlatformError(.invalidArgument, "this changes machines", hint: "Add --yes to confirm, or --plan to only look.")
    }
    StandardStreams.error("Continue? [y/N] ")
    guard let answer = readLine()?.lowercased(), ["y", "yes"].contains(answer) else { throw PlatformError(.cancelled, "nothing was changed") }
  }

  func ask(_ asked: [ClusterFile.Node], _ bundle: RuntimeBundle, _ outcomes: inout [String: Outcome]) async -> [String: NodeFacts] {
    var facts: [String: NodeFacts] = [:]
    await withTaskGroup(of: (String, Result<NodeFacts, any Error>).self) { group in
      for node in asked {
        group.addTask {
          do {
            let sent = Date().timeIntervalSince1970
            let answer = try await SSHHost(node: node).run(scripts.facts(node, libraries: bundle.needs.packages.keys.sorted()), seconds: 60)
            return (node.name, .success(try NodeFacts(parsing: answer.out, sent: sent, received: Date().timeIntervalSince1970)))
          } catch {
            return (node.name, .failure(error))
          }
        }
      }
      for await (name, result) in group {
        switch result {
        case .success(let fact): facts[name] = fact
        case .failure(let error):
          let failure = PlatformError.from(error)
          Report.note("\(Report.cross) \(failure.message)\n    Fix: \(failure.hint)")
          outcomes[name, default: Outcome()].problem = failure
        }
      }
    }
    return facts
  }

  /// Packages and program of a node. The program lies there beside the one that runs.
  /// - Returns: whether it has to be switched to.
  func send(_ node: ClusterFile.Node, _ facts: [String: NodeFacts], _ bundle: RuntimeBundle) async throws -> Bool {
    let (host, fact) = (SSHHost(node: node), facts[node.name]!)
    let root = fact.power == .sudo
    let packages = Preflight.packages(node, fact, file, bundle.needs)
    if !packages.isEmpty { try await host.require("install \(packages.joined(separator: ", "))", scripts.packages(packages), asRoot: root, seconds: 900) }
    guard try await host.require("look for the program", scripts.prepareBundle(bundle.id), asRoot: root) == "send" else { return false }
    Report.note("  \(node.name)  sending the program, \(Report.bytes(bundle.bytes))")
    try await host.send(folder: bundle.folder, to: scripts.receiveBundle(bundle.id), asRoot: root)
    return true
  }

  /// Packages, program, user and folders of a node.
  private func prepare(_ node: ClusterFile.Node, _ facts: [String: NodeFacts], _ bundle: RuntimeBundle, _ outcomes: inout [String: Outcome]) async throws {
    let (host, fact) = (SSHHost(node: node), facts[node.name]!)
    let root = fact.power == .sudo
    if try await send(node, facts, bundle) {
      try await host.require("install the program", scripts.activateBundle(bundle.id), asRoot: root)
      outcomes[node.name, default: Outcome()].installed = "installed"
    } else {
      outcomes[node.name, default: Outcome()].installed = "there"
    }
    try await host.require("make its folders", scripts.account(node), asRoot: root)
    // Whoever does not see the coordinator's mark does not see its tables.
    guard let read = scripts.readMark else { return }
    let mark = "cluster-\(file.name)"
    if node == file.coordinator {
      try await host.require("write into \(file.storage!)", scripts.mark(mark)!, asRoot: root)
    } else if try await host.require("look into \(file.storage!)", read, asRoot: root) != mark {
      throw PlatformError(
        .badConfiguration, "\(node.name) does not see the coordinator's \(file.storage!)", hint: "Mount that folder there under the same path.",
        number: "PLT-4395")
    }
  }

  /// Gives a further coordinator what the first one has made for all: it travels inside of ssh only.
  private func copyKeys(to node: ClusterFile.Node, _ facts: [String: NodeFacts]) async throws {
    func root(_ node: ClusterFile.Node) -> Bool { facts[node.name]?.power == .sudo }
    let keys = try await SSHHost(node: file.coordinator).require(
      "read the keys that coordinators share", scripts.readKeys(file.coordinator), asRoot: root(file.coordinator))
    let word = try await SSHHost(node: node).require("keep the keys that coordinators share", scripts.writeKeys(node, keys), asRoot: root(node))
    guard word != "other" else {
      throw PlatformError(
        .conflict, "\(node.name) has keys of another cluster in \(node.dataDirectory)/keys",
        hint: "Give it another data_dir, or move that folder away if nobody needs what it seals.", number: "PLT-4493")
    }
  }

  private func startCoordinator(
    _ node: ClusterFile.Node, _ facts: [String: NodeFacts], _ bundle: RuntimeBundle, _ outcomes: inout [String: Outcome]
  ) async throws {
    let fact = facts[node.name]!
    let (host, root) = (SSHHost(node: node), fact.power == .sudo)
    if case .external(let variable) = file.database {
      let quoted = ProcessInfo.processInfo.environment[variable]!
      // The file is read by a shell or by systemd, whose ways of quoting differ.
      guard quoted.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "'") && $0 != UInt8(ascii: "\\") }) else {
        throw PlatformError(
          .badConfiguration, "the connection string in \(variable) holds spaces, quotes or backslashes",
          hint: "Write it as postgresql://.. with these percent-encoded, for example %27.", number: "PLT-4393")
      }
      try await host.require("keep its secrets", scripts.secret("secrets", node, text: "PLATFORM_POSTGRES='\(quoted)'"), asRoot: root)
    }
    let word = try await host.require("start the coordinator", scripts.start(.coordinator, node, bundle: bundle.id, systemd: fact.hasSystemd), asRoot: root)
    outcomes[node.name, default: Outcome()].services.append("coordinator \(word)")
    let deadline = Date().addingTimeInterval(120)
    while true {
      let answer = try await host.run(scripts.platform(node, ["status", "-o", "json", "--timeout", "5"]), asRoot: root, seconds: 60)
      if answer.status == 0 { return }
      guard Date() < deadline else {
        let words = try await host.run(scripts.lastWords(.coordinator, node, systemd: fact.hasSystemd), asRoot: root).out
        throw PlatformError(.timeout, "the coordinator on \(node.name) was not ready after 120 s; its last words: \(words.suffix(600))", number: "PLT-4396")
      }
      try await Task.sleep(for: .milliseconds(500))
    }
  }

  private func joinToken(_ usable: [ClusterFile.Node]) async throws -> String {
    let workers = usable.filter { $0.roles.contains(.worker) }
    guard !workers.isEmpty else { return "" }
    let host = SSHHost(node: file.coordinator)
    let root = try await host.run("[ $(id -u) = 0 ]").status != 0 && file.serviceUser != nil
    let text = try await host.require(
      "make a join token (is the coordinator up?)",
      scripts.platform(file.coordinator, ["token", "create", "--ttl", "3600", "--uses", String(workers.count), "-o", "json"]), asRoot: root)
    guard let token = try JSONValue(parsing: text)["token"]?.stringValue else { throw PlatformError(.internalError, "the coordinator gave no join token") }
    return token
  }

  private func startWorker(
    _ node: ClusterFile.Node, _ fact: NodeFacts, _ bundle: RuntimeBundle, _ token: String, _ outcomes: inout [String: Outcome]
  ) async throws {
    let (host, root) = (SSHHost(node: node), fact.power == .sudo)
    try await host.require("keep its join token", scripts.secret("join-token", node, text: token), asRoot: root)
    let word = try await host.require("start the worker", scripts.start(.worker, node, bundle: bundle.id, systemd: fact.hasSystemd), asRoot: root)
    outcomes[node.name, default: Outcome()].services.append("worker \(word)")
  }

  /// Waits until the coordinator has heard of every worker.
  private func awaitJoined(_ workers: [ClusterFile.Node], _ facts: [String: NodeFacts], _ outcomes: inout [String: Outcome]) async {
    let host = SSHHost(node: file.coordinator)
    let root = facts[file.coordinator.name]?.power == .sudo
    let deadline = Date().addingTimeInterval(60)
    var missing = Set(workers.map(\.name))
    while !missing.isEmpty, Date() < deadline {
      // Not reachable for a moment: asked again until the deadline.
      if let answer = try? await host.run(scripts.platform(file.coordinator, ["nodes", "list", "-o", "json"]), asRoot: root, seconds: 60),
        let list = try? JSONDecoder.platform.decode(NodeList.self, from: Data(answer.out.utf8))
      {
        for node in list.nodes where node.state != "LOST" && missing.remove(node.name) != nil { outcomes[node.name, default: Outcome()].joined = true }
      }
      if !missing.isEmpty { try? await Task.sleep(for: .milliseconds(500)) }  // cancelled: only asks sooner
    }
    for node in workers where missing.contains(node.name) {
      let fact = facts[node.name]!
      // Without them the message only says less.
      let words = (try? await SSHHost(node: node).run(scripts.lastWords(.worker, node, systemd: fact.hasSystemd), asRoot: fact.power == .sudo).out) ?? ""
      outcomes[node.name, default: Outcome()].problem = PlatformError(
        .timeout, "\(node.name) has not joined within 60 s; its last words: \(words.suffix(600))", number: "PLT-4396")
    }
  }

  private func report(_ facts: [String: NodeFacts], _ outcomes: [String: Outcome]) throws {
    func mark(_ isGood: Bool) -> String { isGood ? Report.check : Report.cross }
    Report.table(
      ["NODE", "PREFLIGHT", "PROGRAM", "SERVICES", "JOINED", "CPU"],
      nodes.map { node in
        let (fact, outcome) = (facts[node.name], outcomes[node.name] ?? Outcome())
        return [
          node.name, mark(fact != nil && outcome.problem?.number != "PLT-4394"), outcome.installed.isEmpty ? "-" : outcome.installed,
          outcome.services.isEmpty ? "-" : outcome.services.joined(separator: ", "), node.roles.contains(.worker) ? mark(outcome.joined) : "-",
          fact.map { "\($0.processors) x \($0.vectorUnit)" } ?? "-",
        ]
      })
    let failed = nodes.filter { outcomes[$0.name]?.problem != nil }
    for node in failed { Report.failure(outcomes[node.name]!.problem!, json: false) }
    for node in file.coordinators {
      let http = file.httpAddress(node)
      Report.note("  Console  http://\(http) on \(node.name); from here: ssh -L \(http.split(separator: ":").last ?? "8400"):\(http) \(node.host)")
    }
    Report.note("  Token    \(file.coordinator.dataDirectory)/admin-token on \(file.coordinator.name)")
    if !failed.isEmpty {
      throw PlatformError(
        .resourceExhausted, "\(failed.count) of \(nodes.count) nodes are not up: \(failed.map(\.name).joined(separator: ", "))",
        hint: "Mend them and run the same command again; the others stay up.",
        number: "PLT-4397")
    }
  }

  // MARK: down

  /// Stops the services, workers first; with `purge` also deletes the nodes' data folders.
  func down(purge: Bool) async throws {
    var failures: [PlatformError] = []
    for role in [ClusterFile.Role.worker, .coordinator] {
      for node in nodes where node.roles.contains(role) {
        do {
          let host = SSHHost(node: node)
          let kind = try await host.require(
            "be looked at", "[ -d /run/systemd/system ] && echo systemd; [ $(id -u) = 0 ] || { sudo -n true 2>/dev/null && echo sudo; }; true")
          try await host.require(
            "stop the \(role.rawValue)", scripts.stop(role, node, systemd: kind.contains("systemd")), asRoot: kind.contains("sudo"))
          Report.note("\(Report.check) \(node.name)  \(role.rawValue) stopped")
          if purge, role == .coordinator || !node.roles.contains(.coordinator) {
            try await host.require("delete \(node.dataDirectory)", scripts.purge(node), asRoot: kind.contains("sudo"))
            Report.note("\(Report.check) \(node.name)  deleted \(node.dataDirectory)")
          }
        } catch {
          failures.append(PlatformError.from(error))
          Report.failure(failures.last!, json: false)
        }
      }
    }
    if !failures.isEmpty {
      throw PlatformError(.resourceExhausted, "\(failures.count) steps failed", hint: "Mend them and run the same command again.", number: "PLT-4397")
    }
  }
}
