// SPDX-License-Identifier: Apache-2.0

public import Core

/// A key of cluster files: what it may hold, and what people are told of it. One table for reading files and for their JSON Schema.
struct ClusterKey: Sendable {
  indirect enum Shape: Sendable {
    /// One line.
    case text
    /// Letters, digits, `-`, `.` and `_`, at most 63.
    case name
    /// An absolute path that a shell line may hold unquoted.
    case folder
    case number(ClosedRange<Int>)
    case choice([String])
    /// One of some words, or a list of them.
    case choices([String])
    case texts
    /// Names with names.
    case names
    /// One line of a form that a regular expression says.
    case form(String)
    case keys([ClusterKey])
    case list([ClusterKey])
  }

  let name: String
  let shape: Shape
  let summary: String
  var fallback = ""
  var isRequired = false

  /// The keys inside of it.
  var inside: [ClusterKey] {
    switch shape {
    case .keys(let keys), .list(let keys): keys
    default: []
    }
  }
}

enum ClusterKeys {
  private static let dataDirectory = ClusterKey(
    name: "data_dir", shape: .folder, summary: "What is a node's own: keys, logs, and on the coordinator Postgres.", fallback: "/var/lib/platform")

  private static let access = ClusterKey(
    name: "ssh",
    shape: .keys([
      ClusterKey(name: "user", shape: .name, summary: "Who logs in."),
      ClusterKey(name: "port", shape: .number(1...65_535), summary: "Where sshd listens."),
      ClusterKey(name: "identity_file", shape: .text, summary: "The private key."),
      ClusterKey(name: "jump", shape: .form("^[^-]"), summary: "A machine in between, as ssh -J takes it."),
      ClusterKey(name: "options", shape: .texts, summary: "Further options of ssh, each NAME=VALUE."),
    ]), summary: "How machines are reached with the system's OpenSSH; what is not said is up to ~/.ssh/config.")

