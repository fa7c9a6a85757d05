// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
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
    #expect(file.controlAddress(file.coordinator) == "10.0.0.11:7500" && file.joinAddresses == "10.0.0.11:7501" && file.httpBind == "127.0.0.1:8400")
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
    #expect(problems("nodes: [{ name: a, host: 10.0.0.1 }]").contains { $0.contains("no node is a coordinator") })
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

  private static func several(_ c1: String = "", _ c2: String = "", postgres: String = "{ mode: external, url_secret: env:URL }") -> String {
    """
    nodes:
      - { name: c1, host: 10.0.0.11, roles: [coordinator]\(c1) }
      - { name: c2, host: c2.lan, address: 10.0.0.12, roles: [coordinator, worker]\(c2) }
      - { name: w1, host: 10.0.0.13 }
    network: { http_bind: "127.0.0.1:8500", control_port: 7500 }
    postgres: \(postgres)
    storage: { root: /srv/lake }
    """
  }

  @Test func severalCoordinatorsReachEachOther() throws {
    let file = try ClusterFile(parsing: Self.several(", http_bind: \"c1.lan:9000\"", ", control_port: 7600"), path: "c.yaml")
    let (c1, c2) = (file.coordinators[0], file.coordinators[1])
    #expect(file.coordinator == c1 && file.workers.map(\.name) == ["c2", "w1"])
    // Where nothing is said, an address of its own: loopback leads nowhere from another machine.
    #expect(file.httpAddress(c1) == "c1.lan:9000" && file.httpAddress(c2) == "10.0.0.12:8500")
    #expect(file.controlAddress(c1) == "10.0.0.11:7500" && file.controlAddress(c2) == "10.0.0.12:7600")
    #expect(file.joinAddresses == "10.0.0.11:7501,10.0.0.12:7601")
    let scripts = NodeScripts(file)
    #expect(scripts.command(.worker, file.nodes[2]).contains("10.0.0.11:7501,10.0.0.12:7601"))
    #expect(scripts.command(.coordinator, c2).joined(separator: " ").contains("--bind 10.0.0.12:8500 --node-bind 10.0.0.12:7600 "))
    #expect(scripts.unit(.coordinator, c2).contains("EnvironmentFile=/var/lib/platform/run/secrets"))
    // Workers make control groups for programs below their own.
    #expect(scripts.unit(.worker, c2).contains("Delegate=cpu memory pids") && !scripts.unit(.coordinator, c2).contains("Delegate="))
  }

  @Test(arguments: [
    (several(postgres: "{ mode: managed }"), 3, "a private Postgres is the first one's alone"),
    (several(", http_bind: \"127.0.0.1:8500\""), 2, "where they do not reach it"),
    (several("", ", http_bind: \"0.0.0.0:8500\""), 3, "where they do not reach it"),
    (several(", http_bind: \"10.0.0.12:8500\""), 3, "both listen on 10.0.0.12:8500"), (several(", http_bind: nowhere"), 2, "is not HOST:PORT"),
    (several().replacing("host: 10.0.0.13", with: "host: 10.0.0.13, control_port: 7400"), 4, "w1 is no coordinator"),
    (
      several().replacing("10.0.0.11", with: "10.0.0.12").replacing("c2.lan", with: "10.0.0.12").replacing(
        "[coordinator]", with: "[coordinator], data_dir: /x"), 3,
      "both listen on 10.0.0.12:7500"
    ),
  ]) func whatSeveralCoordinatorsCannotShareIsTold(_ text: String, _ line: Int, _ says: String) {
    #expect(problems(text).contains { $0.hasPrefix("\(line) ") && $0.contains(says) }, "\(problems(text))")
  }

  /// What the first coordinator has made goes to the others as it is, and never over what is there.
  @Test func keysAreCopiedOnce() throws {
    let folder = TemporaryDirectory("keys")
    let file = try ClusterFile(parsing: Self.several(", data_dir: \(folder.file("c1"))", ", data_dir: \(folder.file("c2"))"), path: "c.yaml")
    let (scripts, c1, c2) = (NodeScripts(file), file.coordinators[0], file.coordinators[1])
    func write(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(name))) }
    func sh(_ script: String) throws -> Program.Output { try Program.run("/bin/sh", ["-c", script], timeout: 60) }
    for name in ["c1/keys", "c2"] { try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true) }
    #expect(try sh(scripts.readKeys(c1)).status != 0)
    try write("c1/keys/coordinator.json", "{}")
    try write("c1/keys/coordinator.pub", "p")
    try write("c1/keys/catalog.key", "k\0\n")
    try write("c1/admin-token", "t\n")
    let keys = try sh(scripts.readKeys(c1)).out
    #expect(try sh(scripts.writeKeys(c2, keys)).out == "copied\n")
    for name in ["keys/coordinator.json", "keys/coordinator.pub", "keys/catalog.key", "admin-token"] {
      #expect(FileManager.default.contentsEqual(atPath: folder.file("c1/\(name)"), andPath: folder.file("c2/\(name)")), "\(name)")
    }
    #expect(try FileManager.default.attributesOfItem(atPath: folder.file("c2/keys"))[.posixPermissions] as? Int == 0o700)
    #expect(try sh(scripts.writeKeys(c2, keys)).out == "there\n")
    try write("c2/keys/catalog.key", "another")
    #expect(try sh(scripts.writeKeys(c2, keys)).out == "other\n")
    #expect(FileManager.default.contents(atPath: folder.file("c2/keys/catalog.key")) == Data("another".utf8))
    #expect(!FileManager.default.fileExists(atPath: folder.file("c2/.keys-new")))
  }
}
