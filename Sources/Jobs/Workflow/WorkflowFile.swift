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
  /// Files in volumes that its tasks name and that were not given along.
  public var missingFiles: [String] = []
  /// Where those of them come from that begin with `git:`.
  public var git: GitSource?
  /// Values of the job's parameters, with defaults.
  public var parameters: [String: String] = [:]
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
    text: String, path: String, job: String?, parameters: [String: String], attachments: [String: String], isDefinition: Bool = false
  ) -> ParsedWorkflow {
    let tree: YAMLTree
    do {
      tree = try YAMLTree(parsing: text, path: path)
    } catch {
      return ParsedWorkflow(run: nil, errors: [error])
    }
    var checker = WorkflowChecker(path: path, purpose: isDefinition ? .definition : .file, attachments: attachments)
    let run = checker.file(tree, job: job, given: parameters)
    return checker.result(run)
  }
}

extension WorkflowChecker {
  /// What was read, with its errors in order.
  mutating func result(_ run: RunSpec?) -> ParsedWorkflow {
    if errors.isEmpty, var spec = run {
      // The identifier comes later; any will do for the check.
      spec.id = "run"
      if let problem = Scheduler.problem(with: spec) { fail("PLT-1205", 1, "", problem.message) }
    }
    let ordered = errors.enumerated().sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
    return ParsedWorkflow(
      run: errors.isEmpty ? run : nil, warnings: warnings, errors: ordered.map(\.element), missingFiles: missingFiles, git: git, parameters: parameters)
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
    guard let items = tree.items else {
      return fail("PLT-1202", tree.line, place, "must be a list of { name, default }", hint: "For example [ { name: day, default: today } ].")
    }
    for (index, item) in items.enumerated() {
      let here = "\(place)[\(index)]"
      guard let members = map(item, here) else { continue }
      for member in members where !["name", "default"].contains(member.key) {
        unknown(member.key, member.line, here, known: ["name", "default"])
      }
      guard let nameTree = item["name"], let name = text(nameTree, here + ".name") else {
        fail("PLT-1202", item.line, here, "'name' is missing", hint: "For example { name: day, default: today }.")
        continue
      }
      // What was stored before this was looked at still runs.
      if purpose != .run, !Self.isWord(name) {
        fail(
          "PLT-1204", nameTree.line, here + ".name", "'\(Self.short(name))' is not a usable name of a parameter",
          hint: "Use letters, digits, '_', '-' and '.'.")
      }
      if let value = given[name] {
        // What comes from outside holds no references.
        parameters[name] = Template.escape(value)
      } else if let value = item["default"] {
        parameters[name] = text(value, here + ".default") ?? ""
      } else {
        parameters[name] = ""
        fail(
          "PLT-1207", item.line, here, "parameter '\(name)' has no value", hint: "Give a default, or --param \(name)=VALUE.")
      }
    }
  }

