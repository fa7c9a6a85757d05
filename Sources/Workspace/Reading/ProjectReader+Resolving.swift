// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// From merged files to a project: target, variables, references, presets, resources.
extension ProjectReader {
  mutating func resolve(_ merged: YAMLTree) -> Project? {
    guard let name = projectName(merged), let target = chooseTarget(merged) else { return nil }
    var root = merged
    checkParts(merged["resources"], "resources")
    let overriding = merged["targets"]?.members?.first { $0.key == target }?.value
    if let overriding, !overriding.isNull {
      checkParts(overriding["resources"], "targets.\(target).resources")
      root = override(root, by: overriding, target)
    }
    root = root.setting("resources", mergedParts(root["resources"]))
    let mode = overriding?["mode"]?.scalar.flatMap { Project.Mode(rawValue: $0) }
    let values = values(root["variables"], target: target)

    // What a project knows of itself.
    let bundle = facts(root["bundle"], name: name, target: target, mode: mode)
    let workspace = workspace(root["workspace"], mode: mode)
    let known = ["bundle": bundle, "workspace": workspace]
    let filled = fillIn(root.setting("workspace", workspace), values, known)
    guard let rootPath = rootPath(filled, mode) else { return nil }
    let identity = Project.Identity(
      name: name, target: target, mode: mode, rootPath: rootPath, host: filled["workspace"]?["host"]?.scalar.flatMap { $0.isEmpty ? nil : $0 })
    self.identity = identity

    let shown = ofTarget(filled["resources"], target)
    let presets = TargetPresets(filled["presets"], mode, shortUser: context.shortUser)
    let named = presets.apply(to: boundToSchemas(shown, presets))
    let (tree, resources) = makeResources(named, identity, permissions: filled["permissions"])
    let configuration: JSONValue = [
      "bundle": .object(["name": .string(name), "target": .string(target)].merging(mode.map { ["mode": .string($0.rawValue)] } ?? [:]) { $1 }),
      "workspace": (filled["workspace"] ?? YAMLTree(.map([]), at: 1)).setting("root_path", YAMLTree.text(rootPath, at: 1)).json(),
      "variables": .object(variablesShown(values, known)), "resources": tree.json(),
    ]
    return Project(identity: identity, resources: resources, lookups: lookups, configuration: configuration)
  }

  private mutating func projectName(_ root: YAMLTree) -> String? {
    guard let name = root["bundle"]?["name"], let text = name.scalar, !text.isEmpty else {
      fail("PLT-1202", root["bundle"]?.line ?? root.line, "bundle", "'name' is missing", hint: "For example bundle: { name: support }.")
      return nil
    }
    guard text.utf8.count <= 128, PathText.isInside(text), !text.contains("/"), !text.contains("${") else {
      fail("PLT-1204", name.line, "bundle.name", "'\(text.prefix(80))' is not a usable name", hint: "Use letters, digits, '_', '-' and '.'.")
      return nil
    }
    return text
  }

  /// A target's part of the same name is merged; two of one name in one list are a slip.
  private mutating func checkParts(_ resources: YAMLTree?, _ place: String) {
    for job in resources?["jobs"]?.members ?? [] {
      for (list, name) in TreeMerge.keys.sorted(by: { $0.key < $1.key }) {
        var first: [String: Int] = [:]
        for (index, item) in (job.value.members == nil ? [] : job.value[list]?.items ?? []).enumerated() {
          guard let part = item.members == nil ? nil : item[name], let key = part.scalar else { continue }
          if let line = first[key] {
            fail(
              "PLT-1205", part.line, "\(place).jobs.\(job.key).\(list)[\(index)]", "\(name) '\(key)' is used twice",
              hint: "First used on line \(sources.line(line)).")
          } else {
            first[key] = part.line
          }
        }
      }
    }
  }

  private mutating func mergedParts(_ resources: YAMLTree?) -> YAMLTree? {
    guard let resources, let jobs = resources["jobs"], let all = jobs.members else { return resources }
    var merged: [YAMLTree.Member] = []
    for job in all {
      var job = job
      do {
        job.value = try TreeMerge.mergeParts(job.value, "resources.jobs.\(job.key)")
      } catch { fail(error) }
      merged.append(job)
    }
    return resources.setting("jobs", YAMLTree(.map(merged), at: jobs.line))
  }

  // MARK: Facts

  private func facts(_ bundle: YAMLTree?, name: String, target: String, mode: Project.Mode?) -> YAMLTree {
    let line = bundle?.line ?? 1
    var result = YAMLTree(.map([]), at: line)
    var values = ["name": name, "target": target, "environment": target]
    if let mode { values["mode"] = mode.rawValue }
    for (key, value) in values.sorted(by: { $0.key < $1.key }) { result = result.setting(key, YAMLTree.text(value, at: line)) }
    var git = YAMLTree(.map([]), at: line)
    for (key, value) in [("branch", context.git.branch), ("commit", context.git.commit)] {
      git = git.setting(key, YAMLTree.text(bundle?["git"]?[key]?.scalar ?? value ?? "", at: line))
    }
    return result.setting("git", git)
  }

