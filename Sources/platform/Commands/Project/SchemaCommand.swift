// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Provisioning
import Workspace

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema", abstract: "The JSON Schema of project files or cluster files, for editors; or the lists of all keys.",
    discussion: """
      EXAMPLES
        platform schema > platform.schema.json
        platform schema cluster > cluster.schema.json
        platform schema --keys            which keys are honoured, ignored, refused
      In platform.yml:  # yaml-language-server: $schema=platform.schema.json
      """)
  enum Kind: String, ExpressibleByArgument, CaseIterable { case project, cluster }

  @Argument(help: "project, or cluster: the file of 'platform up -f'.") var kind = Kind.project
  @Flag(help: "Print which keys of project files are honoured, ignored with a warning, and refused.") var keys = false
  @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text

  func run() throws {
    guard keys else {
      return try Report.structured(kind == .cluster ? ClusterSchema.document : ProjectSchema.document, output == .yaml ? .yaml : .json)
    }
    guard kind == .project else { throw PlatformError(.invalidArgument, "--keys is of project files", hint: "Write 'platform schema cluster'.") }
    if output.isStructured { return try Report.structured(KeyLists.all, output) }
    StandardStreams.out(KeyLists.markdown(KeyLists.all))
  }
}

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Explain a field of project files.",
    discussion: """
      EXAMPLES
        platform explain job.tasks.train_task.compute.tensor_parallel
        platform explain targets.prod.mode
        platform explain sql_task
      """)
  @Argument(help: "The field's path, or the end of it.") var path: String
  @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text

  func run() throws {
    let found = try KeyExplanation.of(path)
    if output.isStructured { return try Report.structured(found, output) }
    Report.data(found.path)
    if !found.summary.isEmpty { Report.data("  \(found.summary)") }
    guard found.treatment == "honoured" else { return }
    Report.data("  type      \(found.type)\(found.isRequired ? ", has to be given" : "")")
    if !found.fallback.isEmpty { Report.data("  default   \(found.fallback)") }
    if !found.example.isEmpty { Report.data("  example   \(found.example)") }
    if !found.keys.isEmpty { Report.data("  keys      \(found.keys.joined(separator: " "))") }
    if found.isOwn { Report.data("  The platform's own; Databricks does not know it.") }
  }
}

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Begin a project: a platform.yml with two targets, a program and a statement.",
    discussion: """
      EXAMPLES
        platform init support_assistant
        cd support_assistant && platform validate && platform deploy && platform run refresh --watch
      """)
  @Argument(help: "The project's name, and the name of its new folder.") var name: String

  func run() throws {
    let isName =
      !name.isEmpty && name.utf8.count <= 60 && name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95 }
    guard isName else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(80))' is not a usable name of a project", hint: "Use letters, digits and '_'.", number: "PLT-1204")
    }
    guard !FileManager.default.fileExists(atPath: name) else {
      throw PlatformError(.alreadyExists, "\(name) exists", hint: "Choose another name.", number: "PLT-1201", path: name)
    }
    for (path, text) in ProjectTemplate.files(name) {
      let whole = "\(name)/\(path)"
      try FileManager.default.createDirectory(atPath: (whole as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: whole))
      Report.note("  \(whole)")
    }
    Report.note("\(Report.check) \(name) is there\n  Next  cd \(name) && platform validate && platform deploy")
  }
}
