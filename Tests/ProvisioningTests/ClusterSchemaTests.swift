// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs
import Testing

@testable import Provisioning

/// The JSON Schema says the same as what reads the files.
@Suite struct ClusterSchemaTests {
  /// Whether a value fits a schema, as far as ours go.
  private func fits(_ value: JSONValue, _ schema: JSONValue) -> Bool {
    if let choices = schema["anyOf"]?.arrayValue, !choices.contains(where: { fits(value, $0) }) { return false }
    if let words = schema["enum"]?.arrayValue, !words.contains(value) { return false }
    let types = schema["type"]?.arrayValue?.compactMap(\.stringValue) ?? schema["type"]?.stringValue.map { [$0] }
    if let types, !types.contains(where: { isOf($0, value) }) { return false }
    if let text = value.stringValue, let pattern = schema["pattern"]?.stringValue, text.range(of: pattern, options: .regularExpression) == nil { return false }
    if let number = value.intValue {
      if let least = schema["minimum"]?.intValue, number < least { return false }
      if let most = schema["maximum"]?.intValue, number > most { return false }
    }
    if let items = value.arrayValue {
      if let least = schema["minItems"]?.intValue, items.count < least { return false }
      if let each = schema["items"], !items.allSatisfy({ fits($0, each) }) { return false }
    }
    guard let members = value.objectValue else { return true }
    let needed = schema["required"]?.arrayValue?.compactMap(\.stringValue) ?? []
    if needed.contains(where: { members[$0] == nil }) { return false }
    return members.allSatisfy { key, member in
      if let own = schema["properties"]?[key] { return fits(member, own) }
      if let names = schema["propertyNames"], !fits(.string(key), names) { return false }
      guard let others = schema["additionalProperties"] else { return true }
      return others == true || others != false && fits(member, others)
    }
  }

  private func isOf(_ type: String, _ value: JSONValue) -> Bool {
    switch type {
    case "object": value.objectValue != nil
    case "array": value.arrayValue != nil
    case "string": value.stringValue != nil
    case "boolean": value.boolValue != nil
    case "integer": value.intValue != nil
    case "number": value.doubleValue != nil
    default: false
    }
  }

  /// By what reads the file, and by the schema.
  private func isTaken(_ text: String) throws -> [Bool] {
    let value = try YAMLTree(parsing: text, path: "c.yaml").json()
    // Why it is not read is told elsewhere.
    return [(try? ClusterFile(parsing: text, path: "c.yaml")) != nil, fits(value, ClusterSchema.document)]
  }

  @Test func theExamplesFit() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../cluster").standardized
    let examples = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil).filter { $0.pathExtension == "yaml" }
    #expect(!examples.isEmpty)
    for example in examples {
      #expect(try isTaken(String(contentsOf: example, encoding: .utf8)) == [true, true], "\(example.lastPathComponent)")
    }
    #expect(try isTaken(ClusterFileTests.whole) == [true, true])
  }

  private static let node = "{ name: c1, host: 10.0.0.11, roles: [coordinator, worker] }"

  @Test(arguments: [
    "nodes: [ \(node) ]\nssh: { port: 22, options: [ 'A=b' ] }", "nodes: [ { name: c1, host: 10.0.0.11, roles: coordinator } ]",
    "nodes: [ \(node) ]\npostgres: { mode: external, url_secret: env:PG_URL }\nnetwork: { http_bind: 127.0.0.1:8400, control_port: 7400 }",
    "cluster: { name: 7 }\nnodes: [ { name: 1, host: 10.0.0.1, roles: [coordinator], labels: { a: true }, resources: { cpus: 4096, memory: 56GB } } ]",
    "nodes: [ \(node) ]\nstorage: { root: /srv/lake }\ndefaults: { install_dir: /opt/p, data_dir: /var/p, service_user: p }",
  ]) func whatIsReadFits(_ text: String) throws {
    #expect(try isTaken(text) == [true, true])
  }

  @Test(arguments: [
    "cluster: { nam: lab }\nnodes: [ \(node) ]", "nodes: []", "cluster: { name: lab }", "nodes: [ { name: c1, roles: [coordinator] } ]",
    "nodes: [ { name: c1, host: 10.0.0.11, roles: [cordinator] } ]", "nodes: [ { name: 'a b', host: 10.0.0.11, roles: [coordinator] } ]",
    "nodes: [ { name: c1, host: -x, address: 10.0.0.1, roles: [coordinator] } ]", "nodes: [ \(node) ]\nssh: { port: 65536 }",
    "nodes: [ \(node) ]\nssh: { options: [ nothing ] }", "nodes: [ \(node) ]\ndefaults: { data_dir: here }", "nodes: [ \(node) ]\nstorage: { root: s3://b/x }",
    "nodes: [ \(node) ]\npostgres: { mode: internal }", "nodes: [ \(node) ]\npostgres: { mode: external, url_secret: 'postgres://x' }",
    "nodes: [ \(node) ]\nnetwork: { http_bind: nowhere }", "nodes: [ \(node) ]\nnetwork: { control_port: 65535 }", "nodes: { c1: {} }",
    "nodes: [ { name: c1, host: 10.0.0.11, address: here, roles: [coordinator] } ]",
    "nodes: [ { name: c1, host: 10.0.0.11, roles: [coordinator], resources: { cpus: 0 } } ]",
  ]) func whatIsRefusedDoesNotFit(_ text: String) throws {
    #expect(try isTaken(text) == [false, false])
  }

  @Test func everyKeyIsInTheDocumentation() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../docs/many-nodes.md").standardized
    let text = try String(contentsOf: page, encoding: .utf8)
    func check(_ keys: [ClusterKey]) {
      for key in keys {
        #expect(text.contains(key.name), "\(key.name)")
        #expect(!key.summary.isEmpty)
        check(key.inside)
      }
    }
    check(ClusterKeys.top)
  }
}
