// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// What `resources` hold, checked by the rules that hold when it is stored.
extension ProjectReader {
  /// Without what only other targets have.
  mutating func ofTarget(_ resources: YAMLTree?, _ target: String) -> YAMLTree? {
    guard let resources else { return nil }
    checkKeys(resources, ProjectKeys.resources, "resources", except: Set(ProjectKeys.resources.map(\.name)))
    guard let kinds = resources.members else { return nil }
    var result = YAMLTree(.map([]), at: resources.line)
    for kind in kinds where ProjectResource.Kind(rawValue: kind.key) != nil && !kind.value.isNull {
      guard let all = kind.value.members else {
        fail("PLT-1202", kind.line, "resources.\(kind.key)", "must be a mapping", hint: "Each resource has a key of its own.")
        continue
      }
      var kept: [YAMLTree.Member] = []
      for resource in all {
        let place = "resources.\(kind.key).\(resource.key)"
        guard resource.value.members != nil else {
          fail("PLT-1202", resource.line, place, "must be a mapping")
          continue
        }
        guard Self.isKey(resource.key) else {
          fail("PLT-1204", resource.line, place, "'\(resource.key.prefix(80))' is not a usable key", hint: "Use letters, digits, '_' and '-'.")
          continue
        }
        var wanted: [String]?
        if let list = resource.value["targets"] {
          wanted = []
          for item in list.items ?? [] {
            guard let name = item.scalar else { continue }
            wanted?.append(name)
            if !targets.contains(name) && !(targets.isEmpty && name == target) {
              let close = Spelling.suggestion(for: name, among: targets)
              fail(
                "PLT-4271", item.line, "\(place).targets", "there is no target '\(name)'",
                hint: close.map { "Did you mean '\($0)'?" } ?? "Targets: \(targets.joined(separator: ", ")).")
            }
          }
          if list.items == nil { fail("PLT-1202", list.line, "\(place).targets", "must be a list", hint: "For example targets: [ prod ].") }
        }
        if wanted?.contains(target) ?? true {
          kept.append(YAMLTree.Member(key: resource.key, line: resource.line, value: resource.value.setting("targets", nil)))
        }
      }
      result = result.setting(kind.key, YAMLTree(.map(kept), at: kind.value.line))
    }
    return result
  }

