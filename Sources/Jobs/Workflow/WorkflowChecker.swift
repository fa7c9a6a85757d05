// SPDX-License-Identifier: Apache-2.0

import Core

/// Collects everything that is wrong with a file while its values are read.
struct WorkflowChecker {
  /// What a job is read for.
  enum Purpose: Sendable {
    /// A file that runs once, now.
    case file
    /// Settings that are stored: files in volumes are read when it runs.
    case definition
    /// A run of stored settings.
    case run
  }

  let path: String
  var purpose = Purpose.file
  let attachments: [String: String]
  /// Files in volumes that tasks name, and that were not attached.
  var missingFiles: [String] = []
  /// Inside of a loop's task.
  var isInLoop = false
  /// Values of `${var.x}`.
  var variables: [String: String] = [:]
  /// Values of `{{job.parameters.x}}`.
  var parameters: [String: String] = [:]
  /// Where files of tasks come from that say so, or that say nothing.
  var git: GitSource?
  /// Packages by `environment_key`.
  var environments: [String: TaskPackages] = [:]
  /// `{{tasks.X.values.Y}}` of the task that is being read.
  var references: [(task: String, place: String, line: Int)] = []
  var errors: [PlatformError] = []
  var warnings: [String] = []
  /// What `warnings` are about: the place of a key, and its line.
  var ignored: [(place: String, line: Int)] = []

  mutating func fail(_ number: String, _ line: Int, _ place: String, _ message: String, hint: String = "") {
    let text = place.isEmpty ? message : "\(place): \(message)"
    errors.append(PlatformError(.invalidFile, text, hint: hint, number: number, path: path, line: line))
  }

  mutating func ignore(_ key: String, _ line: Int, _ place: String) {
    let whole = place.isEmpty ? key : "\(place).\(key)"
    ignored.append((whole, line))
    warnings.append("\(path):\(line): '\(whole)' is ignored")
  }

  /// - Returns: the key that was meant, as far as that can be told.
  @discardableResult
  mutating func unknown(_ key: String, _ line: Int, _ place: String, known: [String]) -> String? {
    // The kinds of tasks are often written without their ending.
    let close = Spelling.suggestion(for: key, among: known) ?? Spelling.suggestion(for: key + "_task", among: known)
    fail(
      "PLT-1202", line, place, "unknown key '\(Self.short(key))'",
      hint: close.map { "Did you mean '\($0)'?" } ?? "Known here: \(known.sorted().joined(separator: ", ")).")
    return close
  }

  /// The members of a mapping; an error and nil for anything else.
  mutating func map(_ tree: YAMLTree, _ place: String, hint: String = "") -> [YAMLTree.Member]? {
    if let members = tree.members { return members }
    fail("PLT-1202", tree.line, place, "must be a mapping", hint: hint)
    return nil
  }

  /// The items of a list; an error and nil for anything else.
  mutating func list(_ tree: YAMLTree, _ place: String) -> [YAMLTree]? {
    if let items = tree.items { return items }
    fail("PLT-1202", tree.line, place, "must be a list", hint: "For example [ one, two ].")
    return nil
  }

  /// The text of a scalar with its variables filled in.
  mutating func text(_ tree: YAMLTree, _ place: String) -> String? {
    guard case .scalar(let raw, _) = tree.content else {
      fail("PLT-1202", tree.line, place, "must be a single value")
      return nil
    }
    return fillParameters(fillVariables(raw, tree.line, place), tree.line, place)
  }

  private mutating func fillVariables(_ raw: String, _ line: Int, _ place: String) -> String {
    var result = ""
    var rest = raw[...]
    while let open = rest.firstRange(of: "${") {
      result += rest[..<open.lowerBound]
      let inside = rest[open.upperBound...]
      guard let close = inside.firstIndex(of: "}") else {
        fail("PLT-1207", line, place, "'${' is not closed", hint: "Write ${var.NAME}.")
        return result
      }
      let name = String(inside[..<close])
      if name.hasPrefix("var."), let value = variables[String(name.dropFirst(4))] {
        result += value
      } else {
        let suggestion = Spelling.suggestion(for: name, among: variables.keys.sorted().map { "var.\($0)" })
        let known =
          variables.isEmpty
          ? "The file declares no variables." : "Declared: \(variables.keys.sorted().joined(separator: ", "))."
        fail(
          "PLT-1207", line, place, "unknown variable '${\(name)}'",
          hint: suggestion.map { "Did you mean '${\($0)}'?" } ?? known)
      }
      rest = inside[inside.index(after: close)...]
    }
    return result + rest
  }

