// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// Tasks that run people's programs, loops and conditions.
extension WorkflowChecker {
  // MARK: Programs

  /// A line for the shell may hold no references: what they stand for would be read as shell. Words may, they are never read again.
  mutating func command(_ tree: YAMLTree, _ place: String) -> JSONValue? {
    if let items = tree.items {
      if items.isEmpty { fail("PLT-1202", tree.line, place, "is empty", hint: "Give a program and its arguments.") }
      return .array(items.enumerated().compactMap { value($0.element, .anyText, "\(place)[\($0.offset)]") })
    }
    guard case .scalar(let raw, _) = tree.content else {
      fail("PLT-1202", tree.line, place, "must be a line for the shell or a list of words", hint: "command: [ python3, job.py ]")
      return nil
    }
    if raw.contains("{{") {
      fail(
        "PLT-1203", tree.line, place, "a line for the shell cannot hold '{{': what it stands for would be read as shell",
        hint: "Hand it over as a variable, env: { DAY: \"{{job.parameters.day}}\" }, and write \"$DAY\".")
      return nil
    }
    guard let text = text(tree, place) else { return nil }
    if text.allSatisfy(\.isWhitespace) { fail("PLT-1202", tree.line, place, "is empty", hint: "Give a line for the shell.") }
    return .string(text)
  }

  mutating func checkVariable(_ name: String, _ line: Int, _ place: String) {
    let good = name.utf8.enumerated().allSatisfy { $1 == 95 || (65...90).contains($1) || (97...122).contains($1) || ($0 > 0 && (48...57).contains($1)) }
    if name.isEmpty || !good {
      fail("PLT-1204", line, place, "'\(Self.short(name))' is not a name of a variable", hint: "Use letters, digits and '_'.")
    } else if name.hasPrefix("PLATFORM_") {
      fail("PLT-1204", line, place, "'\(Self.short(name))' is the platform's own", hint: "Choose a name that does not begin with PLATFORM_.")
    }
  }

