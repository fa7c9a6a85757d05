// SPDX-License-Identifier: Apache-2.0

public import Core

/// What a cluster of several machines shall be: the file of `platform up -f`.
public struct ClusterFile: Sendable, Equatable {
  public enum Role: String, Sendable, CaseIterable { case coordinator, worker }

  /// How a machine is reached with the system's OpenSSH. What is nil is left to the person's own `~/.ssh/config`.
  public struct Access: Sendable, Equatable {
    public var user: String?
    public var port: Int?
    public var identityFile: String?
    /// `-J`: a machine in between.
    public var jump: String?
    /// `-o NAME=VALUE`.
    public var options: [String] = []
  }

  public struct Node: Sendable, Equatable {
    public var name: String
    /// Name or address for SSH.
    public var host: String
    /// IP address that the other nodes use; nil for a worker whose way to the coordinator starts there.
    public var address: String?
    public var roles: Set<Role>
    public var access: Access
    public var dataDirectory: String
    public var labels: [String: String]
    /// Processors, and as many shards and ranks at once; nil: the machine's.
    public var processors: Int?
    /// As `platform join --memory` reads it; nil: the machine's.
    public var memory: String?
    /// Of a coordinator: HOST:PORT for people, clients and the other coordinators, and the port for nodes; nil: as the file says for all.
    public var httpBind: String?
    public var controlPort: Int?
    /// Of the file.
    public var line: Int
  }

  public enum Database: Sendable, Equatable {
    /// A private one on the coordinator's machine.
    case managed
    /// Name of the environment variable here that holds the connection string.
    case external(variable: String)
  }

  public var name: String
  public var nodes: [Node]
  /// The system's user that the services run as; nil: whoever logs in.
  public var serviceUser: String?
  /// Where the program goes on every machine.
  public var installDirectory: String
  /// Folder that all nodes see under this path; nil: below the coordinator's data folder, for clusters of one machine.
  public var storage: String?
  public var database: Database
  /// HOST:PORT on the coordinator's machine for people and clients.
  public var httpBind: String
  /// Port on the coordinator's machine for nodes; the next one is for joining.
  public var controlPort: Int

  /// The first of them, which is asked for tokens and states. Any may lead.
  public var coordinator: Node { coordinators.first! }
  public var coordinators: [Node] { nodes.filter { $0.roles.contains(.coordinator) } }
  public var workers: [Node] { nodes.filter { $0.roles.contains(.worker) } }

  /// HOST:PORT of a coordinator for people and clients. Where there are several it is one that the others reach, because they hand requests on.
  public func httpAddress(_ node: Node) -> String {
    if let own = node.httpBind { return own }
    return coordinators.count == 1 ? httpBind : "\(node.address ?? node.host):\(httpBind.split(separator: ":").last ?? "8400")"
  }

  /// ADDRESS:PORT of a coordinator for nodes that have joined.
  public func controlAddress(_ node: Node) -> String { "\(node.address ?? node.host):\(node.controlPort ?? controlPort)" }
  /// ADDRESS:PORT of every coordinator for nodes that join, parted by commas.
  public var joinAddresses: String {
    coordinators.map { "\($0.address ?? $0.host):\(($0.controlPort ?? controlPort) + 1)" }.joined(separator: ",")
  }

  /// What is not readable or not possible, all at once, each with its line.
  public struct Problems: Error, Sendable {
    public var all: [PlatformError]
  }
}
