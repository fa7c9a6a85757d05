// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// Which target, and what its overrides make of the project.
extension ProjectReader {
  /// The name of the target; nil after an error.
  mutating func chooseTarget(_ root: YAMLTree) -> String? {
    let all = root["targets"]?.members ?? []
    targets = all.map(\.key)
    let line = root["targets"]?.line ?? root.line
    if let wanted = context.target {
      if targets.contains(wanted) || (targets.isEmpty && wanted == "default") { return wanted }
      let close = Spelling.suggestion(for: wanted, among: targets)
      let known = targets.isEmpty ? "The project declares no targets." : "Targets: \(targets.joined(separator: ", "))."
      fail("PLT-4271", line, "targets", "there is no target '\(wanted)'", hint: close.map { "Did you mean '\($0)'?" } ?? known)
      return nil
    }
    // Databricks' rules: none declared, then there is one called default; an only one is the default.
    if all.isEmpty { return "default" }
    if all.count == 1 { return all[0].key }
    let marked = all.filter { ["true", "yes", "on"].contains($0.value["default"]?.scalar?.lowercased() ?? "") }
    if marked.count == 1 { return marked[0].key }
    if let second = marked.dropFirst().first {
      fail(
        "PLT-4271", second.line, "targets", "\(marked.map { "'\($0.key)'" }.joined(separator: " and ")) are both the default",
        hint: "Keep 'default: true' at one of them.")
    } else {
      fail(
        "PLT-4271", line, "targets", "no target is the default",
        hint: "Choose with --target \(targets.joined(separator: "|")), or mark one with 'default: true'.")
    }
    return nil
  }

  /// The project with a target's parts merged over it.
  mutating func override(_ root: YAMLTree, by target: YAMLTree, _ name: String) -> YAMLTree {
    var result = root
    for field in ["bundle", "workspace", "presets", "permissions", "resources"] {
      guard let own = target[field] else { continue }
      guard let known = result[field] else {
        result = result.setting(field, own)
        continue
      }
      do {
        result = result.setting(field, try TreeMerge.merge(known, own, "targets.\(name).\(field)"))
      } catch { fail(error) }
    }
    var variables = result["variables"] ?? YAMLTree(.map([]), at: root.line)
    for variable in target["variables"]?.members ?? [] {
      guard let known = variables.members?.first(where: { $0.key == variable.key })?.value else {
        let names = variables.members?.map(\.key) ?? []
        let close = Spelling.suggestion(for: variable.key, among: names)
        fail(
          "PLT-4279", variable.line, "targets.\(name).variables", "the project declares no variable '\(variable.key)'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Declare it in 'variables'.")
        continue
      }
      variables = variables.setting(variable.key, Self.variable(known, taking: variable.value))
    }
    return result.setting("variables", variables)
  }

  /// A variable with what a target says of it: a value, or `default` or `lookup` in a mapping.
  private static func variable(_ known: YAMLTree, taking own: YAMLTree) -> YAMLTree {
    let keys = own.members?.map(\.key) ?? []
    let isWhole = keys.contains { ["default", "lookup"].contains($0) } && keys.allSatisfy(["default", "description", "type", "lookup"].contains)
    var result = known.isNull ? YAMLTree(.map([]), at: own.line) : known
    guard isWhole else { return result.setting("lookup", nil).setting("default", own) }
    for member in own.members ?? [] {
      // One of the two gives the value.
      if member.key == "default" { result = result.setting("lookup", nil) }
      if member.key == "lookup" { result = result.setting("default", nil) }
      result = result.setting(member.key, member.value)
    }
    return result
  }
}
