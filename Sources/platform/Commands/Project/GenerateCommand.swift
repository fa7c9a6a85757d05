// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Workspace

struct GenerateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Write what exists as a part of a project.",
    discussion: """
      EXAMPLES
        platform generate job nightly --key nightly > resources/nightly.yml
        platform generate job 12 --into resources/nightly.yml
      """, subcommands: [Job.self])

  struct Job: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The YAML of a stored job.",
      discussion: """
        EXAMPLES
          platform generate job nightly
          platform generate job 12 --key nightly --into resources/nightly.yml
        """)
    @Argument(help: "Number or name.") var job: String
    @Option(help: "Its key in the project. Default: made of its name.") var key: String?
    @Option(help: "Write it into this file, which must not exist, instead of printing it.") var into: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let number = try await JobsCommand.number(job, client)
      let info: JSONValue = try await client.get("/api/2.2/jobs/get?job_id=\(number)")
      var settings = info["settings"]?.objectValue ?? [:]
      for own in ["deployment", "edit_mode", "format"] { settings[own] = nil }
      let key = key ?? Self.key(settings["name"]?.stringValue ?? "", number)
      let tree: JSONValue = ["resources": ["jobs": .object([key: .object(settings)])]]
      let text = "# From job \(number).\n" + StructuredText.yaml(tree)
      if let into {
        guard !FileManager.default.fileExists(atPath: into) else {
          throw PlatformError(.alreadyExists, "\(into) exists", hint: "Name another file.", number: "PLT-1201", path: into)
        }
        let folder = (into as NSString).deletingLastPathComponent
        if !folder.isEmpty { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
        try Data(text.utf8).write(to: URL(fileURLWithPath: into))
        Report.note("\(Report.check) \(into) written")
      } else if options.output.isStructured && options.output != .yaml {
        try Report.structured(tree, options.output)
      } else {
        StandardStreams.out(text)
      }
      for path in Self.files(info["settings"] ?? .null) { Report.note("! the text of '\(path)' is not written: put the file where its task names it") }
      Report.note("  Next  platform deploy --adopt \(key)=\(number)   makes the job this project's")
    }

    private static func key(_ name: String, _ number: Int64) -> String {
      let text = String(name.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }).split(separator: "_").joined(separator: "_")
      return text.isEmpty ? "job_\(number)" : text
    }

    /// Files that came with the job.
    private static func files(_ settings: JSONValue) -> [String] {
      var found: [String] = []
      func look(_ task: JSONValue) {
        for path in [task["sql_task"]?["file"]?["path"]?.stringValue, task["spark_python_task"]?["python_file"]?.stringValue].compactMap({ $0 })
        where !path.hasPrefix("/") && !path.hasPrefix("dbfs:") { found.append(path) }
        if let inner = task["for_each_task"]?["task"] { look(inner) }
      }
      for task in settings["tasks"]?.arrayValue ?? [] { look(task) }
      return Set(found).sorted()
    }
  }
}