  /// The `scope/key` of a value that is `{{secrets/scope/key}}` and nothing else: a secret becomes part of no other text.
  mutating func secret(_ tree: YAMLTree, _ place: String) -> String? {
    guard case .scalar(let raw, _) = tree.content else { return nil }
    let text = raw.filter { !$0.isWhitespace }
    guard text.hasPrefix("{{secrets/"), text.hasSuffix("}}") else { return nil }
    let name = String(text.dropFirst("{{secrets/".count).dropLast(2))
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    let isGood =
      parts.count == 2
      && parts.allSatisfy { part in
        (1...128).contains(part.utf8.count)
          && part.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "-_@.".utf8.contains($0) }
      }
    guard isGood else {
      fail("PLT-1206", tree.line, place, "'\(Self.short(raw))' names no secret", hint: "Write {{secrets/SCOPE/KEY}}.")
      return ""
    }
    return name
  }

  /// The text of a file that a task names: sent along, or read from a volume, a git folder or a repository beforehand.
  mutating func attached(_ path: String, _ line: Int, _ place: String) -> String? {
    if let text = attachments[path] { return text }
    let plain = path.hasPrefix("dbfs:") ? String(path.dropFirst("dbfs:".count)) : path
    if plain.hasPrefix("/Volumes/") || path.hasPrefix(GitSource.prefix) || WorkspacePath.isOne(path) {
      if !missingFiles.contains(path) { missingFiles.append(path) }
      if purpose == .definition { return "" }
    }
    fail(
      "PLT-1211", line, place, "'\(Self.short(path))' was not sent along",
      hint: "Paths are relative to the workflow file; those in a volume begin with /Volumes/, those in a git folder with /Workspace/.")
    return nil
  }

  /// The name under which a task's file is known to the run: its path, or its path in the repository.
  /// - Parameter source: `GIT`, `WORKSPACE`, or nothing: then what has no place of its own comes from git, when the job has a repository.
  /// - Returns: nil after an error.
  mutating func located(_ path: String, _ source: String?, _ line: Int, _ place: String) -> String? {
    if source == "GIT" || (source ?? "").isEmpty && git != nil && !path.hasPrefix("/") && !path.hasPrefix("dbfs:") && attachments[path] == nil {
      guard git != nil else {
        fail(
          "PLT-4345", line, place, "'\(Self.short(path))' comes from git, and the job has no usable 'git_source'",
          hint: "git_source: { git_url: https://..., git_branch: main }")
        return nil
      }
      return GitSource.prefix + path
    }
    return path
  }

  mutating func checkSource(_ tree: YAMLTree?, _ place: String) {
    if let tree, !tree.isNull { _ = choice(tree, ["GIT", "WORKSPACE"], place + ".source") }
  }

  /// The file's text takes the place of its path: what is changed later does not change the run.
  mutating func script(_ body: JSONValue, _ tree: YAMLTree, _ place: String) -> JSONValue {
    guard let path = body["python_file"]?.stringValue, let file = tree["python_file"] else { return body }
    checkSource(tree["source"], place)
    guard let name = located(path, body["source"]?.stringValue, file.line, place + ".python_file"),
      let text = attached(name, file.line, place + ".python_file")
    else { return body }
    var members = body.objectValue ?? [:]
    members["source"] = nil
    // Braces of the program are its own.
    members["script"] = .string(Template.escape(text))
    return .object(members)
  }

  /// The notebook takes the place of its path, as one of Jupyter's.
  mutating func notebook(_ body: JSONValue, _ tree: YAMLTree, _ place: String) -> JSONValue {
    guard let path = body["notebook_path"]?.stringValue, let file = tree["notebook_path"] else { return body }
    checkSource(tree["source"], place)
    guard let name = located(path, body["source"]?.stringValue, file.line, place + ".notebook_path"),
      let text = attached(name, file.line, place + ".notebook_path")
    else { return body }
    var members = body.objectValue ?? [:]
    members["source"] = nil
    // Settings that are stored: it is read when they run.
    if text.isEmpty, purpose == .definition { return .object(members) }
    do {
      let kind = body["source"]?.stringValue
      let here = place + ".notebook_path"
      let source = try NotebookSource(text, at: path) { other in
        // One that is not there was said; one that is read later is empty now.
        located(other, kind, file.line, here).flatMap { attached($0, file.line, here) }.flatMap { $0.isEmpty ? nil : $0 }
      }
      // Braces of the notebook are its own.
      members["notebook"] = .string(Template.escape(source.notebook.sortedText))
      members["pip"] = .array(source.requirements.map { .string(Template.escape($0)) })
    } catch {
      fail("PLT-4340", file.line, place + ".notebook_path", "'\(Self.short(path))' \(error.message)", hint: error.hint)
    }
    return .object(members)
  }

  /// What a notebook asks pip for, and the kernel that it runs on.
  mutating func addNotebookPackages(_ spec: inout TaskSpec, _ tree: YAMLTree, _ place: String, to packages: inout TaskPackages) {
    guard spec.kind == "notebook", var members = spec.body.objectValue else { return }
    let asked = (members.removeValue(forKey: "pip")?.arrayValue ?? []).compactMap(\.stringValue)
    spec.body = .object(members)
    for line in asked + NotebookSource.kernelPackages { requirement(line, tree.line, place + ".notebook_task", into: &packages) }
  }

  // MARK: Loops and conditions

  mutating func condition(_ body: JSONValue, _ tree: YAMLTree, _ place: String) -> Condition? {
    guard let op = tree["op"] else { return nil }
    let names = Condition.Operator.allCases.map(\.rawValue)
    guard let found = choice(op, names, place + ".op").flatMap({ Condition.Operator(rawValue: $0) }),
      let left = body["left"]?.stringValue, let right = body["right"]?.stringValue
    else { return nil }
    return Condition(found, left, right)
  }

  mutating func loop(_ tree: YAMLTree, _ place: String, into read: inout ReadTask) {
    guard let members = map(tree, place) else { return }
    guard !isInLoop else {
      return fail("PLT-1203", tree.line, place, "a loop cannot repeat a loop", hint: "Make the inner one a job of its own, and repeat a run_job_task.")
    }
    for member in members where !["inputs", "concurrency", "task"].contains(member.key) {
      unknown(member.key, member.line, place, known: ["inputs", "concurrency", "task"])
    }
    var loop = ForEach(inputs: .array([]))
    if let value = tree["concurrency"] { loop.concurrency = Int(integer(value, 1...100, place + ".concurrency") ?? 1) }
    if let value = tree["inputs"] {
      if let inputs = inputs(value, place + ".inputs") { loop.inputs = inputs }
    } else {
      fail("PLT-1202", tree.line, place, "'inputs' is missing", hint: "For example inputs: [1, 2, 3], or \"{{tasks.list.values.items}}\".")
    }
    read.spec.forEach = loop
    guard let inner = tree["task"] else { return fail("PLT-1202", tree.line, place, "'task' is missing") }
    isInLoop = true
    defer { isInLoop = false }
    guard let task = oneTask(inner, place + ".task") else { return }
    if task.spec.condition != nil { fail("PLT-1203", inner.line, place + ".task", "a loop cannot repeat a condition_task") }
    for key in ["depends_on", "run_if", "disabled"] {
      if let wrong = inner[key] {
        fail("PLT-1203", wrong.line, "\(place).task.\(key)", "'\(key)' has no meaning inside of a loop", hint: "Give it to the loop.")
      }
    }
    read.repeated = (task.spec, inner)
  }

  /// A list, the JSON text of one, or a reference to one.
  private mutating func inputs(_ tree: YAMLTree, _ place: String) -> JSONValue? {
    if tree.items != nil { return limited(json(tree, place), tree, place) }
    guard let text = text(tree, place) else { return nil }
    if text.contains("{{") { return .string(text) }
    // Anything else than a list is refused below.
    guard let list = try? JSONValue(parsing: text), list.arrayValue != nil else {
      fail("PLT-1203", tree.line, place, "'\(Self.short(text))' is no list", hint: "For example \"[1, 2, 3]\", or \"{{tasks.list.values.items}}\".")
      return nil
    }
    return limited(list, tree, place)
  }

  private mutating func limited(_ list: JSONValue?, _ tree: YAMLTree, _ place: String) -> JSONValue? {
    guard let count = list?.arrayValue?.count, count > ForEach.limit else { return list }
    fail("PLT-1203", tree.line, place, "has \(count) items; \(ForEach.limit) are the most")
    return nil
  }

  /// Any value, with variables and parameters filled in.
  mutating func json(_ tree: YAMLTree, _ place: String) -> JSONValue? {
    switch tree.content {
    case .list(let items): return .array(items.enumerated().compactMap { json($0.element, "\(place)[\($0.offset)]") })
    case .map(let members):
      var result: [String: JSONValue] = [:]
      for member in members { result[member.key] = json(member.value, "\(place).\(member.key)") }
      return .object(result)
    case .scalar(let raw, let plain):
      guard let text = text(tree, place) else { return nil }
      return plain && text == raw ? YAMLTree.typed(text) : .string(text)
    }
  }
}

extension TaskSpec {
  /// What a loop repeats: its work, and its own limits where it has some.
  mutating func take(_ other: TaskSpec, given tree: YAMLTree) {
    kind = other.kind
    body = other.body
    demand = other.demand ?? demand
    preemptible = other.preemptible ?? preemptible
    partsPerBatch = other.partsPerBatch ?? partsPerBatch
    if tree["max_retries"] != nil { maxRetries = other.maxRetries }
    if tree["min_retry_interval_millis"] != nil { retryBackoff = other.retryBackoff }
    if tree["timeout_seconds"] != nil { timeoutMs = other.timeoutMs }
    if tree["retry_on_timeout"] != nil { retryOnTimeout = other.retryOnTimeout }
  }
}
