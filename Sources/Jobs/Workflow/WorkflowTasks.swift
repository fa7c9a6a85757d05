// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// A task as it was read, with the lines that later errors need.
struct ReadTask {
  var spec: TaskSpec
  var line: Int
  var place: String
  var dependencies: [(key: String, line: Int, outcome: Bool?)] = []
  /// What a loop repeats.
  var repeated: (spec: TaskSpec, tree: YAMLTree)?
  var references: [(task: String, place: String, line: Int)] = []
}

extension WorkflowChecker {
  mutating func task(_ tree: YAMLTree, index: Int) -> ReadTask? {
    references = []
    var read = oneTask(tree, "tasks[\(index)]")
    read?.references = references
    return read
  }

  mutating func oneTask(_ tree: YAMLTree, _ place: String) -> ReadTask? {
    guard let members = map(tree, place, hint: "For example { task_key: load, command_task: { command: ./load } }.") else { return nil }
    var read = ReadTask(spec: TaskSpec(key: "", kind: ""), line: tree.line, place: place)
    var works: [String] = []
    var isMisspelt = false
    let known = TaskSchema.taskKeys + TaskSchema.kinds
    read.spec.retryOnTimeout = false
    for member in members where !member.value.isNull {
      let value = member.value
      let here = "\(place).\(member.key)"
      switch member.key {
      case "task_key":
        guard let key = text(value, here) else { continue }
        read.line = value.line
        read.spec.key = key
        if !Self.isTaskKey(key) {
          fail(
            "PLT-1204", value.line, here, "'\(Self.short(key))' is not a usable key",
            hint: "Use letters, digits, '_' and '-'.")
        }
      case "depends_on": read.dependencies = dependencies(value, here)
      case "run_if": read.spec.runIf = choice(value, RunIf.allCases.map(\.rawValue), here).flatMap { RunIf(rawValue: $0) }
      case "disabled": read.spec.disabled = self.value(value, .flag, here)?.boolValue == true ? true : nil
      case "retry_on_timeout": read.spec.retryOnTimeout = self.value(value, .flag, here)?.boolValue ?? false
      case TaskSchema.loop:
        works.append(member.key)
        loop(value, here, into: &read)
      case "max_retries": read.spec.maxRetries = Int(integer(value, 0...100, here) ?? 0)
      case "min_retry_interval_millis":
        guard let milliseconds = integer(value, 0...86_400_000, here) else { continue }
        // Half of the first delay is the least that jitter leaves.
        let first = max(1, milliseconds * 2)
        read.spec.retryBackoff = Backoff(firstMilliseconds: first, limitMilliseconds: max(10_000, first))
      case "timeout_seconds":
        guard let seconds = integer(value, 0...31_536_000, here) else { continue }
        read.spec.timeoutMs = seconds == 0 ? nil : seconds * 1000
      case "description": _ = text(value, here)
      case "preemptible": read.spec.preemptible = self.value(value, .flag, here)?.boolValue
      case "parts_per_batch": read.spec.partsPerBatch = integer(value, 1...1000, here).map(Int.init)
      case "resources", "node_labels": demand(value, member.key, here, into: &read.spec)
      case "environment_key", "libraries":
        if !TaskSchema.programs.contains(where: { tree[$0] != nil }) { ignore(member.key, member.line, place) }
      default:
        if let schema = TaskSchema.bodies.first(where: { $0.key == member.key }) {
          works.append(member.key)
          read.spec.kind = String(member.key.dropLast("_task".count))
          if let body = object(value, schema.fields, here) {
            read.spec.body = check(body, of: member.key, value, here)
            if member.key == "condition_task" { read.spec.condition = condition(body, value, here) }
          }
        } else if TaskSchema.notBuilt.contains(member.key) {
          works.append(member.key)
          fail(
            "PLT-1210", member.line, here, "'\(member.key)' is not built yet",
            hint: "Built: \(TaskSchema.kinds.joined(separator: ", ")).")
        } else if NotificationRules.keys.contains(member.key), purpose != .file {
          continue
        } else if TaskSchema.ignoredTaskKeys.contains(member.key) {
          ignore(member.key, member.line, place)
        } else {
          let meant = unknown(member.key, member.line, place, known: known)
          isMisspelt = isMisspelt || meant.map(TaskSchema.kinds.contains) ?? false
        }
      }
    }
    checkNotifications(members, place)
    if tree["task_key"] == nil { fail("PLT-1202", tree.line, place, "'task_key' is missing", hint: "For example task_key: load.") }
    if works.count > 1 {
      fail(
        "PLT-1202", tree.line, place, "has \(works.joined(separator: " and "))", hint: "One task does one thing: split it.")
    } else if works.isEmpty, !isMisspelt {
      fail(
        "PLT-1202", tree.line, place, "says nothing to do",
        hint: "Give it one of \(TaskSchema.kinds.joined(separator: ", ")).")
    }
    if read.spec.partsPerBatch != nil, let kind = works.first, TaskSchema.undivided.contains(kind) {
      fail(
        "PLT-1203", tree["parts_per_batch"]?.line ?? tree.line, place + ".parts_per_batch", "a \(kind) has no parts that could share a batch",
        hint: "Leave it out. Kinds that have some: \(TaskSchema.kinds.filter { !TaskSchema.undivided.contains($0) }.joined(separator: ", ")).")
    }
    if TaskSchema.programs.contains(read.spec.kind + "_task") {
      var packages = packages(of: tree, place)
      addNotebookPackages(&read.spec, tree, place, to: &packages)
      if !packages.isEmpty, case .object(var members) = read.spec.body {
        members["packages"] = packages.body
        read.spec.body = .object(members)
      }
    }
    read.spec.dependsOn = read.dependencies.map(\.key)
    for dependency in read.dependencies {
      if let outcome = dependency.outcome { read.spec.outcomes = (read.spec.outcomes ?? [:]).merging([dependency.key: outcome]) { $1 } }
    }
    if let repeated = read.repeated { read.spec.take(repeated.spec, given: repeated.tree) }
    return read
  }

