// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

extension ClusterFile {
  /// Reads a cluster file.
  /// - Throws: `PlatformError` PLT-1200 for text that is no YAML; `Problems` with everything else that is wrong (PLT-4390).
  public init(parsing text: String, path: String) throws {
    let tree = try YAMLTree(parsing: text, path: path)
    var reader = ClusterFileReader(path: path)
    let file = reader.file(tree)
    guard let file, reader.errors.isEmpty else { throw Problems(all: reader.errors.sorted { ($0.line ?? 0) < ($1.line ?? 0) }) }
    self = file
  }
}

/// Collects what is wrong while it reads.
private struct ClusterFileReader {
  let path: String
  var errors: [PlatformError] = []

  mutating func fail(_ line: Int, _ place: String, _ message: String, hint: String = "") {
    errors.append(
      PlatformError(.invalidFile, place.isEmpty ? message : "\(place): \(message)", hint: hint, number: "PLT-4390", path: path, line: line))
  }

  /// The members of a mapping whose keys are all among those of `keys` (`ClusterKeys`).
  mutating func members(_ tree: YAMLTree?, _ place: String, keys: String) -> [String: YAMLTree] {
    let known = ClusterKeys.at(keys).map(\.name)
    guard let tree, !tree.isNull else { return [:] }
    guard let members = tree.members else {
      fail(tree.line, place, "must be a mapping")
      return [:]
    }
    var found: [String: YAMLTree] = [:]
    for member in members {
      guard known.contains(member.key) else {
        let close = Spelling.suggestion(for: member.key, among: known)
        fail(
          member.line, place, "unknown key '\(member.key)'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Known here: \(known.sorted().joined(separator: ", ")).")
        continue
      }
      if !member.value.isNull { found[member.key] = member.value }
    }
    return found
  }