  mutating func readJob(_ job: YAMLTree.Member, _ given: [String: String]) -> RunSpec? {
    let place = purpose == .run || job.key.isEmpty ? "" : "resources.jobs.\(job.key)"
    func at(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }
    guard let members = map(job.value, place) else { return nil }
    // Before everything that may use them.
    if let tree = job.value["parameters"] { readParameters(tree, given, at("parameters")) }
    if let tree = job.value["git_source"], !tree.isNull {
      let read = GitSource.read(tree.json(variables))
      git = read.source
      for error in read.problems { fail(error.number, tree.line, at("git_source"), error.message, hint: error.hint) }
    }
    if let tree = job.value["environments"] { readEnvironments(tree, at("environments")) }
    for name in given.keys.sorted() where variables[name] == nil && parameters[name] == nil {
      let known = Set(variables.keys).union(parameters.keys).sorted()
      fail(
        "PLT-1207", 1, purpose == .run ? "" : "--param \(name)",
        purpose == .run ? "the job has no parameter '\(name)'" : "the file declares no variable or parameter of this name",
        hint: Spelling.suggestion(for: name, among: known).map { "Did you mean '\($0)'?" }
          ?? (known.isEmpty ? "None are declared." : "Declared: \(known.joined(separator: ", "))."))
    }
    var name = job.key.isEmpty ? "Untitled" : job.key
    var tasks: [ReadTask] = []
    var spec = RunSpec(id: "", name: name, tasks: [])
    for member in members where !member.value.isNull {
      switch member.key {
      case "name": name = text(member.value, at("name")) ?? name
      case "description", "parameters", "environments", "git_source": break
      case "tags": readTags(member.value, at("tags"))
      case "max_concurrent_runs": spec.maxConcurrentRuns = integer(member.value, 1...1000, at("max_concurrent_runs")).map { Int($0) }
      case "queue":
        guard case .object(let queue)? = object(member.value, [.required("enabled", .flag)], at("queue")) else { continue }
        spec.queues = queue["enabled"]?.boolValue
      case "timeout_seconds":
        let seconds = integer(member.value, 0...31_536_000, at("timeout_seconds")) ?? 0
        spec.timeoutMs = seconds == 0 ? nil : seconds * 1000
      case "priority": spec.priority = integer(member.value, -100...100, at("priority")).map { Int($0) }
      case "tasks":
        guard let items = member.value.items else {
          fail("PLT-1202", member.line, at("tasks"), "must be a list", hint: "For example [ { task_key: load, command_task: { command: ./load } } ].")
          continue
        }
        if items.count > 1000 {
          fail("PLT-1203", member.line, at("tasks"), "has \(items.count) tasks; 1000 are the most")
          continue
        }
        for (index, item) in items.enumerated() {
          if let read = task(item, index: index) { tasks.append(read) }
        }
      case "schedule" where purpose == .definition, "trigger" where purpose == .definition, "continuous" where purpose == .definition,
        "permissions" where purpose == .definition:
        continue
      case RunIdentity.key where purpose != .file:
        do { _ = try RunIdentity.user(of: .object([RunIdentity.key: member.value.json(variables)])) } catch {
          fail(error.number, member.line, place, error.message, hint: error.hint)
        }
      case let key where NotificationRules.keys.contains(key) && purpose != .file: continue
      default:
        if TaskSchema.ignoredJobKeys.contains(member.key) {
          ignore(member.key, member.line, place)
        } else {
          unknown(member.key, member.line, place, known: TaskSchema.jobKeys + TaskSchema.ignoredJobKeys.sorted())
        }
      }
    }
    if job.value["tasks"]?.items?.isEmpty ?? true, job.value["tasks"] == nil || job.value["tasks"]?.items != nil {
      fail("PLT-1202", job.line, place, "has no tasks", hint: "tasks: [ { task_key: load, command_task: { command: ./load } } ]")
    }
    if purpose == .definition { checkTrigger(members, at) }
    checkNotifications(members, place)
    checkGraph(tasks)
    spec.name = name
    spec.tasks = tasks.map(\.spec)
    if purpose == .file, spec.maxConcurrentRuns != nil { spec.job = "file:\(name)" }
    return spec
  }

  /// What shall start the job by itself.
  private mutating func checkTrigger(_ members: [YAMLTree.Member], _ at: (String) -> String) {
    let given = members.filter { ["schedule", "trigger", "continuous"].contains($0.key) && !$0.value.isNull }
    guard let first = given.first else { return }
    let place = at(first.key).dropLast(first.key.count)
    let settings = JSONValue.object(Dictionary(given.map { ($0.key, $0.value.json(variables)) }, uniquingKeysWith: { $1 }))
    for error in JobTrigger.problems(settings) {
      // The message begins with the key.
      let line = Self.line(of: error.message, in: given) ?? first.line
      fail(error.number, line, place.hasSuffix(".") ? String(place.dropLast()) : String(place), error.message, hint: error.hint)
    }
  }

  /// The line of the key that a message begins with: `schedule.timezone_id: ...`.
  private static func line(of message: String, in members: [YAMLTree.Member]) -> Int? {
    var here = members
    var found: Int?
    let path = message.prefix { $0 == "." || $0 == "_" || $0.isLetter }
    for word in path.split(separator: ".") {
      guard let member = here.first(where: { $0.key == word }) else { break }
      found = member.line
      here = member.value.members ?? []
    }
    return found
  }

  /// Who is told of the job or a task; nobody of a file that runs once.
  mutating func checkNotifications(_ members: [YAMLTree.Member], _ place: String) {
    let given = members.filter { NotificationRules.keys.contains($0.key) && !$0.value.isNull }
    guard purpose != .file, let first = given.first else { return }
    var isGood = true
    var isEmpty = true
    for member in given {
      // Each part by itself, so that all errors are seen.
      let parts = member.value.members.map { $0.map { YAMLTree(.map([$0]), at: $0.line) } }
      for part in parts ?? [member.value] {
        do {
          let rules = try NotificationRules(.object([member.key: part.json(variables)]))
          isEmpty = isEmpty && rules.isEmpty
        } catch {
          isGood = false
          fail(error.number, part.line, place, error.message, hint: error.hint)
        }
      }
    }
    if isGood, isInLoop, !isEmpty {
      fail("PLT-4312", first.line, place, "nobody can be told of single iterations", hint: "Give it to the task with the loop.")
    }
  }

  /// At most 25, each a name with a text.
  private mutating func readTags(_ tree: YAMLTree, _ place: String) {
    guard case .object(let tags)? = value(tree, .mapping, place) else { return }
    if tags.count > 25 { fail("PLT-1203", tree.line, place, "has \(tags.count) tags; 25 are the most") }
  }
}
