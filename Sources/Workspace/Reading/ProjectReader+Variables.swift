// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// Values of variables: from the call, the environment, a file of overrides, the target or the default, and the lookup, in this order.
extension ProjectReader {
  mutating func values(_ variables: YAMLTree?, target: String) -> [String: YAMLTree] {
    let declared = variables?.members ?? []
    let names = declared.map(\.key)
    let line = variables?.line ?? 1
    for name in context.variables.keys.sorted() where !names.contains(name) {
      let close = Spelling.suggestion(for: name, among: names)
      fail(
        "PLT-4279", line, "--var \(name)", "the project declares no variable of this name",
        hint: close.map { "Did you mean '\($0)'?" } ?? (names.isEmpty ? "It declares none." : "Declared: \(names.joined(separator: ", "))."))
    }
    let overrides = overrides(target: target, names)
    var values: [String: YAMLTree] = [:]
    for variable in declared {
      let place = "variables.\(variable.key)"
      let isComplex = variable.value["type"]?.scalar == "complex"
      let given =
        context.variables[variable.key].map { ($0, "--var") } ?? context.environment["BUNDLE_VAR_\(variable.key)"].map { ($0, "BUNDLE_VAR_\(variable.key)") }
      if isComplex, let (_, origin) = given {
        fail(
          "PLT-4279", variable.line, place, "\(origin) cannot give a complex variable its value",
          hint: "Give it in a target, or in .databricks/bundle/\(target)/variable-overrides.json.")
      }
      if !isComplex, let (text, _) = given {
        values[variable.key] = Self.given(text, line: variable.line)
      } else if let value = overrides[variable.key] {
        values[variable.key] = value
      } else if let value = variable.value.members?.first(where: { $0.key == "default" })?.value {
        values[variable.key] = value
      } else if let lookup = variable.value["lookup"] {
        values[variable.key] = self.lookup(lookup, place)
      } else {
        values[variable.key] = YAMLTree.text("", at: variable.line)
        fail("PLT-1207", variable.line, place, "has no value", hint: "Give a default, --var \(variable.key)=VALUE, or set BUNDLE_VAR_\(variable.key).")
      }
    }
    return values
  }

  /// Whole numbers and true and false are what they look like; everything else is text, to the letter.
  private static func given(_ text: String, line: Int) -> YAMLTree {
    let isTyped = Int64(text).map { String($0) == text } ?? (text == "true" || text == "false")
    return isTyped ? YAMLTree.plain(text, at: line) : YAMLTree.text(text, at: line)
  }

  /// Where Databricks' command line looks for values too.
  private mutating func overrides(target: String, _ names: [String]) -> [String: YAMLTree] {
    let path = ".databricks/bundle/\(target)/variable-overrides.json"
    guard PathText.isInside(path) else { return [:] }
    do {
      guard let text = try files.text(path) else { return [:] }
      let tree = try sources.parse(text, path: path)
      guard let members = tree.members else {
        fail("PLT-1202", tree.line, "", "must be a mapping of names to values")
        return [:]
      }
      for member in members where !names.contains(member.key) {
        let close = Spelling.suggestion(for: member.key, among: names)
        fail("PLT-4279", member.line, "", "the project declares no variable '\(member.key)'", hint: close.map { "Did you mean '\($0)'?" } ?? "")
      }
      return Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    } catch {
      fail(PlatformError.from(error))
      return [:]
    }
  }

  private mutating func lookup(_ tree: YAMLTree, _ place: String) -> YAMLTree {
    guard let members = tree.members, members.count == 1, let name = members[0].value.scalar else {
      if tree.members?.isEmpty ?? true || (tree.members?.count ?? 0) > 1 {
        fail("PLT-4279", tree.line, "\(place).lookup", "must name one thing", hint: "For example lookup: { job: nightly }.")
      }
      return YAMLTree.text("", at: tree.line)
    }
    // Others have been warned of, or refused, with their keys.
    guard members[0].key == "job" else { return YAMLTree.text("", at: tree.line) }
    let token = "lookup:\(lookups.count)"
    lookups.append(JobLookup(job: name, path: sources.path(tree.line), line: sources.line(tree.line), token: token))
    return YAMLTree.text("${\(token)}", at: tree.line)
  }
}