  /// Fills in `{{job.parameters.x}}`, notes references to tasks and refuses any other reference.
  private mutating func fillParameters(_ raw: String, _ line: Int, _ place: String) -> String {
    var result = ""
    var rest = raw[...]
    while let open = rest.firstRange(of: "{{") {
      result += rest[..<open.lowerBound]
      let inside = rest[open.upperBound...]
      guard let close = inside.firstRange(of: "}}") else {
        fail("PLT-1206", line, place, "'{{' is not closed", hint: "Write {{tasks.TASK.values.NAME}}.")
        return result
      }
      let name = inside[..<close.lowerBound].filter { !$0.isWhitespace }
      let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
      if parts.count == 4, parts[0] == "tasks", parts[2] == "values", Self.isTaskKey(parts[1]), Self.isTaskKey(parts[3]) {
        references.append((parts[1], place, line))
        result += "{{\(name)}}"
      } else if parts.count == 3, parts[0] == "tasks", parts[2] == "result_state", Self.isTaskKey(parts[1]) {
        references.append((parts[1], place, line))
        result += "{{\(name)}}"
      } else if Self.runReferences.contains(name) || name == "literal.braces" {
        result += "{{\(name)}}"
      } else if parts[0] == "input" {
        if !isInLoop { fail("PLT-1206", line, place, "'{{\(name)}}' has a meaning only inside of a for_each_task") }
        result += "{{\(name)}}"
      } else if parts.count >= 3, parts[0] == "job", parts[1] == "parameters" {
        let wanted = parts[2...].joined(separator: ".")
        if let value = parameters[wanted] {
          result += value
        } else {
          let known = parameters.keys.sorted()
          fail(
            "PLT-1207", line, place, "unknown job parameter '\(wanted)'",
            hint: Spelling.suggestion(for: wanted, among: known).map { "Did you mean '\($0)'?" }
              ?? (known.isEmpty
                ? "Declare it: parameters: [ { name: \(wanted), default: \"\" } ] of the job." : "Declared: \(known.joined(separator: ", "))."))
        }
      } else if name.hasPrefix("secrets/") {
        fail(
          "PLT-1206", line, place, "'{{\(name)}}' is not possible here",
          hint: "A secret is the whole value of a variable: env: { TOKEN: \"{{secrets/SCOPE/KEY}}\" }.")
      } else {
        fail(
          "PLT-1206", line, place, "'{{\(name)}}' is not a reference",
          hint: Spelling.suggestion(for: name, among: Self.runReferences.sorted()).map { "Did you mean '{{\($0)}}'?" }
            ?? "Write {{tasks.TASK.values.NAME}}, {{job.parameters.NAME}} or {{job.run_id}}.")
      }
      rest = inside[close.upperBound...]
    }
    return result + rest
  }

  /// What a run knows of itself.
  static let runReferences: Set<String> = [
    "job.id", "job.name", "job.run_id", "job.repair_count", "job.trigger.type", "task.name", "task.execution_count", "job.start_time.iso_date",
    "job.start_time.iso_datetime", "job.start_time.iso_weekday", "job.start_time.is_weekday", "job.start_time.year", "job.start_time.month",
    "job.start_time.day", "job.start_time.hour", "job.start_time.minute", "job.start_time.second", "job.start_time.timestamp_ms",
  ]

  /// One of some words.
  mutating func choice(_ tree: YAMLTree, _ allowed: [String], _ place: String) -> String? {
    let before = errors.count
    guard let text = text(tree, place), errors.count == before else { return nil }
    if allowed.contains(text) { return text }
    fail(
      "PLT-1203", tree.line, place, "'\(Self.short(text))' is not possible",
      hint: Spelling.suggestion(for: text.uppercased(), among: allowed).map { "Did you mean '\($0)'?" } ?? "Use \(allowed.joined(separator: ", ")).")
    return nil
  }

