// SPDX-License-Identifier: Apache-2.0

import Core

/// What `platform endpoints create` makes of its arguments.
public enum EndpointRequest {
  /// - Throws: `invalidArgument` PLT-4545, `alreadyExists` PLT-4545.
  public static func check(name: String, wait: Int, isReplaced: Bool, among endpoints: [EndpointInfo]) throws {
    guard isWord(name) else {
      throw PlatformError(
        .invalidArgument, "'\(name.prefix(100))' cannot be the name of an endpoint", hint: "Use letters, digits, '_', '-' and '.', 100 at most.",
        number: "PLT-4545")
    }
    guard (0...86_400).contains(wait) else { throw PlatformError(.invalidArgument, "--wait must be 0 to 86400", number: "PLT-4545") }
    guard isReplaced || !endpoints.contains(where: { $0.name == name }) else {
      throw PlatformError(
        .alreadyExists, "there is an endpoint '\(name)'",
        hint: "--replace serves the model in its place without a pause; 'platform endpoints get \(name)' shows it.", number: "PLT-4545")
    }
  }

  private static func isWord(_ text: String) -> Bool {
    (1...100).contains(text.utf8.count) && !text.hasPrefix(".")
      && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || [45, 46, 95].contains($0) }
  }

  /// Names with models, from `NAME=MODEL`.
  public static func adapters(_ pairs: [String]) throws -> [String: String] {
    var adapters: [String: String] = [:]
    for pair in pairs {
      let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, adapters.updateValue(parts[1], forKey: parts[0]) == nil else {
        throw PlatformError(
          .invalidArgument, parts.count == 2 ? "--adapter \(parts[0]) is given twice" : "--adapter '\(pair)' is not NAME=MODEL",
          hint: "Write --adapter NAME=catalog.schema.model.", number: "PLT-4545")
      }
    }
    return adapters
  }

  /// Whether it has the form of a name of the catalog: three parts, then perhaps `/version` or `@alias`.
  public static func isRegistered(_ model: String) -> Bool {
    if model.hasPrefix("models:/") { return true }
    guard !model.contains(":") else { return false }
    let name = model.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)[0]
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 1 || (parts.count == 2 && Int(parts[1]) != nil) else { return false }
    let words = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    return words.count == 3 && words.allSatisfy { !$0.isEmpty } && !model.hasSuffix(".gguf")
  }

  /// A name of the catalog for a model that has none.
  public static func registeredName(_ endpoint: String) -> String {
    "main.default." + String(endpoint.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
  }

  /// Threads for each of `replicas` processes, so that those of one machine have its processors between them: 1 to 16.
  public static func threads(replicas: Int, nodes: [NodeInfo]) -> Int {
    let ready = nodes.filter { $0.state == "READY" }
    // Workers of one machine tell of its processors in parts.
    let machines = Dictionary(ready.map { ($0.hostID, $0.cpus ?? 1) }, uniquingKeysWith: +)
    guard let least = machines.values.min() else { return 1 }
    let together = (max(1, replicas) + machines.count - 1) / machines.count
    return min(16, max(1, Int(least) / together))
  }
}
