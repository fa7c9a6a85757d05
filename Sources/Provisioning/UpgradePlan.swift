// SPDX-License-Identifier: Apache-2.0

import Core

/// In which order the nodes of a running cluster get another program: workers first, each emptied before, the coordinator last.
public struct UpgradePlan: Sendable, Equatable {
  public struct Step: Sendable, Equatable {
    public var node: String
    /// The program has to be sent and switched to.
    public var installs: Bool
    /// Services that still run the program of before, in the order in which they are started again.
    public var restarts: [ClusterFile.Role]
    /// An earlier call has closed the node for new work and did not get to opening it again.
    public var reopens: Bool

    public var isDone: Bool { !installs && restarts.isEmpty && !reopens }
  }

  public var steps: [Step]
  public var isEmpty: Bool { steps.allSatisfy(\.isDone) }

  /// - Parameters:
  ///   - nodes: those that this call is about.
  ///   - bundle: identity of what we would install.
  public init(_ file: ClusterFile, nodes: [ClusterFile.Node], facts: [String: NodeFacts], bundle: String) {
    let scripts = NodeScripts(file)
    let ordered = nodes.filter { !$0.roles.contains(.coordinator) } + nodes.filter { $0.roles.contains(.coordinator) }
    steps = ordered.compactMap { node in
      guard let fact = facts[node.name] else { return nil }
      // A coordinator that speaks with its own machine's worker of before is as good as one that speaks with any other.
      let roles = [ClusterFile.Role.worker, .coordinator].filter(node.roles.contains)
      return Step(
        node: node.name, installs: fact.bundle != bundle,
        restarts: roles.filter {
          !fact.running.contains($0) || fact.settings[$0] != SHA256Digest.hex(scripts.settings($0, node, bundle: bundle, systemd: fact.hasSystemd))
        }, reopens: fact.isUpgrading)
    }
  }

  /// One line for people.
  public func text(of step: Step) -> String {
    if step.isDone { return "nothing to do" }
    var parts: [String] = []
    if step.installs { parts.append("send the program") }
    if step.restarts.contains(.worker) { parts += ["empty it", "start the worker again"] }
    if step.restarts.contains(.coordinator) { parts.append("start the coordinator again") }
    if step.restarts.contains(.worker) || step.reopens { parts.append("open it again") }
    return parts.joined(separator: " · ")
  }
}