  mutating func integer(_ tree: YAMLTree, _ range: ClosedRange<Int64>, _ place: String) -> Int64? {
    let before = errors.count
    guard let text = text(tree, place), errors.count == before else { return nil }
    guard let value = Int64(text.replacing("_", with: "")) else {
      let unit = place.hasSuffix("_seconds") ? "In seconds: 3600 is an hour." : place.hasSuffix("_millis") ? "In milliseconds: 5000 are five seconds." : ""
      fail("PLT-1202", tree.line, place, "must be a whole number, found '\(Self.short(text))'", hint: unit)
      return nil
    }
    guard range.contains(value) else {
      fail("PLT-1203", tree.line, place, "\(value) is out of range", hint: "Use \(range.lowerBound) to \(range.upperBound).")
      return nil
    }
    return value
  }

  /// The value of one field as JSON; nil after an error.
  mutating func value(_ tree: YAMLTree, _ kind: Field.Kind, _ place: String) -> JSONValue? {
    let before = errors.count
    switch kind {
    case .integer(let range): return integer(tree, range, place).map { .integer($0) }
    case .fields(let fields): return object(tree, fields, place)
    case .parameters: return parameters(tree, place)
    case .anyText: return text(tree, place).map { .string($0) }
    case .anyTexts:
      guard let items = list(tree, place) else { return nil }
      return .array(items.enumerated().compactMap { value($0.element, .anyText, "\(place)[\($0.offset)]") })
    case .mapping, .environment:
      guard let members = map(tree, place, hint: "Names with texts: { NAME: text }.") else { return nil }
      var result: [String: JSONValue] = [:]
      for member in members {
        if case .environment = kind {
          checkVariable(member.key, member.line, place)
          if let secret = secret(member.value, "\(place).\(member.key)") {
            result[member.key] = ["secret": .string(secret)]
            continue
          }
        }
        result[member.key] = member.value.isNull ? "" : text(member.value, "\(place).\(member.key)").map { .string($0) }
      }
      return .object(result)
    case .command: return command(tree, place)
    case .models:
      guard let members = map(tree, place, hint: "Names with models: { NAME: catalog.schema.model }.") else { return nil }
      var result: [String: JSONValue] = [:]
      for member in members {
        let here = "\(place).\(member.key)"
        if !Self.isWord(member.key) {
          fail("PLT-1204", member.line, here, "'\(Self.short(member.key))' is not a usable name", hint: "Use letters, digits, '_', '-' and '.'.")
        }
        result[member.key] = value(member.value, .model, here)
      }
      return .object(result)
    case .texts:
      guard let items = list(tree, place) else { return nil }
      return .array(items.enumerated().compactMap { value($0.element, .text, "\(place)[\($0.offset)]") })
    default: break
    }
    guard let text = text(tree, place), errors.count == before else { return nil }
    let isReference = text.contains("{{")
    switch kind {
    case .number(let range):
      guard let number = Double(text), number.isFinite else {
        fail("PLT-1202", tree.line, place, "must be a number, found '\(Self.short(text))'")
        return nil
      }
      guard range.contains(number) else {
        fail(
          "PLT-1203", tree.line, place, "\(text) is out of range", hint: "Use \(range.lowerBound) to \(range.upperBound).")
        return nil
      }
      return .number(number)
    case .flag:
      switch text.lowercased() {
      case "true", "yes", "on": return .bool(true)
      case "false", "no", "off": return .bool(false)
      default:
        fail("PLT-1202", tree.line, place, "must be true or false, found '\(Self.short(text))'")
        return nil
      }
    case .bytes:
      guard let bytes = Self.bytes(text) else {
        fail(
          "PLT-1202", tree.line, place, "'\(Self.short(text))' is no number of bytes",
          hint: "For example 5000000, 5MB or 1GiB.")
        return nil
      }
      return .integer(bytes)
    case .word where !isReference && !Self.isWord(text):
      fail(
        "PLT-1204", tree.line, place, "'\(Self.short(text))' is not a usable name",
        hint: "Use letters, digits, '_', '-' and '.'.")
      return nil
    case .oneOf(let known) where !isReference && !known.contains(text):
      fail("PLT-1203", tree.line, place, "'\(Self.short(text))' is not one of its values", hint: "Write \(known.joined(separator: ", ")).")
      return nil
    case .object where !isReference && !Self.isObjectName(text), .model where !isReference && !Self.isModelName(text):
      fail(
        "PLT-1204", tree.line, place, "'\(Self.short(text))' is not a name of the form catalog.schema.object",
        hint: "For example main.demo.documents.")
      return nil
    case .text where text.isEmpty:
      fail("PLT-1202", tree.line, place, "must not be empty")
      return nil
    default: return .string(text)
    }
  }

