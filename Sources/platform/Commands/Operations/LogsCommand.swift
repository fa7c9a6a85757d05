// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation

struct LogsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Log lines of a run, a task, an attempt, or a process of this machine.",
    discussion: """
      Logs of runs come from the cluster and are kept for every attempt. Those of processes are the files of this machine's data folder.

      EXAMPLES
        platform logs 12                       all tasks of run 12
        platform logs 12/train#2 --follow      the second attempt of one task, until the run ends
        platform logs 12 --grep 'error|warn'
        platform logs coordinator --lines 50   also: supervisor, postgres, w0
        platform logs w0 --follow
      """)
  @Argument(help: "RUN, RUN/TASK, RUN/TASK#ATTEMPT, or the name of a process here.") var target: String
  @Option(help: "Only lines that this regular expression finds something in.") var grep: String?
  @Option(help: "Of a process: its last lines.") var lines = 200
  @Flag(name: .shortAndLong, help: "Go on: until the run ends, or for ever.") var follow = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let filter = try LineFilter(grep)
    if let place = LogTarget(target) {
      return try await LogsOfRun(client: options.client(), target: place, filter: filter, output: options.output).show(follow: follow)
    }
    guard lines >= 0 else { throw PlatformError(.invalidArgument, "--lines must not be negative") }
    try await show(ProcessLog.find(target, options.data.layout), filter)
  }

  private func show(_ path: String, _ filter: LineFilter) async throws {
    var log = try ProcessLog(path)
    func line(_ text: String) throws {
      guard filter.takes(text) else { return }
      guard options.output.isStructured else { return Report.data(text) }
      let object: JSONValue = ["source": .string(target), "line": .string(text)]
      Report.data(object.sortedText)
    }
    for text in try log.last(lines, where: filter.takes) { try line(text) }
    while follow {
      let new = try log.next()
      for text in new { try line(text) }
      if new.isEmpty { try await Task.sleep(for: .milliseconds(300)) }
    }
  }
}

/// `RUN`, `RUN/TASK`, `RUN/TASK#ATTEMPT`; events write `run/` before it.
struct LogTarget: Equatable {
  var run: String
  var task: String?
  var attempt: Int?

  init?(_ text: String) {
    let text = text.hasPrefix("run/") ? text.dropFirst(4) : Substring(text)
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let number = parts.first, !number.isEmpty, number.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    run = String(number)
    guard parts.count == 2 else { return }
    let names = parts[1].split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
    task = String(names[0])
    if names.count == 2 {
      guard let number = Int(names[1]), number > 0 else { return nil }
      attempt = number
    }
    guard task?.isEmpty == false else { return nil }
  }
}

/// Which lines are shown.
struct LineFilter {
  private let expression: NSRegularExpression?

  /// - Throws: `invalidArgument` PLT-4411 for no regular expression.
  init(_ pattern: String?) throws {
    do { expression = try pattern.map { try NSRegularExpression(pattern: $0) } } catch {
      throw PlatformError(
        .invalidArgument, "'\(pattern?.prefix(200) ?? "")' is no regular expression", hint: "Put a backslash before ( [ * + ? that mean themselves.",
        number: "PLT-4411")
    }
  }

  func takes(_ line: String) -> Bool {
    guard let expression else { return true }
    return expression.firstMatch(in: line, range: NSRange(line.startIndex..., in: line)) != nil
  }
}

/// Lines of a run's tasks, from the cluster.
struct LogsOfRun {
  var client: PlatformClient
  var target: LogTarget
  var filter: LineFilter
  var output: OutputFormat

  func show(follow: Bool) async throws {
    var after: Int64 = 0
    while true {
      let info: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(target.run))")
      var path = "/api/2.2/jobs/runs/logs?run_id=\(segment(target.run))&after=\(after)&limit=1000"
      if let task = target.task { path += "&task_key=\(segment(task))" }
      if let attempt = target.attempt { path += "&attempt=\(attempt)" }
      let page: LogPage = try await client.get(path)
      for line in page.lines {
        after = max(after, line.id)
        guard filter.takes(line.line) else { continue }
        if output == .json {
          Report.data(String(decoding: try JSONEncoder.platform.encode(line), as: UTF8.self))
        } else {
          Report.data("\(line.taskKey)#\(line.attempt)  \(line.line)")
        }
      }
      if page.lines.count == 1000 { continue }
      if !follow || info.isFinished { return }
      try await Task.sleep(for: .milliseconds(500))
    }
  }
}

/// The log file of a process on this machine.
struct ProcessLog {
  let path: String
  private var offset: UInt64 = 0
  private var rest = Data()

  /// Bytes of a file's end that are looked at for its last lines.
  private static let window: UInt64 = 4 << 20

  /// - Throws: `notFound` PLT-4412 with the processes that have one.
  static func find(_ name: String, _ layout: DataLayout) throws -> String {
    let suffix = ".log"
    var known = ((try? FileManager.default.contentsOfDirectory(atPath: layout.logs)) ?? []).filter { $0.hasSuffix(suffix) }  // none: said so below
      .map { String($0.dropLast(suffix.count)) }.sorted()
    let postgres = layout.postgres + "/postgres.log"
    if FileManager.default.fileExists(atPath: postgres) { known.append("postgres") }
    guard known.contains(name) else {
      let close = Spelling.suggestion(for: name, among: known)
      throw PlatformError(
        .notFound, "there is no run and no process '\(name.prefix(100))' with a log on this machine",
        hint: close.map { "Did you mean '\($0)'?" }
          ?? (known.isEmpty ? "Looked in \(layout.logs); give another folder with --data-dir." : "Here are \(known.joined(separator: ", "))."),
        number: "PLT-4412")
    }
    return name == "postgres" ? postgres : layout.logs + "/" + name + suffix
  }

  init(_ path: String) throws {
    self.path = path
    guard FileManager.default.isReadableFile(atPath: path) else {
      throw PlatformError(.permissionDenied, "the log cannot be read", hint: "Ask as the user who runs the cluster.", number: "PLT-4412", path: path)
    }
  }

  /// The last lines of those that `isWanted`; what comes later is `next`.
  mutating func last(_ count: Int, where isWanted: (String) -> Bool) throws -> [String] {
    let size = try size()
    offset = size > Self.window ? size - Self.window : 0
    let isCut = offset > 0
    var lines = try next()
    if isCut, !lines.isEmpty { lines.removeFirst() }
    return lines.filter(isWanted).suffix(count)
  }

  /// Whole lines that were written since the last call. A file that is shorter now was begun anew.
  mutating func next() throws -> [String] {
    if try size() < offset {
      offset = 0
      rest = Data()
    }
    guard let file = FileHandle(forReadingAtPath: path) else { return [] }
    defer { try? file.close() }  // nothing was written
    try file.seek(toOffset: offset)
    let data = try file.readToEnd() ?? Data()
    offset += UInt64(data.count)
    rest += data
    guard let end = rest.lastIndex(of: 10) else { return [] }
    let whole = rest[rest.startIndex..<end]
    let lines = whole.split(separator: 10, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    rest = Data(rest[rest.index(after: end)...])
    return lines
  }

  private func size() throws -> UInt64 {
    // Between two files, when one is put aside, there is none.
    ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
  }
}