  private mutating func dependencies(_ tree: YAMLTree, _ place: String) -> [(key: String, line: Int, outcome: Bool?)] {
    guard let items = tree.items else {
      let key = tree.scalar.flatMap { Self.isTaskKey($0) ? $0 : nil } ?? "ingest"
      fail("PLT-1202", tree.line, place, "must be a list", hint: "Write [ { task_key: \(key) } ].")
      return []
    }
    var result: [(key: String, line: Int, outcome: Bool?)] = []
    for (index, item) in items.enumerated() {
      let here = "\(place)[\(index)]"
      let key = item.scalar.flatMap { Self.isTaskKey($0) ? $0 : nil } ?? "load"
      guard let members = map(item, here, hint: "Write { task_key: \(key) }.") else { continue }
      for member in members where !["task_key", "outcome"].contains(member.key) {
        unknown(member.key, member.line, here, known: ["task_key", "outcome"])
      }
      let outcome = item["outcome"].flatMap { choice($0, ["true", "false"], here + ".outcome") }
      guard let value = item["task_key"] else {
        fail("PLT-1202", item.line, here, "'task_key' is missing")
        continue
      }
      if let key = text(value, here + ".task_key"), !result.contains(where: { $0.key == key }) {
        result.append((key, value.line, outcome.map { $0 == "true" }))
      }
    }
    return result
  }

