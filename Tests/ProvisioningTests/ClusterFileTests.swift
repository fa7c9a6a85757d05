// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Provisioning

@Suite struct ClusterFileTests {
  static let whole = """
    cluster: { name: lab }
    ssh: { user: admin, identity_file: ~/.ssh/id_ed25519, jump: bastion.lan, options: [StrictHostKeyChecking=accept-new] }
    defaults: { service_user: platform, data_dir: /var/lib/platform }
    nodes:
      - { name: c1, host: 10.0.0.11, roles: [coordinator, worker] }
      - { name: w1, host: w1.lan, labels: { pool: cpu, zone: a }, resources: { cpus: 14, memory: 56GB }, ssh: { port: 2222 } }
    network: { control_port: 7500 }
    storage: { root: file:///srv/lake/ }
    """

  @Test func aWholeFileIsRead() throws {
    let file = try ClusterFile(parsing: Self.whole, path: "c.yaml")
    #expect(file.name == "lab" && file.serviceUser == "platform" && file.storage == "/srv/lake" && file.database == .managed)
    #expect(file.coordinator.name == "c1" && file.workers.map(\.name) == ["c1", "w1"])
    #expect(file.controlAddress == "10.0.0.11:7500" && file.joinAddress == "10.0.0.11:7501" && file.httpBind == "127.0.0.1:8400")
    let w1 = file.nodes[1]
    #expect(w1.address == nil && w1.processors == 14 && w1.memory == "56GB" && w1.labels == ["pool": "cpu", "zone": "a"] && w1.roles == [.worker])
    #expect(w1.access.port == 2222 && w1.access.user == "admin" && w1.access.jump == "bastion.lan" && w1.access.options == ["StrictHostKeyChecking=accept-new"])
  }

  /// The lines and beginnings of everything that is wrong with a file.
  func problems(_ text: String) -> [String] {
    do {
      _ = try ClusterFile(parsing: text, path: "c.yaml")
      return []
    } catch let problems as ClusterFile.Problems {
      return problems.all.map { "\($0.line ?? 0) \($0.message)" }
    } catch { return ["\(error)"] }
  }

  @Test func everythingWrongIsToldAtOnce() {
    let found = problems(
      """
      cluster: { nam: lab }
      defaults: { data_dir: ../here, service_user: "a; reboot" }
      nodes:
        - { name: c1, host: one.lan, roles: [cordinator] }
        - { name: c1, host: -oProxyCommand=sh, resources: { cpus: 0 } }
        - { host: 10.0.0.3 }
      network: { http_bind: nowhere }
      storage: { root: s3://bucket/x }
      """)
    for (line, part) in [
      (1, "unknown key 'nam'"), (2, "'../here' is not a folder"), (2, "'a; reboot' is not a name"), (4, "'cordinator' is not a role"),
      (5, "'-oProxyCommand=sh' is not a name"), (6, "a node needs a name and a host"), (7, "'nowhere' is not HOST:PORT"),
      (8, "'s3://bucket/x' is not a folder"),
    ] {
      #expect(found.contains { $0.hasPrefix("\(line) ") && $0.contains(part) }, "\(part) in \(found)")
    }
  }

  @Test func aClusterHasOneCoordinatorWithAnAddressAndASharedFolder() {
    #expect(problems("nodes: [{ name: a, host: 10.0.0.1 }]").contains { $0.contains("no node is the coordinator") })
    #expect(problems("nodes: [{ name: a, host: a.lan, roles: [coordinator] }]").contains { $0.contains("the nodes need its address") })
    #expect(
      problems("nodes: [{ name: a, host: 10.0.0.1, roles: [coordinator] }, { name: b, host: 10.0.0.2 }]").contains {
        $0.contains("a folder that all of them see")
      })
    #expect(
      problems("nodes: [{ name: a, host: 10.0.0.1, roles: [coordinator] }, { name: b, host: 10.0.0.1 }]").contains { $0.contains("the same data folder") })
    #expect(problems("nodes: []").contains { $0.contains("at least one node") })
    #expect(problems("nodes: [{ name: a, host: 10.0.0.1, roles: [coordinator] }]\npostgres: { mode: external }").contains { $0.contains("needs url_secret") })
    #expect(problems("nodes: [{ name: a, host: 10.0.0.1, roles: [coordinator] }]") == [])
  }
}
