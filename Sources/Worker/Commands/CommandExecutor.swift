// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Pipelines

/// Runs a person's program in a folder of its own: without the platform's variables, as another user where the worker is root, with
/// its output in the attempt's log. When the attempt ends, everything that the program has started ends too.
enum CommandExecutor {
  /// After it was asked to end, until it is ended with all that it has started. The worker ends an executor after three.
  static let graceSeconds = 1.0

  static func run(_ work: CommandWork, _ needs: ProgramNeeds, unit: UnitName, context: ExecutorContext) throws -> CommandResult {
    ProgramRun.adoptChildren()
    let owner = FileManager.default.currentDirectoryPath
    let account = try CommandFolder.account()
    let lease = try needs.python.map { wanted in
      let maker = EnvironmentMaker(cache: .ofThisMachine(), account: account, limits: work.limits ?? CommandLimits(), unit: unit, context: context)
      let lease = try maker.lease(wanted)
      context.log("platform: \(lease.summary)")
      return lease
    }
    var folder = try CommandFolder(account: account)
    defer { folder.remove() }
    let (executable, arguments) = try program(work, lease, folder)
    let inputs = try folder.write("inputs.json", Data(work.inputs.sortedText.utf8), mode: 0o400)
    let values = try folder.write("values", Data())
    try folder.write("modules/taskvalues.py", Data(TaskValues.pythonModule.utf8), mode: 0o444)
    if let notebook = needs.notebook {
      try folder.write("home/" + NotebookProgram.source, Data(notebook.source.utf8))
      try folder.write("modules/" + NotebookProgram.moduleName, Data(NotebookProgram.module.utf8), mode: 0o444)
    }
    if let files = needs.files { try ProgramFiles(parsing: files).write(to: &folder) }
    try folder.handOver()

    var environment = work.environment
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    let own = [
      "PATH": (lease.map { $0.folder + "/bin:" } ?? "") + path, "HOME": folder.home, "TMPDIR": folder.home + "/tmp",
      "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    ]
    environment.merge(own) { given, _ in given }
    for (name, secret) in needs.secrets ?? [:] {
      guard let value = context.secrets[secret] else {
        throw PlatformError(
          .invalidArgument, "the secret '\(secret)' is not there, or is no text", hint: "Put it there with the API of secrets.", number: "PLT-4336")
      }
      environment[name] = value
    }
    let redaction = Redaction(context.secrets.values)
    if let lease { environment["VIRTUAL_ENV"] = lease.folder }
    environment["PYTHONPATH"] = ([folder.path + "/modules"] + [work.environment["PYTHONPATH"]].compactMap { $0 }).joined(separator: ":")
    environment["PLATFORM_TASK_VALUES"] = values
    environment["PLATFORM_TASK_INPUTS"] = inputs
    environment[ProgramArtifacts.variable] = folder.artifacts
    environment["PLATFORM_RUN_ID"] = work.run
    environment["PLATFORM_TASK_KEY"] = work.task
    environment["PLATFORM_TASK_ATTEMPT"] = String(work.taskAttempt)
    environment[ProcessTree.ownerVariable] = owner
    environment[ProcessTree.unitVariable] = unit.text

    let configuration = ChildProcess.Configuration(
      executable: executable, arguments: arguments, environment: environment, directory: folder.home, joinsError: true, deathSignal: SIGKILL,
      account: folder.owner)
    let outcome = try ProgramRun.run(configuration, limits: work.limits ?? CommandLimits(), folder: folder.path, context: context, redaction: redaction)
    if let notebook = needs.notebook { keep(notebook, folder, redaction, context) }
    if let place = needs.artifacts { keepArtifacts(place, folder, context) }
    // Until here nobody removes it.
    withExtendedLifetime(lease) {}
    var ended = result(outcome.exit, outcome.excess, outcome.output, values: values)
    ended.tail = redaction.text(ended.tail)
    ended.values = redaction.value(.object(ended.values)).objectValue ?? [:]
    return ended
  }

  /// Puts the executed notebook where it is kept. An attempt does not fail for it.
  private static func keep(_ notebook: ProgramNeeds.Notebook, _ folder: CommandFolder, _ redaction: Redaction, _ context: ExecutorContext) {
    do {
      let data = try CommandFolder.read(folder.home + "/" + NotebookProgram.executed, limit: 64 << 20)
      guard !data.isEmpty else { return }
      let value = redaction.value(try JSONValue(parsing: data))
      let temporary = "\(notebook.keptAt).\(getpid())"
      try Data(value.sortedText.utf8).write(to: URL(fileURLWithPath: temporary))
      guard rename(temporary, notebook.keptAt) == 0 else { throw PlatformError.system("write", notebook.keptAt) }
    } catch {
      context.log("platform: the notebook with its outputs is not kept: \(PlatformError.from(error).message)")
    }
  }

  /// Puts the files that the program has left where they are kept. An attempt does not fail for it.
  private static func keepArtifacts(_ place: String, _ folder: CommandFolder, _ context: ExecutorContext) {
    do {
      let count = try ProgramArtifacts.keep(folder.artifacts, at: place)
      if count > 0 { context.log("platform: \(count) \(count == 1 ? "artifact is" : "artifacts are") kept: 'platform runs artifacts'") }
    } catch {
      context.log("platform: the artifacts are not kept: \(PlatformError.from(error).message)")
    }
  }

  private static func result(_ exit: ChildProcess.Exit, _ excess: String?, _ output: CommandOutput, values path: String) -> CommandResult {
    var result = CommandResult(
      exitCode: nil, signal: nil, excess: excess, values: [:], valuesProblem: nil, outputBytes: output.bytes, isTruncated: output.leftOut > 0,
      tail: String(output.lastLines.suffix(4_000)))
    switch exit {
    case .status(let code): result.exitCode = Int(code)
    case .signal(let number): result.signal = Int(number)
    }
    do {
      result.values = try TaskValues.parse(CommandFolder.read(path, limit: TaskValues.fileLimit + 1))
    } catch {
      result.valuesProblem = PlatformError.from(error).message
    }
    return result
  }

  private static func program(_ work: CommandWork, _ lease: EnvironmentLease?, _ folder: CommandFolder) throws -> (String, [String]) {
    switch work.program {
    case .shell(let line): return ("/bin/sh", ["-c", line, "sh"] + work.parameters)
    case .words(let words):
      guard let first = words.first, !first.isEmpty else { throw PlatformError(.invalidArgument, "the command is empty", number: "PLT-4208") }
      return (try find(first, folder.owner, in: lease.map { [$0.folder + "/bin"] } ?? []), Array(words.dropFirst()) + work.parameters)
    case .python(let name, let text):
      // Only the last part of the name is used, and only when it is an ordinary one.
      let plain = name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "._-".utf8.contains($0) }
      let file = try folder.write("home/" + (plain && name.hasSuffix(".py") && !name.hasPrefix(".") ? name : "main.py"), Data(text.utf8))
      return (try lease?.python ?? find("python3", folder.owner), [file] + work.parameters)
    }
  }

  /// - Parameter first: folders that come before those of `PATH`.
  /// - Throws: `invalidArgument` PLT-4208 when no folder has it.
  static func find(_ name: String, _ account: ChildProcess.Account?, in first: [String] = []) throws -> String {
    if name.contains("/") { return name }
    let folders = first + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map(String.init)
    for folder in folders {
      let path = "\(folder)/\(name)"
      if access(path, X_OK) == 0, account == nil || isOpenToAll(path) { return path }
    }
    throw PlatformError(
      .invalidArgument, "this worker has no program '\(name.prefix(200))'", hint: "Install it on every worker, or give its full path.", number: "PLT-4208")
  }

  /// Whether users without rights of their own can run it: the folders of `PATH` may be the worker's alone.
  static func isOpenToAll(_ path: String) -> Bool {
    guard let real = realpath(path, nil) else { return false }
    defer { free(real) }
    return [path, String(cString: real)].allSatisfy { file in
      var part = ""
      return file.split(separator: "/").allSatisfy { component in
        part += "/\(component)"
        var info = stat()
        return stat(part, &info) == 0 && info.st_mode & S_IXOTH != 0
      }
    }
  }
}
