// SPDX-License-Identifier: Apache-2.0

import Core

/// What has to be so before machines become a cluster. Decides from facts alone.
public struct Preflight: Sendable {
  public struct Finding: Sendable, Equatable {
    public var node: String
    /// Whether nothing may be done before it is mended.
    public var isFatal: Bool
    public var message: String
    public var fix: String
  }

  /// What our own program needs of a machine.
  public struct Needs: Sendable {
    public var architecture: String
    /// As "2.36".
    public var libc: String
    /// Debian's package of each library, by its name.
    public var packages: [String: String]

    public init(architecture: String, libc: String, packages: [String: String]) {
      self.architecture = architecture
      self.libc = libc
      self.packages = packages
    }
  }

  /// Seconds: the leases are judged by Postgres' clock and each node's own pace, so more only confuses people.
  static let clockTolerance = 1.0
  static let freeBytes: Int64 = 2 << 30

  public static func findings(_ file: ClusterFile, _ facts: [String: NodeFacts], needs: Needs) -> [Finding] {
    var found: [Finding] = []
    for node in file.nodes {
      guard let fact = facts[node.name] else { continue }
      func add(_ message: String, _ fix: String, fatal: Bool = true) {
        found.append(Finding(node: node.name, isFatal: fatal, message: message, fix: fix))
      }
      if fact.architecture != needs.architecture {
        add("its processor is \(fact.architecture), the program is for \(needs.architecture)", "Build the program on a machine like it.")
      }
      if !isAtLeast(fact.libc, needs.libc) {
        add("its C library is \(fact.libc.isEmpty ? "unknown" : fact.libc), the program needs \(needs.libc)", "Use a system as new as the one of the build.")
      }
      if file.serviceUser != nil, fact.power == .none {
        add(
          "\(fact.user) may not act as root, and the services shall run as \(file.serviceUser!)",
          "Let \(fact.user) use sudo without a password, log in as root, or leave out defaults.service_user.")
      }
      let missing = packages(node, fact, file, needs)
      if !missing.isEmpty, fact.power == .none || !fact.hasApt {
        add("it lacks \(missing.joined(separator: ", "))", "sudo apt-get install \(missing.joined(separator: " "))")
      }
      for library in fact.missingLibraries where needs.packages[library] == nil {
        add("it lacks the library \(library)", "Install the package that has it.")
      }
      if fact.freeBytes < freeBytes {
        add("\(fact.freeBytes >> 20) MiB are free for \(node.dataDirectory)", "Free some space, or choose another data_dir.")
      }
      if abs(fact.clockOffset) > clockTolerance {
        let seconds = (fact.clockOffset * 10).rounded() / 10
        add("its clock is \(seconds > 0 ? "+" : "")\(seconds) s off", "Set up a time service, such as systemd-timesyncd.", fatal: abs(fact.clockOffset) > 60)
      }
      if node.roles.contains(.coordinator), !fact.running.contains(.coordinator) {
        let http = Int(file.httpAddress(node).split(separator: ":").last ?? "")
        let control = node.controlPort ?? file.controlPort
        for port in [http, control, control + 1].compactMap({ $0 }) where fact.listening.contains(port) {
          add("port \(port) is in use", "Stop what listens there, or choose others with network.http_bind and network.control_port.")
        }
      }
    }
    let machines = Dictionary(grouping: file.nodes.filter { facts[$0.name] != nil }) { $0.host }
    var owners: [String: String] = [:]
    for (host, nodes) in machines.sorted(by: { $0.key < $1.key }) {
      guard let name = nodes.first.flatMap({ facts[$0.name]?.hostName }), !name.isEmpty else { continue }
      if let other = owners[name], other != host {
        found.append(
          Finding(
            node: nodes[0].name, isFatal: false, message: "it calls itself \(name), as \(other) does",
            fix: "Give every machine a name of its own: hostnamectl set-hostname"))
      }
      owners[name] = host
    }
    if file.storage != nil, let user = file.serviceUser {
      let identifiers = Set(file.nodes.compactMap { facts[$0.name]?.serviceUserID })
      if identifiers.count > 1 {
        found.append(
          Finding(
            node: file.coordinator.name, isFatal: true,
            message:
              "\(user) has another number on another machine (\(identifiers.sorted().map(String.init).joined(separator: ", "))), but they share a folder",
            fix: "Make the user with one number everywhere: useradd --system --uid N \(user)"))
      }
    }
    return found
  }

  /// Debian's packages that a node lacks for what it shall do.
  public static func packages(_ node: ClusterFile.Node, _ fact: NodeFacts, _ file: ClusterFile, _ needs: Needs) -> [String] {
    var names = Set(fact.missingLibraries.compactMap { needs.packages[$0] })
    if node.roles.contains(.coordinator), file.database == .managed, fact.postgres.isEmpty { names.insert("postgresql") }
    return names.sorted()
  }

  static func isAtLeast(_ version: String, _ wanted: String) -> Bool {
    func numbers(_ text: String) -> [Int] { text.split(separator: ".").map { Int($0) ?? 0 } }
    let (a, b) = (numbers(version), numbers(wanted))
    guard !a.isEmpty else { return false }
    for index in 0..<max(a.count, b.count) {
      let (x, y) = (index < a.count ? a[index] : 0, index < b.count ? b[index] : 0)
      if x != y { return x > y }
    }
    return true
  }
}
