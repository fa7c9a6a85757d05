// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling

/// Settings of jobs as Databricks' clients send them: JSON, read by the rules of workflow files.
public enum JobSettings {
  /// Checks settings that shall be stored.
  /// - Parameter attachments: texts of files that tasks name, by the path written there.
  public static func check(_ settings: JSONValue, attachments: [String: String] = [:]) -> ParsedWorkflow {
    read(settings, purpose: .definition, given: [:], attachments: attachments)
  }

  /// A run of settings.
  /// - Parameters:
  ///   - parameters: values of job parameters, over their defaults.
  ///   - only: see `TaskSelection`; empty: all tasks.
  public static func run(
    _ settings: JSONValue, parameters: [String: String], attachments: [String: String], only: [String] = []
  ) -> ParsedWorkflow {
    var parsed = read(settings, purpose: .run, given: parameters, attachments: attachments)
    guard !only.isEmpty, let run = parsed.run else { return parsed }
    do {
      parsed.run?.tasks = try TaskSelection.apply(only, to: run.tasks)
    } catch {
      parsed.errors.append(error)
      parsed.run = nil
    }
    return parsed
  }

  private static func read(
    _ settings: JSONValue, purpose: WorkflowChecker.Purpose, given: [String: String], attachments: [String: String]
  ) -> ParsedWorkflow {
    let tree: YAMLTree
    do {
      tree = try YAMLTree(settings)
    } catch {
      return ParsedWorkflow(run: nil, errors: [error])
    }
    var checker = WorkflowChecker(path: "settings", purpose: purpose, attachments: attachments)
    let run = checker.readJob(YAMLTree.Member(key: "", line: 1, value: tree), given)
    var parsed = checker.result(run)
    // Nothing of it stands in a file.
    parsed.errors = parsed.errors.map { PlatformError(.invalidArgument, $0.message, hint: $0.hint, number: $0.number) }
    parsed.warnings = []
    return parsed
  }

  /// The job of a workflow file as settings, its variables filled in. The file was checked before.
  public static func settings(text: String, path: String, job: String?, variables: [String: String]) throws -> JSONValue {
    let tree = try YAMLTree(parsing: text, path: path)
    var checker = WorkflowChecker(path: path, purpose: .definition, attachments: [:])
    _ = checker.file(tree, job: job, given: variables)
    let jobs = tree["resources"]?["jobs"]?.members ?? []
    guard let chosen = jobs.first(where: { job == nil || $0.key == job }) else {
      throw PlatformError(.invalidFile, "the file has no job", number: "PLT-1208", path: path, line: 1)
    }
    guard case .object(var settings) = chosen.value.json(checker.variables) else {
      throw PlatformError(.invalidFile, "the job is no mapping", number: "PLT-1202", path: path, line: chosen.line)
    }
    if settings["name"] == nil { settings["name"] = .string(chosen.key) }
    return .object(settings)
  }
}

extension YAMLTree {
  /// JSON as a tree without lines.
  init(_ value: JSONValue, depth: Int = 1) throws(PlatformError) {
    guard depth <= Self.maximumDepth else {
      throw PlatformError(.invalidArgument, "values are nested more than \(Self.maximumDepth) deep", number: "PLT-1200")
    }
    switch value {
    case .null: self.init(.scalar("null", plain: true), at: 1)
    case .bool(let flag): self.init(.scalar(flag ? "true" : "false", plain: true), at: 1)
    case .integer(let number): self.init(.scalar(String(number), plain: true), at: 1)
    case .number(let number): self.init(.scalar("\(number)", plain: true), at: 1)
    case .string(let text): self.init(.scalar(text, plain: false), at: 1)
    case .array(let items):
      var made: [YAMLTree] = []
      for item in items { made.append(try YAMLTree(item, depth: depth + 1)) }
      self.init(.list(made), at: 1)
    case .object(let members):
      var made: [Member] = []
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        made.append(Member(key: key, line: 1, value: try YAMLTree(value, depth: depth + 1)))
      }
      self.init(.map(made), at: 1)
    }
  }

  /// What an unquoted text stands for.
  package static func typed(_ text: String) -> JSONValue {
    switch text {
    case "true": return .bool(true)
    case "false": return .bool(false)
    case "", "~", "null", "Null", "NULL": return .null
    default: break
    }
    if let whole = Int64(text) { return .integer(whole) }
    if let number = Double(text), number.isFinite, text.allSatisfy({ "0123456789.eE+-".contains($0) }) { return .number(number) }
    return .string(text)
  }

  /// As JSON, with `${var.x}` filled in; unknown variables stay.
  package func json(_ variables: [String: String] = [:]) -> JSONValue {
    switch content {
    case .list(let items): return .array(items.map { $0.json(variables) })
    case .map(let members): return .object(Dictionary(members.map { ($0.key, $0.value.json(variables)) }, uniquingKeysWith: { $1 }))
    case .scalar(let raw, let plain):
      var text = raw
      for (name, value) in variables.sorted(by: { $0.key < $1.key }) { text = text.replacing("${var.\(name)}", with: value) }
      return plain ? Self.typed(text) : .string(text)
    }
  }
}

/// Which tasks of a job a run has: `a` names one, `+a` also everything before it, `a+` also everything after it.
public enum TaskSelection {
  /// The tasks that are left, without their dependencies on others.
  /// - Throws: `invalidArgument` PLT-4224 for a name that no task has.
  public static func apply(_ only: [String], to tasks: [TaskSpec]) throws(PlatformError) -> [TaskSpec] {
    var chosen: Set<String> = []
    let known = Dictionary(tasks.map { ($0.key, $0) }, uniquingKeysWith: { a, _ in a })
    for entry in only {
      let withBefore = entry.hasPrefix("+")
      let withAfter = entry.hasSuffix("+") && entry.count > 1
      let key = String(entry.dropFirst(withBefore ? 1 : 0).dropLast(withAfter ? 1 : 0))
      guard known[key] != nil else {
        let close = Spelling.suggestion(for: key, among: known.keys.sorted())
        throw PlatformError(
          .invalidArgument, "'only' names no task '\(key.prefix(100))'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Tasks: \(known.keys.sorted().joined(separator: ", ")).", number: "PLT-4224")
      }
      chosen.insert(key)
      if withBefore {
        var open = [key]
        while let next = open.popLast() {
          for before in known[next]?.dependsOn ?? [] where chosen.insert(before).inserted { open.append(before) }
        }
      }
      if withAfter { chosen.formUnion(Repair.dependents(of: [key], RunSpec(id: "", name: "", tasks: tasks))) }
    }
    return tasks.filter { chosen.contains($0.key) }.map { task in
      var task = task
      task.dependsOn.removeAll { !chosen.contains($0) }
      task.outcomes = task.outcomes?.filter { chosen.contains($0.key) }
      return task
    }
  }
}