  mutating func text(_ tree: YAMLTree?, _ place: String) -> String? {
    guard let tree else { return nil }
    guard case .scalar(let text, _) = tree.content, !text.isEmpty, text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
      fail(tree.line, place, "must be one line of text")
      return nil
    }
    return text
  }

  mutating func number(_ tree: YAMLTree?, _ place: String, _ range: ClosedRange<Int>) -> Int? {
    guard let tree else { return nil }
    guard case .scalar(let text, _) = tree.content, let value = Int(text), range.contains(value) else {
      fail(tree.line, place, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return value
  }

  /// An absolute path that a shell line may hold unquoted: what comes from the file is never read by a shell as anything else.
  mutating func folder(_ tree: YAMLTree?, _ place: String) -> String? {
    guard let tree, var text = text(tree, place) else { return nil }
    while text.count > 1 && text.hasSuffix("/") { text.removeLast() }
    let isPlain = text.utf8.allSatisfy { Self.isWord($0) || $0 == UInt8(ascii: "/") }
    guard text.hasPrefix("/"), text.count > 1, isPlain, !text.split(separator: "/").contains("..") else {
      fail(tree.line, place, "'\(text)' is not a folder", hint: "Write an absolute path of letters, digits, '-', '.', '_' and '/'.")
      return nil
    }
    return text
  }

  mutating func word(_ tree: YAMLTree?, _ place: String) -> String? {
    guard let tree, let text = text(tree, place) else { return nil }
    guard text.utf8.allSatisfy(Self.isWord), !text.hasPrefix("-"), text.utf8.count <= 63 else {
      fail(tree.line, place, "'\(text)' is not a name", hint: "Use letters, digits, '-', '.' and '_', at most 63.")
      return nil
    }
    return text
  }

  static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
    case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): true
    default: false
    }
  }

  /// Whether it is four numbers of an IPv4 address.
  static func isAddress(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
  }

  mutating func access(_ tree: YAMLTree?, _ place: String, base: ClusterFile.Access) -> ClusterFile.Access {
    let found = members(tree, place, keys: "ssh")
    var access = base
    if let user = word(found["user"], place + ".user") { access.user = user }
    if let port = number(found["port"], place + ".port", ClusterKeys.range("ssh", "port")) { access.port = port }
    if let file = text(found["identity_file"], place + ".identity_file") { access.identityFile = file }
    if let tree = found["jump"], let jump = text(tree, place + ".jump") {
      if jump.hasPrefix("-") { fail(tree.line, place + ".jump", "'\(jump)' is not a machine") }
      access.jump = jump
    }
    if let list = found["options"] {
      guard let items = list.items else {
        fail(list.line, place + ".options", "must be a list of NAME=VALUE")
        return access
      }
      for item in items {
        guard let option = text(item, place + ".options") else { continue }
        let name = option.prefix { $0 != "=" && $0 != " " }
        if name.isEmpty || name.count == option.count || !name.allSatisfy({ $0.isASCII && $0.isLetter }) {
          fail(item.line, place + ".options", "'\(option)' is not NAME=VALUE")
        }
        access.options.append(option)
      }
    }
    return access
  }

  mutating func node(_ tree: YAMLTree, _ place: String, access base: ClusterFile.Access, dataDirectory: String) -> ClusterFile.Node? {
    let found = members(tree, place, keys: "nodes")
    guard found["name"] != nil, found["host"] != nil else {
      fail(tree.line, place, "a node needs a name and a host", hint: "For example { name: w1, host: 10.0.0.12, roles: [worker] }.")
      return nil
    }
    guard let name = word(found["name"], place + ".name"), let host = word(found["host"], place + ".host") else { return nil }
    var roles: Set<ClusterFile.Role> = [.worker]
    if let list = found["roles"] {
      roles = []
      for item in list.items ?? [list] {
        guard let text = text(item, place + ".roles") else { continue }
        guard let role = ClusterFile.Role(rawValue: text) else {
          let close = Spelling.suggestion(for: text, among: ClusterFile.Role.allCases.map(\.rawValue))
          fail(item.line, place + ".roles", "'\(text)' is not a role", hint: close.map { "Did you mean '\($0)'?" } ?? "There are coordinator and worker.")
          continue
        }
        roles.insert(role)
      }
    }
    var labels: [String: String] = [:]
    if let tree = found["labels"] {
      for member in tree.members ?? [] {
        guard let value = word(member.value, place + ".labels.\(member.key)") else { continue }
        guard !member.key.isEmpty, member.key.utf8.allSatisfy(Self.isWord) else {
          fail(member.line, place + ".labels", "'\(member.key)' is not a name")
          continue
        }
        labels[member.key] = value
      }
      if tree.members == nil { fail(tree.line, place + ".labels", "must be a mapping") }
    }
    let resources = members(found["resources"], place + ".resources", keys: "nodes.resources")
    var address = word(found["address"], place + ".address")
    if let given = address, !Self.isAddress(given) {
      fail(found["address"]!.line, place + ".address", "'\(given)' is not an IP address", hint: "For example 10.0.0.12.")
    }
    if address == nil, Self.isAddress(host) { address = host }
    if address == nil, roles.contains(.coordinator) {
      fail(tree.line, place, "a coordinator's host '\(host)' is a name: the nodes need its address", hint: "Add address: 10.0.0.11, one of that machine.")
    }
    for key in ["http_bind", "control_port"] where found[key] != nil && !roles.contains(.coordinator) {
      fail(found[key]!.line, place + ".\(key)", "\(name) is no coordinator")
    }
    return ClusterFile.Node(
      name: name, host: host, address: address, roles: roles, access: access(found["ssh"], place + ".ssh", base: base),
      dataDirectory: folder(found["data_dir"], place + ".data_dir") ?? dataDirectory, labels: labels,
      processors: number(resources["cpus"], place + ".resources.cpus", ClusterKeys.range("nodes.resources", "cpus")),
      memory: word(resources["memory"], place + ".resources.memory"), httpBind: httpBind(found["http_bind"], place + ".http_bind"),
      controlPort: number(found["control_port"], place + ".control_port", ClusterKeys.range("nodes", "control_port")), line: tree.line)
  }

  mutating func httpBind(_ tree: YAMLTree?, _ place: String) -> String? {
    guard let tree, let http = text(tree, place) else { return nil }
    let parts = http.split(separator: ":", omittingEmptySubsequences: false)
    if parts.count != 2 || Int(parts[1]).map({ (1...65_535).contains($0) }) != true || !parts[0].utf8.allSatisfy(Self.isWord) || parts[0].isEmpty {
      fail(tree.line, place, "'\(http)' is not HOST:PORT", hint: "For example 127.0.0.1:8400.")
    }
    return http
  }

  mutating func database(_ tree: YAMLTree?) -> ClusterFile.Database {
    let found = members(tree, "postgres", keys: "postgres")
    guard let mode = text(found["mode"], "postgres.mode") else { return .managed }
    switch mode {
    case "managed": return .managed
    case "external":
      guard let secret = text(found["url_secret"], "postgres.url_secret"), secret.hasPrefix("env:"), secret.utf8.count > 4,
        secret.dropFirst(4).utf8.allSatisfy({ Self.isWord($0) && $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: ".") })
      else {
        fail(tree?.line ?? 1, "postgres", "an external Postgres needs url_secret", hint: "Write url_secret: env:PLATFORM_PG_URL and set that variable here.")
        return .managed
      }
      return .external(variable: String(secret.dropFirst(4)))
    default:
      fail(found["mode"]!.line, "postgres.mode", "'\(mode)' is neither managed nor external")
      return .managed
    }
  }

  mutating func file(_ tree: YAMLTree) -> ClusterFile? {
    let top = members(tree, "", keys: "")
    let cluster = members(top["cluster"], "cluster", keys: "cluster")
    let defaults = members(top["defaults"], "defaults", keys: "defaults")
    let network = members(top["network"], "network", keys: "network")
    let storage = members(top["storage"], "storage", keys: "storage")
    let base = access(top["ssh"], "ssh", base: ClusterFile.Access())
    let dataDirectory = folder(defaults["data_dir"], "defaults.data_dir") ?? "/var/lib/platform"
    var nodes: [ClusterFile.Node] = []
    let list = top["nodes"]?.items ?? []
    if list.isEmpty { fail(top["nodes"]?.line ?? tree.line, "nodes", "must be a list of at least one node") }
    for (index, item) in list.enumerated() {
      if let node = node(item, "nodes[\(index)]", access: base, dataDirectory: dataDirectory) { nodes.append(node) }
    }
    check(nodes, tree.line)
    var root: String?
    if let given = storage["root"], let text = text(given, "storage.root") {
      if text.hasPrefix("/") || text.hasPrefix("file:///") {
        var plain = given
        plain.content = .scalar(text.hasPrefix("file://") ? String(text.dropFirst(7)) : text, plain: false)
        root = folder(plain, "storage.root")
      } else {
        fail(
          given.line, "storage.root", "'\(text)' is not a folder",
          hint: "Write file:///srv/lake, a folder that every node has mounted there. Tables in buckets are external locations.")
      }
    }
    let machines = Set(nodes.map(\.host))
    if root == nil, storage["root"] == nil, machines.count > 1 {
      fail(
        tree.line, "storage", "a cluster of \(machines.count) machines needs a folder that all of them see",
        hint: "Mount one under the same path everywhere and write storage: { root: file:///srv/lake }.")
    }
    let http = httpBind(network["http_bind"], "network.http_bind") ?? "127.0.0.1:8400"
    let name = word(cluster["name"], "cluster.name") ?? "cluster"
    let user = word(defaults["service_user"], "defaults.service_user")
    let install = folder(defaults["install_dir"], "defaults.install_dir") ?? "/opt/platform"
    let database = database(top["postgres"])
    let port = number(network["control_port"], "network.control_port", ClusterKeys.range("network", "control_port")) ?? 7400
    guard nodes.contains(where: { $0.roles.contains(.coordinator) }) else { return nil }
    let file = ClusterFile(
      name: name, nodes: nodes, serviceUser: user, installDirectory: install, storage: root, database: database, httpBind: http, controlPort: port)
    checkCoordinators(file)
    return file
  }

  /// What several coordinators need: one Postgres, one lake, and a way to each other.
  private mutating func checkCoordinators(_ file: ClusterFile) {
    guard let second = file.coordinators.dropFirst().first else { return }
    if file.database == .managed {
      fail(
        second.line, "nodes", "\(second.name) is a second coordinator, and a private Postgres is the first one's alone",
        hint: "Write postgres: { mode: external, url_secret: env:PLATFORM_PG_URL }, a Postgres that all of them reach.")
    }
    if file.storage == nil {
      fail(second.line, "storage", "several coordinators need a folder that all of them see", hint: "storage: { root: file:///srv/lake }")
    }
    var owners: [String: String] = [:]
    for node in file.coordinators {
      let http = file.httpAddress(node)
      let host = http.prefix { $0 != ":" }
      if host == "0.0.0.0" || (["127.0.0.1", "localhost"].contains(host) && Set(file.coordinators.map(\.host)).count > 1) {
        fail(
          node.line, "nodes", "the other coordinators hand requests on to \(node.name) at \(http), where they do not reach it",
          hint: "Give it http_bind with an address of its own, for example \(node.address ?? "10.0.0.11"):8400.")
      }
      let port = node.controlPort ?? file.controlPort
      for taken in [http, "\(node.host):\(port)", "\(node.host):\(port + 1)"] {
        if let other = owners[taken], other != node.name {
          fail(node.line, "nodes", "\(node.name) and \(other) both listen on \(taken)", hint: "Give one of them another http_bind and control_port.")
        }
        owners[taken] = node.name
      }
    }
  }

  /// What nodes must not share.
  private mutating func check(_ nodes: [ClusterFile.Node], _ line: Int) {
    var names: [String: Int] = [:]
    var folders: [String: ClusterFile.Node] = [:]
    for node in nodes {
      if let first = names[node.name] { fail(node.line, "nodes", "'\(node.name)' is the name of the node on line \(first) already") }
      names[node.name] = node.line
      let folder = "\(node.host):\(node.access.port ?? 22):\(node.dataDirectory)"
      if let first = folders[folder] {
        fail(node.line, "nodes", "\(node.name) and \(first.name) have the same data folder on the same machine", hint: "Give one of them data_dir.")
      }
      folders[folder] = node
    }
    let coordinators = nodes.filter { $0.roles.contains(.coordinator) }
    if coordinators.isEmpty, !nodes.isEmpty {
      fail(line, "nodes", "no node is a coordinator", hint: "Give one of them roles: [coordinator, worker].")
    }
  }
}
