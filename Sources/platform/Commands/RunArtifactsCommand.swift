// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension RunsCommand {
  struct Artifacts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Files that a run's programs have left, of every attempt.",
      discussion: """
        EXAMPLES
          platform runs artifacts 42
          platform runs artifacts 42 --task report --to results
        A program leaves them in the folder that $PLATFORM_TASK_ARTIFACTS names.
        """)
    @Argument var run: String
    @Option(help: "Only of this task.") var task: String?
    @Option(help: "Only of this attempt.") var attempt: Int?
    @Option(help: "Folder to copy them to, as TASK/ATTEMPT/PATH.") var to: String?
    @OptionGroup var options: ClientOptions

    private static let path = "/api/2.2/jobs/runs/artifacts"

    func run() async throws {
      let client = try options.client()
      var query = "run_id=\(segment(run))"
      if let task { query += "&task_key=\(segment(task))" }
      if let attempt { query += "&attempt=\(attempt)" }
      let answer: JSONValue = try await client.get("\(Self.path)?\(query)")
      let found = answer["artifacts"]?.arrayValue ?? []
      if let to {
        for one in found { try await copy(one, to: to, client) }
      }
      if options.output.isStructured { return try Report.structured(JSONValue.array(found), options.output) }
      guard !found.isEmpty else { return Report.note("Run \(run) has left no files.") }
      Report.table(
        ["TASK", "ATTEMPT", "PATH", "SIZE"],
        found.map { one in
          [
            one["task_key"]?.stringValue ?? "", one["attempt"]?.intValue.map { String($0) } ?? "", one["path"]?.stringValue ?? "",
            Report.bytes(Int64(one["file_size"]?.intValue ?? 0)),
          ]
        })
      if let to { Report.note("\(Report.check) copied to \(to)") }
    }

    private func copy(_ one: JSONValue, to folder: String, _ client: PlatformClient) async throws {
      let (task, attempt, path) = (one["task_key"]?.stringValue ?? "", one["attempt"]?.intValue ?? 1, one["path"]?.stringValue ?? "")
      guard PathText.isInside("\(task)/\(attempt)/\(path)") else { return }
      let target = URL(fileURLWithPath: "\(folder)/\(task)/\(attempt)/\(path)")
      try FileManager.default.createDirectory(at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
      let temporary = target.path + ".part"
      try Data().write(to: URL(fileURLWithPath: temporary))
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: temporary))
      try await client.download(
        from: "\(Self.path)/content?run_id=\(segment(run))&task_key=\(segment(task))&attempt=\(attempt)&path=\(segment(path))"
      ) { try file.write(contentsOf: $0) }
      try file.close()
      guard rename(temporary, target.path) == 0 else { throw PlatformError.system("write", target.path) }
    }
  }
}