  /// Rules over several fields. Returns the body as its planner reads it.
  private mutating func check(_ body: JSONValue, of kind: String, _ tree: YAMLTree, _ place: String) -> JSONValue {
    func line(_ key: String) -> Int { tree[key]?.line ?? tree.line }
    if let text = body["shards"]?.stringValue, !text.contains("{{"), text != "auto", !(Int(text).map { (1...1024).contains($0) } ?? false) {
      fail("PLT-1203", line("shards"), place + ".shards", "'\(Self.short(text))' is no number of shards", hint: "Use auto, or 1 to 1024.")
    }
    switch kind {
    case "prepare_task":
      let shares = ["train", "test"].compactMap { body["split"]?[$0]?.doubleValue }
      if shares.reduce(0, +) > 1 + 1e-9 {
        fail("PLT-1203", line("split"), place + ".split", "the shares add up to more than 1")
      }
      // What the preparation uses when the file does not say.
      let (chunk, overlap) = (body["chunk_tokens"]?.intValue ?? 200, body["overlap"]?.intValue ?? 32)
      if body["overlap"] != nil || body["chunk_tokens"] != nil, overlap * 2 >= chunk {
        fail("PLT-1203", line("overlap"), place + ".overlap", "\(overlap) must be below half of chunk_tokens \(chunk)")
      }
    case "ingest_task": checkIngestion(body, tree, place)
    case "postgres_task": checkPostgres(body, tree, place)
    case "train_task": checkTraining(body, tree, place)
    case "monitor_task":
      switch (tree["table"], tree["endpoint"]) {
      case (nil, nil): fail("PLT-1202", tree.line, place, "'table' or 'endpoint' is missing")
      case (_?, let endpoint?):
        fail("PLT-1203", endpoint.line, place + ".endpoint", "a monitor watches a table or an endpoint, not both", hint: "Remove one of the two.")
      case (_?, nil) where tree["baseline"] == nil:
        fail("PLT-1202", tree.line, place, "'baseline' is missing", hint: "Name the table that 'table' is compared with.")
      default: break
      }
    case "sql_task": return statement(body, tree, place)
    case "spark_python_task": return script(body, tree, place)
    case "notebook_task": return notebook(body, tree, place)
    case "dbt_task": return dbt(body, tree, place)
    case "python_wheel_task":
      if let named = tree["named_parameters"], !named.isNull, let list = tree["parameters"], !list.isNull {
        fail("PLT-1203", named.line, place + ".named_parameters", "has no meaning with 'parameters'", hint: "Remove one of the two.")
      }
    default: break
    }
    return body
  }

  /// A table or a query; what is new of it needs a watermark.
  private mutating func checkPostgres(_ body: JSONValue, _ tree: YAMLTree, _ place: String) {
    switch (tree["table"], tree["query"]) {
    case (nil, nil): fail("PLT-1202", tree.line, place, "'table' or 'query' is missing")
    case (_?, let query?): fail("PLT-1203", query.line, place + ".query", "a table or a query is copied, not both", hint: "Remove one of the two.")
    default: break
    }
    let mode = body["mode"]?.stringValue ?? "snapshot"
    if !["snapshot", "incremental"].contains(mode) {
      fail("PLT-1203", tree["mode"]?.line ?? tree.line, place + ".mode", "'\(mode)' is not a mode", hint: "Write snapshot or incremental.")
    }
    if mode == "incremental", tree["watermark"] == nil {
      fail("PLT-1202", tree.line, place, "'watermark' is missing", hint: "Name the column that only grows, for example updated_at.")
    }
    for key in ["watermark", "lag_seconds", "batch_rows"] where mode == "snapshot" {
      if let wrong = tree[key] { fail("PLT-1203", wrong.line, "\(place).\(key)", "'\(key)' has no meaning for a snapshot", hint: "Write mode: incremental.") }
    }
  }

  /// Documents of a folder go into `table`; files of a `source` go into `target`.
  private mutating func checkIngestion(_ body: JSONValue, _ tree: YAMLTree, _ place: String) {
    let ofDocuments = ["input", "table", "limit", "seed"]
    let ofFiles = ["target", "trigger", "order", "max_files_per_batch", "max_bytes_per_batch", "schema_evolution", "reload_changed"]
    let isFiles = tree["source"] != nil
    for key in isFiles ? ofDocuments : ofFiles {
      guard let wrong = tree[key] else { continue }
      fail(
        "PLT-1203", wrong.line, "\(place).\(key)", isFiles ? "'\(key)' has no meaning with 'source'" : "'\(key)' has no meaning without 'source'",
        hint: isFiles ? "The table is 'target'." : "Give source: { path: /Volumes/catalog/schema/volume/folder }.")
    }
    let needed = isFiles ? "target" : "table"
    if tree[needed] == nil { fail("PLT-1202", tree.line, place, "'\(needed)' is missing") }
    for (key, allowed) in [
      ("trigger", ["available_now", "continuous"]), ("order", ["name", "time"]),
      ("schema_evolution", ["addNewColumns", "rescue", "failOnNewColumns", "none"]),
    ] {
      guard let value = body[key]?.stringValue, !value.contains("{{"), !allowed.contains(value) else { continue }
      fail("PLT-1203", tree[key]?.line ?? tree.line, "\(place).\(key)", "'\(value)' is not possible", hint: "Use \(allowed.joined(separator: ", ")).")
    }
  }

