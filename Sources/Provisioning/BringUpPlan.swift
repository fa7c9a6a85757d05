// SPDX-License-Identifier: Apache-2.0

import Core

/// What will be done, for people to agree to before it is.
public struct BringUpPlan: Sendable, Equatable {
  public struct Line: Sendable, Equatable {
    public var node: String
    public var actions: [String]
  }

  public var lines: [Line]
  public var isEmpty: Bool { lines.allSatisfy(\.actions.isEmpty) }

  /// - Parameters:
  ///   - bundle: identity of what we would install.
  ///   - nodes: those that this call is about.
  public init(_ file: ClusterFile, nodes: [ClusterFile.Node], facts: [String: NodeFacts], needs: Preflight.Needs, bundle: String) {
    let scripts = NodeScripts(file)
    lines = nodes.compactMap { node in
      guard let fact = facts[node.name] else { return nil }
      var actions: [String] = []
      let packages = Preflight.packages(node, fact, file, needs)
      if !packages.isEmpty { actions.append("install packages " + packages.joined(separator: " ")) }
      if fact.bundle != bundle {
        actions.append(fact.bundle.isEmpty ? "install the program" : "replace the program \(fact.bundle.prefix(8)) by \(bundle.prefix(8))")
      }
      if let user = file.serviceUser, fact.serviceUserID == nil { actions.append("make the user \(user)") }
      for role in ClusterFile.Role.allCases where node.roles.contains(role) {
        let wanted = SHA256Digest.hex(scripts.settings(role, node, bundle: bundle, systemd: fact.hasSystemd))
        if !fact.running.contains(role) {
          actions.append("start the \(role.rawValue)")
        } else if fact.settings[role] != wanted {
          actions.append("start the \(role.rawValue) again")
        }
      }
      return Line(node: node.name, actions: actions)
    }
  }
}
