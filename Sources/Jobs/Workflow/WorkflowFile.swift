// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling

/// What a workflow file says.
public struct ParsedWorkflow: Sendable {
  /// Nil when there are errors. The store gives it its identifier, which is empty here.
  public var run: RunSpec?
  public var warnings: [String] = []
  /// All of them at once, in the order of the file's lines; `invalidFile` PLT-12xx with path and line.
  public var errors: [PlatformError] = []
}

/// Reads `platform.yml` and single workflow files: the subset of Databricks' bundle format that is built.
public enum WorkflowFile {
  /// Checks everything that can be known without the catalog. Never throws; does no input or output.
  /// - Parameters:
  ///   - path: of the file, for messages.
  ///   - job: key in `resources.jobs`; may be nil when there is only one.
  ///   - parameters: values for variables and job parameters, over their defaults.
  ///   - attachments: texts of files that `sql_task` names, by the path written there.
  public static func parse(
    text: String, path: String, job: String?, parameters: [String: String], attachments: [String: String]
  ) -> ParsedWorkflow {
    let tree: YAMLTree
    do {
      tree = try YAMLTree(parsing: text, path: path)
    } catch {
      return ParsedWorkflow(run: nil, errors: [error])
    }
    var checker = WorkflowChecker(path: path, attachments: attachments)
    var run = checker.file(tree, job: job, given: parameters)
    if checker.errors.isEmpty, let spec = run {
      // The identifier comes later; any will do for the check.
      var named = spec
      named.id = "run"
      if let problem = Scheduler.problem(with: named) { checker.fail("PLT-1205", 1, "", problem.message) }
    }
    if !checker.errors.isEmpty { run = nil }
    let errors = checker.errors.enumerated().sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
    return ParsedWorkflow(run: run, warnings: checker.warnings, errors: errors.map(\.element))
  }
}

extension WorkflowChecker {
  mutating func file(_ tree: YAMLTree, job: String?, given: [String: String]) -> RunSpec? {
    guard let members = map(tree, "") else { return nil }
    for member in members {
      switch member.key {
      case "bundle", "resources": break
      case "variables": readVariables(member.value, given)
      default:
        if TaskSchema.ignoredTopKeys.contains(member.key) {
          ignore(member.key, member.line, "")
        } else {
          unknown(
            member.key, member.line, "", known: ["bundle", "variables", "resources"] + TaskSchema.ignoredTopKeys.sorted())
        }
      }
    }
    guard let resources = tree["resources"], let kinds = map(resources, "resources") else {
      fail(
        "PLT-1202", tree.line, "", "'resources.jobs' is missing",
        hint: "A workflow file has resources: { jobs: { NAME: ... } }.")
      return nil
    }
    for kind in kinds where kind.key != "jobs" { ignore(kind.key, kind.line, "resources") }
    guard let jobs = resources["jobs"], let all = map(jobs, "resources.jobs"), !all.isEmpty else {
      fail("PLT-1202", resources.line, "resources", "'jobs' is missing or empty")
      return nil
    }
    let names = all.map(\.key)
    if job == nil, all.count > 1 {
      fail(
        "PLT-1208", jobs.line, "resources.jobs", "the file has \(all.count) jobs: \(names.joined(separator: ", "))",
        hint: "Choose with --job.")
      return nil
    }
    guard let chosen = all.first(where: { job == nil || $0.key == job }) else {
      fail(
        "PLT-1208", jobs.line, "resources.jobs", "there is no job '\(job ?? "")'",
        hint: "Jobs: \(names.joined(separator: ", ")).")
      return nil
    }
    return readJob(chosen, given)
  }

  private mutating func readVariables(_ tree: YAMLTree, _ given: [String: String]) {
    guard !tree.isNull, let members = map(tree, "variables") else { return }
    for member in members {
      let place = "variables.\(member.key)"
      guard let fields = map(member.value, place) else { continue }
      for field in fields where !["default", "description", "type"].contains(field.key) {
        unknown(field.key, field.line, place, known: ["default", "description", "type"])
      }
      if let value = given[member.key] {
        variables[member.key] = value
      } else if case .scalar(let value, _)? = member.value["default"]?.content {
        variables[member.key] = value
      } else {
        variables[member.key] = ""
        fail("PLT-1207", member.line, place, "has no value", hint: "Give a default, or --param \(member.key)=VALUE.")
      }
    }
  }

  private mutating func readParameters(_ tree: YAMLTree, _ given: [String: String], _ place: String) {
    guard let items = tree.items else { return fail("PLT-1202", tree.line, place, "must be a list of { name, default }") }
    for (index, item) in items.enumerated() {
      let here = "\(place)[\(index)]"
      guard let members = map(item, here) else { continue }
      for member in members where !["name", "default"].contains(member.key) {
        unknown(member.key, member.line, here, known: ["name", "default"])
      }
      guard let nameTree = item["name"], let name = text(nameTree, here + ".name") else {
        fail("PLT-1202", item.line, here, "'name' is missing")
        continue
      }
      if let value = given[name] {
        parameters[name] = value
      } else if let value = item["default"] {
        parameters[name] = text(value, here + ".default") ?? ""
      } else {
        parameters[name] = ""
        fail(
          "PLT-1207", item.line, here, "parameter '\(name)' has no value", hint: "Give a default, or --param \(name)=VALUE.")
      }
    }
  }

  private mutating func readJob(_ job: YAMLTree.Member, _ given: [String: String]) -> RunSpec? {
    let place = "resources.jobs.\(job.key)"
    guard let members = map(job.value, place) else { return nil }
    // Before everything that may use them.
    if let tree = job.value["parameters"] { readParameters(tree, given, place + ".parameters") }
    for name in given.keys.sorted() where variables[name] == nil && parameters[name] == nil {
      let known = Set(variables.keys).union(parameters.keys).sorted()
      fail(
        "PLT-1207", 1, "--param \(name)", "the file declares no variable or parameter of this name",
        hint: Spelling.suggestion(for: name, among: known).map { "Did you mean '\($0)'?" }
          ?? "Declared: \(known.joined(separator: ", ")).")
    }
    var name = job.key
    var tasks: [ReadTask] = []
    for member in members where !member.value.isNull {
      switch member.key {
      case "name": name = text(member.value, place + ".name") ?? name
      case "description", "tags", "parameters": break
      case "max_concurrent_runs", "queue": ignore(member.key, member.line, place)
      case "tasks":
        guard let items = member.value.items else {
          fail("PLT-1202", member.line, place + ".tasks", "must be a list")
          continue
        }
        if items.count > 1000 {
          fail("PLT-1203", member.line, place + ".tasks", "has \(items.count) tasks; 1000 are the most")
          continue
        }
        for (index, item) in items.enumerated() {
          if let read = task(item, index: index) { tasks.append(read) }
        }
      default:
        if TaskSchema.ignoredJobKeys.contains(member.key) {
          ignore(member.key, member.line, place)
        } else {
          let known = ["name", "description", "tasks", "parameters", "max_concurrent_runs", "queue", "tags"]
          unknown(member.key, member.line, place, known: known + TaskSchema.ignoredJobKeys.sorted())
        }
      }
    }
    if job.value["tasks"]?.items?.isEmpty ?? true, job.value["tasks"] == nil || job.value["tasks"]?.items != nil {
      fail("PLT-1202", job.line, place, "has no tasks")
    }
    checkGraph(tasks)
    return RunSpec(id: "", name: name, tasks: tasks.map(\.spec))
  }
}