  private mutating func checkTraining(_ body: JSONValue, _ tree: YAMLTree, _ place: String) {
    func number(_ key: String, _ fallback: Int) -> Int { body[key]?.intValue ?? fallback }
    func line(_ key: String) -> Int { tree[key]?.line ?? tree.line }
    // What the planner uses when the file does not say.
    let (heads, shared, hidden) = (number("heads", 6), number("kv_heads", 2), number("hidden", 192))
    let (length, batch) = (number("sequence_length", 128), number("batch_tokens", 2048))
    if heads % shared != 0 {
      fail("PLT-1203", line("kv_heads"), place + ".kv_heads", "\(shared) does not divide the \(heads) heads")
    }
    if hidden % (2 * heads) != 0 {
      fail("PLT-1203", line("hidden"), place + ".hidden", "\(hidden) is no multiple of twice the \(heads) heads")
    }
    if batch % length != 0 {
      fail("PLT-1203", line("batch_tokens"), place + ".batch_tokens", "\(batch) is no multiple of sequence_length \(length)")
    }
    let ranks = body["compute"]?["tensor_parallel"]?.intValue ?? 1
    let here = place + ".compute.tensor_parallel"
    let at = tree["compute"]?["tensor_parallel"]?.line ?? tree.line
    let sizes = [(heads, "heads"), (shared, "key/value heads"), (number("intermediate", 512), "units of intermediate")]
    let possible = (1...8).filter { count in sizes.allSatisfy { $0.0 % count == 0 } }.map { "\($0)" }.joined(separator: ", ")
    for (size, name) in sizes where size % ranks != 0 {
      fail("PLT-1203", at, here, "\(ranks) does not divide the \(size) \(name)", hint: "Use one of \(possible).")
      break
    }
    let compute = tree["compute"]
    if let least = body["compute"]?["min_tensor_parallel"]?.intValue, !(1...ranks).contains(where: { $0 == least && ranks % least == 0 }) {
      let divisors = (1...max(1, ranks)).filter { ranks % $0 == 0 }.map { "\($0)" }.joined(separator: ", ")
      fail(
        "PLT-1203", compute?["min_tensor_parallel"]?.line ?? at, place + ".compute.min_tensor_parallel",
        "\(least) does not divide tensor_parallel \(ranks)", hint: "Use one of \(divisors).")
    }
  }

  private mutating func statement(_ body: JSONValue, _ tree: YAMLTree, _ place: String) -> JSONValue {
    if let query = tree["query"] {
      fail("PLT-1210", query.line, place + ".query", "saved queries are not built yet", hint: "Write statement: SELECT ..., or file: { path: query.sql }.")
      return body
    }
    switch (tree["statement"], tree["file"]) {
    case (nil, nil):
      fail("PLT-1202", tree.line, place, "'statement' is missing", hint: "Or give file: { path: query.sql }.")
    case (_?, _?): fail("PLT-1202", tree.line, place, "has both 'statement' and 'file'")
    case (nil, let file?):
      guard let path = body["file"]?["path"]?.stringValue else { return body }
      checkSource(file["source"], place + ".file")
      if let name = located(path, body["file"]?["source"]?.stringValue, file.line, place + ".file.path"),
        let text = attached(name, file.line, place + ".file.path")
      {
        var members = body.objectValue ?? [:]
        members["file"] = nil
        members["statement"] = .string(text)
        return .object(members)
      }
    default: break
    }
    return body
  }

  /// `{ day: 2026-01-31, n: 3 }`, or `[ { name: day, value: 2026-01-31, type: DATE } ]`, as a list of names, values and types. What is not
  /// quoted and reads as a number, true, false or null is one.
  mutating func parameters(_ tree: YAMLTree, _ place: String) -> JSONValue? {
    func typed(_ tree: YAMLTree, _ text: String) -> JSONValue {
      guard case .scalar(let raw, plain: true) = tree.content, raw == text else { return .string(text) }
      if tree.isNull { return .null }
      if text == "true" || text == "false" { return .bool(text == "true") }
      if let whole = Int64(text) { return .integer(whole) }
      if let number = Double(text), number.isFinite, text.allSatisfy({ "0123456789.eE+-".contains($0) }) { return .number(number) }
      return .string(text)
    }
    if let members = tree.members {
      return .array(
        members.compactMap { member -> JSONValue? in
          if member.value.isNull { return ["name": .string(member.key), "value": .null] }
          guard let text = text(member.value, "\(place).\(member.key)") else { return nil }
          return ["name": .string(member.key), "value": typed(member.value, text)]
        })
    }
    guard let items = tree.items else {
      fail("PLT-1202", tree.line, place, "must be names with values, or a list", hint: "parameters: { day: 2026-01-31 }")
      return nil
    }
    return .array(
      items.enumerated().compactMap { index, item -> JSONValue? in
        let here = "\(place)[\(index)]"
        let fields: [Field] = [.required("name", .text), .optional("value", .text), .optional("type", .text)]
        guard case .object(var members)? = object(item, fields, here) else { return nil }
        // With a type the text is read as one.
        if members["type"] == nil, let value = item["value"], let text = members["value"]?.stringValue { members["value"] = typed(value, text) }
        return .object(members)
      })
  }