  mutating func object(_ tree: YAMLTree, _ fields: [Field], _ place: String) -> JSONValue? {
    let first = fields.first(where: \.required) ?? fields.first
    guard let members = map(tree, place, hint: first.map { "For example { \($0.name): ... }." } ?? "") else { return nil }
    var result: [String: JSONValue] = [:]
    for member in members {
      guard let field = fields.first(where: { $0.name == member.key }) else {
        unknown(member.key, member.line, place, known: fields.map(\.name))
        continue
      }
      if member.value.isNull { continue }
      result[field.name] = value(member.value, field.kind, "\(place).\(field.name)")
    }
    for field in fields where field.required && tree[field.name] == nil {
      fail("PLT-1202", tree.line, place, "'\(field.name)' is missing")
    }
    return .object(result)
  }

  // MARK: Shapes of names

  static func short(_ text: String) -> String { text.count > 80 ? text.prefix(77) + "..." : text }

  static func isTaskKey(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 100
      && text.utf8.allSatisfy {
        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95 || $0 == 45
      }
  }

  static func isWord(_ text: String) -> Bool {
    text.utf8.count <= 128 && isTaskKey(text.replacing(".", with: "_")) && text != "." && text != ".."
  }

  /// The same rule as the catalog's, without quoting: parts of letters, digits, `_` and `-`.
  static func isObjectName(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 3
      && parts.allSatisfy { part in
        !part.isEmpty && part.utf8.count <= 128
          && part.unicodeScalars.allSatisfy {
            $0 == "_" || $0 == "-" || $0.properties.isAlphabetic || $0.properties.numericType != nil
          }
      }
  }

  static func isModelName(_ text: String) -> Bool {
    let rest = text.hasPrefix("models:/") ? text.dropFirst("models:/".count) : text[...]
    if let at = rest.lastIndex(of: "@") {
      return isObjectName(String(rest[..<at])) && isTaskKey(String(rest[rest.index(after: at)...]))
    }
    if let slash = rest.lastIndex(of: "/") {
      return isObjectName(String(rest[..<slash])) && (Int(rest[rest.index(after: slash)...]) ?? 0) > 0
    }
    return isObjectName(String(rest))
  }

  /// `5000000`, `5MB` (decimal) or `5MiB` (binary). Nil when it is no size, or too large.
  static func bytes(_ text: String) -> Int64? {
    let units: [(String, Int64)] = [
      ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40), ("kb", 1_000), ("mb", 1_000_000),
      ("gb", 1_000_000_000), ("tb", 1_000_000_000_000), ("b", 1),
    ]
    let compact = text.lowercased().filter { !$0.isWhitespace && $0 != "_" }
    let unit = units.first { compact.hasSuffix($0.0) }
    let digits = compact.dropLast(unit?.0.count ?? 0)
    if let whole = Int64(digits) {
      let (product, overflow) = whole.multipliedReportingOverflow(by: unit?.1 ?? 1)
      return overflow || product < 0 ? nil : product
    }
    guard let unit, let number = Double(digits), number.isFinite, number >= 0, number * Double(unit.1) < 9e18 else {
      return nil
    }
    return Int64(number * Double(unit.1))
  }
}