  static let top: [ClusterKey] = [
    ClusterKey(
      name: "cluster", shape: .keys([ClusterKey(name: "name", shape: .name, summary: "A name for people.", fallback: "cluster")]),
      summary: "What the cluster is called."),
    access,
    ClusterKey(
      name: "defaults",
      shape: .keys([
        ClusterKey(name: "service_user", shape: .name, summary: "Whom the services run as; made where it is missing.", fallback: "whoever logs in"),
        dataDirectory,
        ClusterKey(name: "install_dir", shape: .folder, summary: "Where the program goes.", fallback: "/opt/platform"),
      ]), summary: "What holds for nodes that do not say otherwise."),
    ClusterKey(
      name: "nodes",
      shape: .list([
        ClusterKey(name: "name", shape: .name, summary: "The node's name.", isRequired: true),
        ClusterKey(name: "host", shape: .name, summary: "Where ssh finds it.", isRequired: true),
        ClusterKey(
          name: "address", shape: .form(#"^\d{1,3}(\.\d{1,3}){3}$"#), summary: "Its IP address for the other nodes.",
          fallback: "host, or for a worker where its way to the coordinator starts"),
        ClusterKey(
          name: "roles", shape: .choices(ClusterFile.Role.allCases.map(\.rawValue)), summary: "What runs there; at least one node is a coordinator.",
          fallback: "[worker]"),
        access, dataDirectory,
        ClusterKey(name: "labels", shape: .names, summary: "Labels of the worker, for node_labels of tasks."),
        ClusterKey(
          name: "resources",
          shape: .keys([
            ClusterKey(name: "cpus", shape: .number(1...4096), summary: "Processors that tasks may use.", fallback: "the machine's"),
            ClusterKey(name: "memory", shape: .name, summary: "Memory that tasks may use, for example 56GB.", fallback: "the machine's"),
          ]), summary: "What tasks may use there."),
        ClusterKey(
          name: "http_bind", shape: .form(#"^[A-Za-z0-9._-]+:\d{1,5}$"#), summary: "Of a coordinator: address for people, clients and the other coordinators.",
          fallback: "network.http_bind; where there are several coordinators, its port on the node's address"),
        ClusterKey(
          name: "control_port", shape: .number(1...65_534), summary: "Of a coordinator: port for the nodes; joining takes the next one.",
          fallback: "network.control_port"),
      ]), summary: "The machines.", isRequired: true),
    ClusterKey(
      name: "network",
      shape: .keys([
        ClusterKey(
          name: "http_bind", shape: .form(#"^[A-Za-z0-9._-]+:\d{1,5}$"#), summary: "Address for people and clients on the coordinator's machine.",
          fallback: "127.0.0.1:8400"),
        ClusterKey(name: "control_port", shape: .number(1...65_534), summary: "Port for the nodes; joining takes the next one.", fallback: "7400"),
      ]), summary: "Where the coordinator listens."),
    ClusterKey(
      name: "postgres",
      shape: .keys([
        ClusterKey(
          name: "mode", shape: .choice(["managed", "external"]), summary: "A private Postgres on the coordinator's machine, or one that is there.",
          fallback: "managed"),
        ClusterKey(
          name: "url_secret", shape: .form(#"^env:[A-Za-z0-9_]+$"#),
          summary: "Of an external one: env:VARIABLE, a variable of the shell that runs the command, with the connection string."),
      ]), summary: "Where the truth is kept."),
    ClusterKey(
      name: "storage",
      shape: .keys([
        ClusterKey(
          name: "root", shape: .form("^(file://)?/[A-Za-z0-9._/-]+$"),
          summary: "A folder, file:///srv/lake, that every machine has mounted under this path; needed for more than one machine.")
      ]), summary: "Where tables, models and indexes are."),
  ]

  /// The keys at a place: empty for the top, `nodes`, `nodes.resources`.
  static func at(_ place: String) -> [ClusterKey] {
    var keys = top
    for word in place.split(separator: ".") { keys = keys.first { $0.name == word }?.inside ?? [] }
    return keys
  }

  /// The numbers that a key may have.
  static func range(_ place: String, _ name: String) -> ClosedRange<Int> {
    guard case .number(let range)? = at(place).first(where: { $0.name == name })?.shape else { preconditionFailure("\(place).\(name) is no number") }
    return range
  }
}

/// The JSON Schema of cluster files, which editors complete and check them with.
public enum ClusterSchema {
  public static let document: JSONValue = {
    guard case .object(var members) = object(ClusterKeys.top) else { return .null }
    members["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    members["title"] = "cluster file"
    members["description"] = "What platform up -f brings up: docs/many-nodes.md."
    return .object(members)
  }()

  private static func object(_ keys: [ClusterKey]) -> JSONValue {
    var result: [String: JSONValue] = [
      "type": "object", "additionalProperties": false,
      "properties": .object(Dictionary(keys.map { ($0.name, property($0)) }, uniquingKeysWith: { $1 })),
    ]
    let required = keys.filter(\.isRequired).map { JSONValue.string($0.name) }
    if !required.isEmpty { result["required"] = .array(required) }
    return .object(result)
  }

  private static func property(_ key: ClusterKey) -> JSONValue {
    guard case .object(var members) = shape(key.shape) else { return .null }
    members["description"] = .string(key.summary + (key.fallback.isEmpty ? "" : " Default: \(key.fallback)."))
    return .object(members)
  }

  /// What is not quoted may read as a number.
  private static func scalar(_ pattern: String) -> JSONValue { ["type": ["string", "number", "boolean"], "pattern": .string(pattern)] }

  private static let name = "^[A-Za-z0-9._][A-Za-z0-9._-]{0,62}$"

  private static func shape(_ shape: ClusterKey.Shape) -> JSONValue {
    switch shape {
    case .text: return scalar("^.+$")
    case .name: return scalar(name)
    case .folder: return scalar("^/[A-Za-z0-9._/-]+$")
    case .form(let pattern): return scalar(pattern)
    case .number(let range): return ["type": "integer", "minimum": .integer(Int64(range.lowerBound)), "maximum": .integer(Int64(range.upperBound))]
    case .choice(let words): return ["enum": .array(words.map { .string($0) })]
    case .choices(let words):
      let one: JSONValue = ["enum": .array(words.map { .string($0) })]
      return ["anyOf": [one, ["type": "array", "items": one]]]
    case .texts: return ["type": "array", "items": scalar("^[A-Za-z]+[= ]")]
    case .names: return ["type": "object", "propertyNames": ["pattern": .string("^[A-Za-z0-9._-]+$")], "additionalProperties": scalar(name)]
    case .keys(let keys): return object(keys)
    case .list(let keys): return ["type": "array", "minItems": 1, "items": object(keys)]
    }
  }
}