  // MARK: The graph

  mutating func checkGraph(_ tasks: [ReadTask]) {
    var byKey: [String: ReadTask] = [:]
    for task in tasks where !task.spec.key.isEmpty {
      if let first = byKey[task.spec.key] {
        fail(
          "PLT-1205", task.line, task.place, "task_key '\(task.spec.key)' is used twice",
          hint: "First used on line \(first.line).")
      } else {
        byKey[task.spec.key] = task
      }
    }
    let keys = byKey.keys.sorted()
    for task in tasks {
      for (index, dependency) in task.dependencies.enumerated() {
        guard dependency.outcome != nil, let other = byKey[dependency.key], other.spec.condition == nil else { continue }
        fail(
          "PLT-1205", dependency.line, "\(task.place).depends_on[\(index)].outcome", "'\(dependency.key)' has no outcome: it is no condition_task",
          hint: "Remove 'outcome', or use run_if.")
      }
      for (index, dependency) in task.dependencies.enumerated() where byKey[dependency.key] == nil {
        let close = Spelling.suggestion(for: dependency.key, among: keys)
        fail(
          "PLT-1205", dependency.line, "\(task.place).depends_on[\(index)]", "there is no task '\(dependency.key)'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Tasks: \(keys.joined(separator: ", ")).")
      }
    }
    if let circle = Self.circle(tasks, byKey), let first = byKey[circle[0]] {
      let text = circle.joined(separator: " -> ")
      fail(
        "PLT-1205", first.line, first.place, "tasks depend on each other in a circle: \(text)",
        hint: "Remove one of them from depends_on.")
    }
    for task in tasks {
      let upstream = Self.upstream(of: task, byKey)
      for reference in task.references where !upstream.contains(reference.task) {
        guard byKey[reference.task] == nil else {
          fail(
            "PLT-1206", reference.line, reference.place, "'{{tasks.\(reference.task)...}}' names a task that may not have ended",
            hint: "Add it to depends_on of '\(task.spec.key)'.")
          continue
        }
        fail(
          "PLT-1206", reference.line, reference.place, "'{{tasks.\(reference.task)...}}' names no task",
          hint: Spelling.suggestion(for: reference.task, among: keys).map { "Did you mean '\($0)'?" } ?? "Tasks: \(keys.joined(separator: ", ")).")
      }
    }
  }

  private static func upstream(of task: ReadTask, _ tasks: [String: ReadTask]) -> Set<String> {
    var found: Set<String> = []
    var open = task.dependencies.map(\.key)
    while let key = open.popLast() {
      guard let next = tasks[key], found.insert(key).inserted else { continue }
      open += next.dependencies.map(\.key)
    }
    return found
  }

  /// One circle, from a task to itself, when there is one.
  private static func circle(_ tasks: [ReadTask], _ byKey: [String: ReadTask]) -> [String]? {
    guard let start = tasks.first(where: { upstream(of: $0, byKey).contains($0.spec.key) })?.spec.key else { return nil }
    var trail = [start]
    var seen: Set<String> = [start]
    // Each task on the trail is upstream of the one before and has `start` upstream: the trail comes back to it.
    while let here = byKey[trail[trail.count - 1]] {
      if here.dependencies.contains(where: { $0.key == start }) { return trail + [start] }
      let next = here.dependencies.first { dependency in
        guard let task = byKey[dependency.key], !seen.contains(dependency.key) else { return false }
        return upstream(of: task, byKey).contains(start)
      }
      guard let next else { return trail + [start] }
      seen.insert(next.key)
      trail.append(next.key)
    }
    return trail
  }
}
