// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What is wrong with a cluster's data folder and its processes on this machine, and how it can be mended without losing anything: leftovers of
/// processes that were killed, folders that are missing or open to others, processes that were stopped.
///
///     let examination = FolderExamination(layout, mark: "PLATFORM_TASK_OWNER")
///     for finding in examination.findings() { try finding.mend.perform() }
public struct FolderExamination: Sendable {
  /// What can be done about a finding. Each may be done again, and does nothing the second time.
  public enum Mend: Sendable, Equatable {
    case makeFolder(String, mode: Int)
    case setMode(String, Int)
    case remove([String])
    case end([Int32])
    case resume([Int32])

    /// For people: what it would do.
    public var text: String {
      switch self {
      case .makeFolder: "make it"
      case .setMode(_, let mode): "set its mode to \(String(mode, radix: 8))"
      case .remove(let paths): paths.count == 1 ? "remove it" : "remove them"
      case .end(let processes): "end \(Self.list(processes))"
      case .resume(let processes): "let \(Self.list(processes)) go on"
      }
    }

    private static func list(_ processes: [Int32]) -> String {
      (processes.count == 1 ? "process " : "processes ") + processes.prefix(8).map(String.init).joined(separator: ", ") + (processes.count > 8 ? ", .." : "")
    }

    /// - Throws: what keeps it from being done.
    public func perform() throws {
      switch self {
      case .makeFolder(let path, let mode):
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: mode])
      case .setMode(let path, let mode): guard chmod(path, mode_t(mode)) == 0 else { throw PlatformError.system("set the mode", path) }
      case .remove(let paths): for path in paths { try Self.remove(path) }
      case .end(let processes): try Self.signal(SIGKILL, processes)
      case .resume(let processes): try Self.signal(SIGCONT, processes)
      }
    }

    /// By `rm`, which opens each folder from the one above: what is inside may be another user's, who must not lead us elsewhere.
    private static func remove(_ path: String) throws {
      let ended = DispatchSemaphore(value: 0)
      let removal = ChildProcess.Configuration(executable: "/bin/rm", arguments: ["-rf", "--", path], environment: [:])
      let child = try BlockingPool.wait(atMost: .seconds(30), for: "the removal of \(path)") { try await ChildProcess.start(removal) { _ in ended.signal() } }
      let isLate = ended.wait(timeout: .now() + 60) == .timedOut
      if isLate { child.signal(SIGKILL) }
      var info = stat()
      guard !isLate, lstat(path, &info) != 0 else { throw PlatformError(.unavailable, "it could not be removed", path: path) }
    }

    private static func signal(_ number: Int32, _ processes: [Int32]) throws {
      for process in processes where kill(process, number) != 0 && errno != ESRCH {
        throw PlatformError(.permissionDenied, "process \(process) belongs to another user", hint: "Run it as root, or as the cluster's user.")
      }
    }
  }

  public struct Finding: Sendable, Equatable {
    public var what: String
    public var place: String
    public var mend: Mend
  }

  private let layout: DataLayout
  private let mark: String

  /// - Parameter mark: the environment variable of people's programs that names their worker's folder.
  public init(_ layout: DataLayout, mark: String) {
    self.layout = layout
    self.mark = mark
  }

  /// Looks at everything. Changes nothing; what this user may not see is not found. Blocks while it reads `/proc`.
  public func findings() -> [Finding] {
    // What has just been started is not among the processes that were read before: it is only a finding when it is one twice.
    let first = findingsNow()
    return first.isEmpty ? [] : findingsNow().filter(first.contains)
  }

  private func findingsNow() -> [Finding] {
    guard FileManager.default.fileExists(atPath: layout.root) else { return [] }
    let processes = LocalProcess.all()
    return folders() + supervisor(processes) + keepers(processes) + postgres(processes) + workers(processes) + programFolders() + temporaries()
  }

  private func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()  // not there, or not ours to see: nothing to find
  }

  private func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
  }

  private static func real(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private func isRoot(_ path: String?) -> Bool { path.map { Self.real($0) == Self.real(layout.root) } ?? false }

  private static func isAlive(_ process: Int32) -> Bool { kill(process, 0) == 0 || errno == EPERM }

  // MARK: files

  private func folders() -> [Finding] {
    guard FileManager.default.fileExists(atPath: layout.coordinatorKey) else { return [] }
    var found: [Finding] = []
    for (path, mode) in layout.folders {
      var info = stat()
      if stat(path, &info) != 0 {
        if errno == ENOENT { found.append(Finding(what: "a folder is missing", place: path, mend: .makeFolder(path, mode: mode))) }
      } else if mode == 0o700, path.hasPrefix(layout.root + "/"), info.st_mode & 0o077 != 0 {
        found.append(Finding(what: "other users can look into it", place: path, mend: .setMode(path, mode)))
      }
    }
    let secrets = [layout.adminTokenFile, layout.coordinatorKey, layout.sealingKey]
    for path in secrets {
      var info = stat()
      if stat(path, &info) == 0, info.st_mode & 0o077 != 0 {
        found.append(Finding(what: "other users can read this secret", place: path, mend: .setMode(path, 0o600)))
      }
    }
    return found
  }

  /// What was to be renamed when it was whole, by processes that have ended.
  private func temporaries() -> [Finding] {
    let left = [layout.root, layout.keys].flatMap { folder in names(in: folder).map { folder + "/" + $0 } }.filter { path in
      guard let range = path.range(of: ".tmp-", options: .backwards), let process = Int32(path[range.upperBound...]) else { return false }
      return !Self.isAlive(process)
    }
    return left.isEmpty ? [] : [Finding(what: "half-written files of processes that have ended", place: left.joined(separator: ", "), mend: .remove(left))]
  }

  /// Folders of people's programs whose executor was killed.
  private func programFolders() -> [Finding] {
    let root = NSTemporaryDirectory()
    let left = names(in: root).filter { name in
      guard name.hasPrefix(Self.programFolder) else { return false }
      guard let process = Int32(name.dropFirst(Self.programFolder.count).prefix { $0 != "-" }) else { return false }
      return !Self.isAlive(process)
    }.map { (root.hasSuffix("/") ? root : root + "/") + $0 }
    guard let first = left.first else { return [] }
    let place = left.count == 1 ? first : "\(left.count) folders, such as \(first)"
    return [Finding(what: "scratch of programs that have ended", place: place, mend: .remove(left))]
  }

  /// How `CommandFolder` names them: with the process that uses it behind.
  static let programFolder = "platform-task-"

  // MARK: processes

  private func supervisor(_ processes: [Int32: LocalProcess]) -> [Finding] {
    guard let state = layout.loadState() else { return [] }
    guard let supervisor = processes[state.supervisorPID], supervisor.arguments.contains("supervise"), isRoot(supervisor.option("--data-dir")) else {
      return [
        Finding(
          what: "a cluster is noted as running, and its supervisor (process \(state.supervisorPID)) has ended", place: layout.stateFile,
          mend: .remove([layout.stateFile]))
      ]
    }
    var members: [Int32] = []
    var parents: Set<Int32> = [supervisor.process]
    while !parents.isEmpty {
      members += parents
      parents = Set(processes.values.filter { parents.contains($0.parent) && !members.contains($0.process) }.map(\.process))
    }
    let stopped = members.sorted().filter { processes[$0]?.state == "T" }
    let names = stopped.compactMap { processes[$0]?.title }
    return stopped.isEmpty
      ? [] : [Finding(what: "members of the cluster are stopped: \(names.joined(separator: ", "))", place: layout.root, mend: .resume(stopped))]
  }

  /// Where no systemd keeps the services of `platform up -f`.
  private func keepers(_ processes: [Int32: LocalProcess]) -> [Finding] {
    names(in: layout.root + "/run").filter { $0.hasSuffix(".pid") }.compactMap { name in
      let path = "\(layout.root)/run/\(name)"
      guard let process = text(path).flatMap({ Int32($0) }), processes[process]?.arguments.contains("keep") != true else { return nil }
      return Finding(what: "the service \(name.dropLast(4)) is noted as running, and process \(process) is not it", place: path, mend: .remove([path]))
    }
  }

  private func postgres(_ processes: [Int32: LocalProcess]) -> [Finding] {
    let data = layout.postgres + "/data"
    let (lock, real) = (data + "/postmaster.pid", Self.real(data))
    // A server whose first process was killed may have others that still end: they work in its folder.
    guard let file = text(lock), let process = file.split(separator: "\n").first.flatMap({ Int32($0) }),
      !processes.values.contains(where: { $0.directory == real || $0.arguments.contains(data) })
    else { return [] }
    let sockets = names(in: layout.postgres).filter { $0.hasPrefix(".s.PGSQL.") }.map { layout.postgres + "/" + $0 }
    return [
      Finding(what: "Postgres is noted as running, and process \(process) is not it", place: lock, mend: .remove([lock] + sockets))
    ]
  }

  private func workers(_ processes: [Int32: LocalProcess]) -> [Finding] {
    names(in: layout.workers).flatMap { name -> [Finding] in
      let folder = layout.workers + "/" + name
      let real = Self.real(folder)
      let isRunning = processes.values.contains { process in
        guard let command = process.arguments.dropFirst().first, let directory = process.option("--data-dir") else { return false }
        return command == "worker" && Self.real(directory) == real || command == "join" && isRoot(directory) && (process.option("--name") ?? name) == name
      }
      guard !isRunning else { return [] }
      var found: [Finding] = []
      let left = processes.values.filter { process in
        process.directory == real && process.arguments.dropFirst().first == "executor" || process.has(variable: mark, real)
      }.map(\.process).sorted()
      if !left.isEmpty {
        found.append(Finding(what: "the worker \(name) has ended, and \(left.count) of its executors and programs have not", place: folder, mend: .end(left)))
      }
      let scratch = names(in: folder + "/scratch").map { folder + "/scratch/" + $0 }
      if !scratch.isEmpty { found.append(Finding(what: "scratch of a worker that has ended", place: folder + "/scratch", mend: .remove(scratch))) }
      return found
    }
  }
}