  private static func isKey(_ text: String) -> Bool {
    (1...100).contains(text.utf8.count)
      && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95 || $0 == 45 }
  }

  /// Volumes and models in a schema of the project follow it to its name in the target.
  func boundToSchemas(_ resources: YAMLTree?, _ presets: TargetPresets) -> YAMLTree? {
    let prefix = presets.catalogPrefix
    guard var result = resources, !prefix.isEmpty else { return resources }
    let own = Set((result["schemas"]?.members ?? []).map { "\($0.value["catalog_name"]?.scalar ?? "").\($0.value["name"]?.scalar ?? "")" })
    for kind in ["volumes", "registered_models"] {
      guard let all = result[kind], let members = all.members else { continue }
      let moved = members.map { member in
        guard let schema = member.value["schema_name"], let name = schema.scalar, own.contains("\(member.value["catalog_name"]?.scalar ?? "").\(name)") else {
          return member
        }
        return YAMLTree.Member(
          key: member.key, line: member.line, value: member.value.setting("schema_name", YAMLTree.text(prefix + name, at: schema.line)))
      }
      result = result.setting(kind, YAMLTree(.map(moved), at: all.line))
    }
    return result
  }

  /// Resources in the order in which they are made, and the tree that they were made of.
  mutating func makeResources(
    _ named: YAMLTree, _ identity: Project.Identity, permissions: YAMLTree?
  ) -> (YAMLTree, [ProjectResource]) {
    var filler = ReferenceFiller(Self.answering(named))
    let tree = filler.fill(named, "resources")
    for error in filler.errors { fail(error) }
    var resources: [ProjectResource] = []
    for kind in ProjectResource.Kind.allCases {
      for member in tree[kind.rawValue]?.members ?? [] {
        let place = "resources.\(kind.rawValue).\(member.key)"
        let made = kind == .jobs ? job(member, identity, permissions) : object(kind, member, place)
        if let made { resources.append(made) }
      }
    }
    checkNames(resources)
    return (tree, ordered(resources))
  }

  /// `${resources.KIND.KEY.FIELD}`: numbers of jobs come later, everything else is in the files.
  private static func answering(_ resources: YAMLTree) -> (String, Int) -> ReferenceFiller.Answer {
    { name, line in
      if name.hasPrefix("lookup:") { return .later }
      let parts = name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 4, parts[0] == "resources" else { return .unknown(hint: "Write ${resources.KIND.KEY.FIELD}, as in ${resources.jobs.refresh.id}.") }
      guard let all = resources[parts[1]]?.members else {
        return .unknown(hint: "The project has no \(parts[1]) in this target.")
      }
      guard let resource = all.first(where: { $0.key == parts[2] })?.value else {
        let close = Spelling.suggestion(for: parts[2], among: all.map(\.key))
        return .unknown(
          hint: close.map { "Did you mean '${resources.\(parts[1]).\($0).\(parts[3])}'?" }
            ?? "There are \(all.map(\.key).joined(separator: ", ")) in this target.")
      }
      if parts[1] == "jobs", parts[3] == "id" { return .later }
      if let full = fullName(parts[1], resource) {
        if ["id", "full_name"].contains(parts[3]) { return .value(YAMLTree.text(full, at: line)) }
        if parts[1] == "volumes", parts[3] == "volume_path" {
          return .value(YAMLTree.text("/Volumes/" + full.replacing(".", with: "/"), at: line))
        }
      }
      if let steps = References.path(parts[3]), let found = References.descend(resource, steps) { return .value(found) }
      return .unknown(hint: "Known are its id and the fields that the project gives it.")
    }
  }

  /// `catalog.schema.name`; nil while a part is missing, and for jobs.
  private static func fullName(_ kind: String, _ resource: YAMLTree) -> String? {
    let parts: [String] =
      switch kind {
      case "catalogs": ["name"]
      case "schemas": ["catalog_name", "name"]
      case "volumes", "registered_models": ["catalog_name", "schema_name", "name"]
      default: []
      }
    let names = parts.compactMap { resource[$0]?.scalar }
    return names.isEmpty || names.count < parts.count ? nil : names.joined(separator: ".")
  }

  // MARK: Objects of the catalog

  private mutating func object(_ kind: ProjectResource.Kind, _ member: YAMLTree.Member, _ place: String) -> ProjectResource? {
    let keys = ProjectKeys.resources.first { $0.name == kind.rawValue }?.inside ?? []
    checkKeys(member.value, keys, place)
    for part in ["catalog_name", "schema_name", "name"] {
      guard let value = member.value[part], let text = value.scalar, !Self.isName(text), !text.contains("${") else { continue }
      fail("PLT-1204", value.line, "\(place).\(part)", "'\(text.prefix(80))' is not a usable name", hint: "Use letters, digits, '_' and '-'.")
    }
    if kind == .volumes {
      let isExternal = member.value["volume_type"]?.scalar == "EXTERNAL"
      if isExternal, member.value["storage_location"] == nil {
        fail(
          "PLT-1202", member.line, place, "'storage_location' is missing",
          hint: "An external volume is a folder that exists: storage_location: file:///srv/shared.")
      } else if !isExternal, let location = member.value["storage_location"] {
        fail(
          "PLT-1203", location.line, "\(place).storage_location", "a managed volume has no location of its own",
          hint: "Add volume_type: EXTERNAL, or remove it.")
      }
    }
    // Jobs come last: what is made before them cannot hold their numbers. Other references that are left have had their error.
    if !Self.jobsNamed(in: member.value).isEmpty {
      fail("PLT-4278", member.line, place, "a \(kind.noun) cannot hold the number of a job", hint: "Jobs are made last.")
    }
    guard let name = Self.fullName(kind.rawValue, member.value) else { return nil }
    var definition: [String: JSONValue] = [:]
    for key in ["comment", "storage_location"] {
      if let text = member.value[key]?.scalar { definition[key] = .string(text) }
    }
    if kind == .volumes { definition["volume_type"] = .string(member.value["volume_type"]?.scalar ?? "MANAGED") }
    if let properties = member.value["properties"]?.members {
      definition["properties"] = .object(Dictionary(properties.map { ($0.key, .string($0.value.scalar ?? "")) }, uniquingKeysWith: { $1 }))
    }
    return ProjectResource(
      kind: kind, key: member.key, name: name, definition: .object(definition), path: sources.path(member.line), line: sources.line(member.line))
  }

  /// The catalog's rule for a part of a name.
  private static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 128
      && text.unicodeScalars.allSatisfy { $0 == "_" || $0 == "-" || $0.properties.isAlphabetic || $0.properties.numericType != nil }
  }

  /// Two resources of one name would take turns in being what the other is not. Jobs may share a name.
  private mutating func checkNames(_ resources: [ProjectResource]) {
    var first: [String: ProjectResource] = [:]
    for resource in resources where resource.kind != .jobs {
      let name = "\(resource.kind.rawValue) \(resource.name.lowercased())"
      if let other = first[name] {
        fail(
          PlatformError(
            .invalidFile, "resources.\(resource.kind.rawValue).\(resource.key): \(resource.kind.noun) \(resource.name) is '\(other.key)' too",
            hint: "One of the two has to go, or needs another name.", number: "PLT-4275", path: resource.path, line: resource.line))
      }
      first[name] = resource
    }
  }

  // MARK: Jobs

  private mutating func job(_ member: YAMLTree.Member, _ identity: Project.Identity, _ permissions: YAMLTree?) -> ProjectResource? {
    let place = "resources.jobs.\(member.key)"
    var job = member.value
    let rights = rights(job["permissions"], permissions, place)
    job = job.setting("permissions", nil)
    for key in ["grants", "lifecycle", "run_as"] {
      guard let own = job.members?.first(where: { $0.key == key }) else { continue }
      ignore("\(place).\(key)", own.line, key == "run_as" ? ProjectKeys.ownersName : ProjectKeys.reason(key))
      job = job.setting(key, nil)
    }
    var attachments: [String: String] = [:]
    job = attaching(job, place, &attachments)
    let needs = Self.jobsNamed(in: job)
    let checked = ProjectJobs.check(Self.placeholding(job), key: member.key, line: member.line, attachments: attachments)
    for error in checked.errors { fail(error) }
    for ignored in checked.ignored { ignore(ignored.place, ignored.line) }
    let line = member.line
    let deployment = YAMLTree(.map([]), at: line).setting("kind", YAMLTree.text("BUNDLE", at: line))
      .setting("metadata_file_path", YAMLTree.text("\(identity.rootPath)/state/metadata.json", at: line))
    job = job.setting("deployment", deployment).setting("edit_mode", YAMLTree.text("UI_LOCKED", at: line))
    var definition = job.json()
    if let rights, case .object(var members) = definition {
      members["access_control_list"] = .array(rights)
      definition = .object(members)
    }
    return ProjectResource(
      kind: .jobs, key: member.key, name: job["name"]?.scalar ?? member.key, definition: definition, attachments: attachments,
      path: sources.path(line), line: sources.line(line), needs: needs)
  }

  /// Rights that a job gets, its own and the project's, in the one form that the cluster shows them in; nil when nothing is said of them.
  private mutating func rights(_ own: YAMLTree?, _ all: YAMLTree?, _ place: String) -> [JSONValue]? {
    var entries: [JobRights.Entry] = []
    var isSaid = false
    for (tree, here) in [(own, "\(place).permissions"), (all, "permissions")] {
      guard let tree, !tree.isNull else { continue }
      checkShape(tree, .list(ProjectKeys.permission), here)
      guard let list = tree.items else { continue }
      isSaid = true
      for (index, item) in list.enumerated() {
        do {
          for entry in try JobRights.entries([item.json()]) {
            // Of two rights the better one counts.
            guard !entries.contains(where: { $0.grantee == entry.grantee && entry.right <= $0.right }) else { continue }
            entries.removeAll { $0.grantee == entry.grantee }
            entries.append(entry)
          }
        } catch {
          let text = error.message.replacing("access_control_list[0]: ", with: "")
          fail("PLT-4461", item.line, "\(here)[\(index)]", text, hint: error.hint)
        }
      }
    }
    guard isSaid else { return nil }
    var rights = JobRights(owner: "")
    do {
      try rights.set(entries, keepsOwner: true)
    } catch {
      fail("PLT-4461", own?.line ?? all?.line ?? 1, "\(place).permissions", error.message, hint: error.hint)
    }
    return rights.list(withOwner: !rights.owner.isEmpty)
  }

  /// With numbers in the place of those that only a deployment knows, so that the rest can be checked. Other references that are left have had
  /// their error.
  private static func placeholding(_ tree: YAMLTree) -> YAMLTree {
    switch tree.content {
    case .list(let items): return YAMLTree(.list(items.map(placeholding)), at: tree.line)
    case .map(let members):
      return YAMLTree(.map(members.map { YAMLTree.Member(key: $0.key, line: $0.line, value: placeholding($0.value)) }), at: tree.line)
    case .scalar(let text, let isPlain):
      guard text.contains("${") else { return tree }
      var unclosed = false
      var result = text
      for reference in References.all(in: text, unclosed: &unclosed) { result = result.replacing("${\(reference.name)}", with: "1") }
      if unclosed, let open = result.firstRange(of: "${") { result = String(result[..<open.lowerBound]) }
      return YAMLTree(.scalar(result, plain: isPlain), at: tree.line)
    }
  }

  private static func jobsNamed(in tree: YAMLTree) -> [String] {
    switch tree.content {
    case .list(let items): return items.flatMap(jobsNamed)
    case .map(let members): return members.flatMap { jobsNamed(in: $0.value) }
    case .scalar(let text, _):
      var unclosed = false
      return References.all(in: text, unclosed: &unclosed).filter { $0.name.hasPrefix("resources.jobs.") && $0.name.hasSuffix(".id") }.map {
        String($0.name.dropFirst("resources.jobs.".count).dropLast(".id".count))
      }
    }
  }

  /// Jobs after those whose numbers they need; the rest as they stand.
  private mutating func ordered(_ resources: [ProjectResource]) -> [ProjectResource] {
    let jobs = resources.filter { $0.kind == .jobs }
    var result = resources.filter { $0.kind != .jobs }
    var done: Set<String> = []
    var waiting = jobs
    while !waiting.isEmpty {
      let ready = waiting.filter { $0.needs.allSatisfy { key in done.contains(key) || !jobs.contains { $0.key == key } } }
      if ready.isEmpty {
        let first = waiting[0]
        fail(
          PlatformError(
            .invalidFile, "resources.jobs.\(first.key): jobs need each other's numbers in a circle: \(waiting.map(\.key).joined(separator: ", "))",
            hint: "Remove one of the references.", number: "PLT-4278", path: first.path, line: first.line))
        break
      }
      result += ready
      done.formUnion(ready.map(\.key))
      waiting.removeAll { done.contains($0.key) }
    }
    return result
  }
}