  private func workspace(_ own: YAMLTree?, mode: Project.Mode?) -> YAMLTree {
    let line = own?.line ?? 1
    var result = own ?? YAMLTree(.map([]), at: line)
    func text(_ value: String) -> YAMLTree { YAMLTree.text(value, at: line) }
    let short = context.shortUser
    let user = YAMLTree(.map([]), at: line).setting("userName", text(context.user)).setting("short_name", text(short))
      .setting("domain_friendly_name", text(short.replacing("_", with: "-")))
    result = result.setting("current_user", user)
    if result["host"] == nil { result = result.setting("host", text(context.host)) }
    if let path = result["root_path"]?.scalar {
      if path.hasPrefix("~/") {
        result = result.setting("root_path", YAMLTree.text("/Workspace/Users/\(context.user)/\(path.dropFirst(2))", at: result["root_path"]?.line ?? line))
      }
    } else {
      // One copy of what is production, whoever deploys it; one for each person of what is being developed.
      let folder = mode == .development ? "Users/${workspace.current_user.userName}" : "Shared"
      result = result.setting("root_path", text("/Workspace/\(folder)/.bundle/${bundle.name}/${bundle.target}"))
    }
    for (key, part) in [("file_path", "files"), ("resource_path", "resources"), ("artifact_path", "artifacts"), ("state_path", "state")]
    where result[key] == nil { result = result.setting(key, text("${workspace.root_path}/\(part)")) }
    return result
  }

  private mutating func rootPath(_ root: YAMLTree, _ mode: Project.Mode?) -> String? {
    let tree = root["workspace"]?["root_path"]
    // Before it is known who deploys, the path may lack the name.
    guard let path = tree?.scalar, path.hasPrefix("/"), context.user.isEmpty || PathText.isInside(path.dropFirst()), path.utf8.count <= 512 else {
      fail("PLT-1204", tree?.line ?? 1, "workspace.root_path", "is no usable path", hint: "For example /Workspace/Shared/.bundle/support/prod.")
      return nil
    }
    if mode == .development, !context.user.isEmpty, !path.contains(context.user), !path.contains(context.shortUser) {
      fail(
        "PLT-4283", tree?.line ?? 1, "workspace.root_path", "a development target has a deployment for each person, and this path is the same for all",
        hint: "Put ${workspace.current_user.short_name} into it, or leave it out.")
    }
    return path
  }

  // MARK: References

  /// Everything filled in but what refers to resources, which have their names only after the presets.
  private mutating func fillIn(_ root: YAMLTree, _ values: [String: YAMLTree], _ facts: [String: YAMLTree]) -> YAMLTree {
    var filler = ReferenceFiller(answering(values, facts))
    var result = root
    for field in ["workspace", "presets", "permissions", "resources"] {
      guard let tree = result[field] else { continue }
      result = result.setting(field, filler.fill(tree, field))
    }
    for error in filler.errors { fail(error) }
    return result
  }

  private func variablesShown(_ values: [String: YAMLTree], _ facts: [String: YAMLTree]) -> [String: JSONValue] {
    var filler = ReferenceFiller(answering(values, facts))
    return values.mapValues { ["value": filler.fill($0, "").json()] }
  }

  private func answering(_ values: [String: YAMLTree], _ facts: [String: YAMLTree]) -> (String, Int) -> ReferenceFiller.Answer {
    let (files, sources) = (files, sources)
    let names = values.keys.sorted().map { "var.\($0)" }
    return { name, line in
      if name.hasPrefix("resources.") || name.hasPrefix("lookup:") { return .later }
      if name.hasPrefix("file:") { return Self.file(String(name.dropFirst(5)), from: ProjectFiles.folder(of: sources.path(line)), files, line) }
      guard let steps = References.path(name), case .key(let first)? = steps.first else {
        return .unknown(hint: "References are ${var.NAME}, ${bundle.name}, ${workspace.current_user.short_name} or ${resources.jobs.KEY.id}.")
      }
      if first == "var", steps.count > 1, case .key(let variable) = steps[1], let value = values[variable] {
        // A variable may be a reference to a complex one: then there is nothing to go down into yet.
        if steps.count > 2, let text = value.scalar, References.isWhole(text) {
          let rest = name.dropFirst("var.\(variable)".count)
          return .value(YAMLTree.text("${\(text.dropFirst(2).dropLast())\(rest)}", at: line))
        }
        if let found = References.descend(value, steps.dropFirst(2)) { return .value(found) }
        return .unknown(hint: "The variable '\(variable)' has no such part.")
      }
      if let tree = facts[first], let found = References.descend(tree, steps.dropFirst()) { return .value(found) }
      if let close = Spelling.suggestion(for: name, among: names) { return .unknown(hint: "Did you mean '${\(close)}'?") }
      if steps.count == 1 { return .unknown(hint: "In a line for the shell write $\(name), without braces; a variable of the project is ${var.\(name)}.") }
      if first == "var" {
        return .unknown(hint: names.isEmpty ? "The project declares no variables." : "Declared: \(names.map { $0.dropFirst(4) }.joined(separator: ", ")).")
      }
      return .unknown(hint: "References begin with var, bundle, workspace, resources, or file: and a path.")
    }
  }

  /// `${file:PATH}`: a text, as it is.
  private static func file(_ path: String, from folder: String, _ files: ProjectFiles, _ line: Int) -> ReferenceFiller.Answer {
    guard !path.hasPrefix("/"), let inside = ProjectFiles.inside(path, from: folder) else { return .unknown(hint: "The path leads out of the project.") }
    do {
      guard let text = try files.text(inside) else { return .unknown(hint: "There is no file '\(inside)'.") }
      guard !text.contains("${") else { return .unknown(hint: "The file has '${' in it, which would be read as a reference.") }
      return .value(YAMLTree.text(text, at: line))
    } catch {
      return .unknown(hint: PlatformError.from(error).message)
    }
  }
}