/// A process of this machine, as `/proc` shows it.
struct LocalProcess: Sendable {
  let process: Int32
  let parent: Int32
  /// `R`, `S`, `T` for one that was stopped, ..
  let state: Substring
  let name: String
  let arguments: [String]
  /// Where it works; empty where this user may not see that.
  let directory: String

  init?(_ process: Int32) {
    guard let bytes = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return nil }
    let text = String(decoding: bytes, as: UTF8.self)
    // The name, in parentheses, may hold anything.
    guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: close)...].split(separator: " ")
    guard fields.count > 1, let parent = Int32(fields[1]) else { return nil }
    self.process = process
    self.parent = parent
    state = fields[0]
    name = String(text[text.index(after: open)..<close])
    arguments = (FileManager.default.contents(atPath: "/proc/\(process)/cmdline") ?? Data()).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    directory = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/cwd")) ?? ""  // another user's
  }

  static func all() -> [Int32: LocalProcess] {
    let numbers = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }  // no /proc: none
    return Dictionary(numbers.compactMap { LocalProcess($0) }.map { ($0.process, $0) }) { first, _ in first }
  }

  /// For people: the command and the name of one of ours.
  var title: String {
    guard let command = arguments.dropFirst().first, !command.hasPrefix("-") else { return name }
    return option("--name").map { "\(command) \($0)" } ?? command
  }

  func option(_ name: String) -> String? {
    guard let index = arguments.firstIndex(of: name), index + 1 < arguments.count else { return nil }
    return arguments[index + 1]
  }

  func has(variable name: String, _ value: String) -> Bool {
    guard let bytes = FileManager.default.contents(atPath: "/proc/\(process)/environ") else { return false }
    let wanted = Array("\(name)=\(value)".utf8)
    return bytes.split(separator: 0).contains { $0.elementsEqual(wanted) }
  }
}
