// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Pipelines

/// An environment that stays where it is as long as this is held.
final class EnvironmentLease {
  /// The folder that `python3 -m venv` has made.
  let folder: String
  let lock: PythonLock
  private let hold: FileLock

  init(folder: String, lock: PythonLock, hold: FileLock) {
    self.folder = folder
    self.lock = lock
    self.hold = hold
  }

  var python: String { folder + "/bin/python" }

  /// For the attempt's log.
  var summary: String {
    let packages = lock.packages.map { "\($0.name) \($0.version)" }.joined(separator: ", ")
    return "Python \(lock.python)\(packages.isEmpty ? "" : ", \(packages)")"
  }
}

/// Finds the environment that a program needs, or makes it: as the program's user, with the program's limits, with what pip says in the
/// attempt's log.
struct EnvironmentMaker {
  let cache: EnvironmentCache
  let account: ChildProcess.Account?
  let limits: CommandLimits
  let unit: UnitName
  let context: ExecutorContext

  /// How pip reaches packages is the operator's: these variables of the worker, and pip's own files of the machine. Nothing else reaches it.
  static let variables: Set<String> = [
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_CONSTRAINT", "PIP_ONLY_BINARY", "PIP_NO_BINARY", "PIP_PREFER_BINARY", "PIP_CONFIG_FILE",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
  ]

  static func run(_ work: EnvironmentWork, unit: UnitName, context: ExecutorContext) throws -> PythonLock {
    ProgramRun.adoptChildren()
    let maker = EnvironmentMaker(
      cache: .ofThisMachine(), account: try CommandFolder.account(), limits: work.limits, unit: unit, context: context)
    return try maker.lease(work.python).lock
  }

  func lease(_ wanted: PythonEnvironment) throws -> EnvironmentLease {
    try cache.create()
    if account != nil, !CommandExecutor.isOpenToAll(cache.root) {
      throw PlatformError(
        .badConfiguration, "programs run as the user 'nobody', who cannot enter \(cache.root)",
        hint: "Give the worker another folder in PLATFORM_ENVIRONMENTS.", number: "PLT-4331")
    }
    let interpreter = try interpreter()
    let open = wanted.key(on: interpreter)
    guard let lock = wanted.lock else { return try make(wanted, key: open, interpreter) }
    // What was found out here is the same, unless it was found out anew since.
    if let found = try hold(open), found.lock == lock { return found }
    return try make(wanted, key: wanted.key(on: interpreter, isLocked: true), interpreter)
  }

  // MARK: finding

  /// The lock of a key. Waits for those who hold it.
  private func locked(_ key: String, exclusive: Bool) throws -> FileLock {
    var isTold = false
    while true {
      try context.checkCancelled()
      if let lock = try FileLock.take(cache.lockPath(key), exclusive: exclusive) { return lock }
      if !isTold { context.log("platform: waits for another attempt that makes the same environment") }
      isTold = true
      usleep(100_000)
    }
  }

  private func hold(_ key: String) throws -> EnvironmentLease? {
    let lock = try locked(key, exclusive: false)
    guard let record = cache.record(key) else { return nil }
    cache.touch(key)
    return EnvironmentLease(folder: cache.path(record) + "/env", lock: record.lock, hold: lock)
  }

  private func make(_ wanted: PythonEnvironment, key: String, _ interpreter: PythonInterpreter) throws -> EnvironmentLease {
    while true {
      if let found = try hold(key) { return found }
      let lock = try locked(key, exclusive: true)
      if let record = cache.record(key) {
        // Somebody else was quicker.
        if lock.share() { return EnvironmentLease(folder: cache.path(record) + "/env", lock: record.lock, hold: lock) }
        continue
      }
      let folder = try cache.begin(key)
      do {
        let made = try build(wanted, at: "\(cache.root)/\(folder)", interpreter)
        let bytes = ProgramWatch.folderBytes("\(cache.root)/\(folder)")
        try cache.publish(key, EnvironmentCache.Record(folder: folder, lock: made, bytes: bytes))
      } catch {
        EnvironmentCache.remove("\(cache.root)/\(folder)")
        throw error
      }
      // Who removes environments may come in between: then it is made again.
      if lock.share(), let record = cache.record(key) {
        cache.tidy(keeping: key)
        return EnvironmentLease(folder: cache.path(record) + "/env", lock: record.lock, hold: lock)
      }
    }
  }

  // MARK: making

  /// - Returns: what is installed in `<place>/env`.
  private func build(_ wanted: PythonEnvironment, at place: String, _ interpreter: PythonInterpreter) throws -> PythonLock {
    let isForPip = wanted.requirements.isEmpty && wanted.wheels.isEmpty
    context.log(isForPip ? "platform: prepares pip" : "platform: makes the environment\(wanted.name.isEmpty ? "" : " '\(wanted.name)'")")
    let (env, home) = (place + "/env", place + "/home")
    for folder in [place + "/wheels", env, home, home + "/tmp"] {
      guard mkdir(folder, 0o755) == 0, chmod(folder, 0o755) == 0 else { throw PlatformError.system("make a folder of an environment", folder) }
    }
    var lines = wanted.lock?.requirements(on: interpreter) ?? wanted.requirements
    let hashes = wanted.lock?.isHashed(on: interpreter) ?? false
    for wheel in wanted.wheels {
      try write(wheel, to: "\(place)/wheels/\(wheel.name)")
      lines.append("./wheels/\(wheel.name)" + (hashes ? " --hash=sha256:\(wheel.sha256)" : ""))
    }
    try Self.write(Data((lines.joined(separator: "\n") + "\n").utf8), to: place + "/requirements.txt")
    if let account {
      for folder in [env, home + "/tmp", home] {
        guard lchown(folder, account.user, account.group) == 0 else { throw PlatformError.system("give a folder to the program's user", folder) }
      }
    }
    let installer = isForPip ? nil : try installer(interpreter)
    var outcome = try run(interpreter.path, ["-I", "-m", "venv"] + (installer == nil ? [] : ["--without-pip"]) + [env], in: place)
    guard case .status(0) = outcome.exit, outcome.excess == nil else {
      throw PlatformError(
        .failed, "this worker cannot make a virtual environment: \(Self.reason(outcome))", hint: "Install python3-venv on every worker.",
        number: "PLT-4331")
    }
    if !lines.isEmpty {
      let arguments =
        ["-I", "-m", "pip"] + (installer == nil ? [] : ["--python", env + "/bin/python"]) + ["install", "--no-warn-script-location"]
        + (wanted.lock == nil ? [] : ["--no-deps"]) + ["--report", home + "/report.json", "-r", "requirements.txt"]
      outcome = try run((installer?.folder ?? env) + "/bin/python", arguments, in: place)
      withExtendedLifetime(installer) {}
      guard case .status(0) = outcome.exit, outcome.excess == nil else {
        throw PlatformError(
          .failed, "the packages of \(wanted.name.isEmpty ? "the task" : "the environment '\(wanted.name)'") cannot be installed: \(Self.reason(outcome))",
          hint: "See the task's log.", number: "PLT-4330")
      }
    }
    let report = try CommandFolder.read(home + "/report.json", limit: 64 << 20)
    var made = PythonLock(python: interpreter.version, platform: interpreter.platform, packages: [])
    if let lock = wanted.lock {
      made = lock
    } else if !report.isEmpty {
      made = try PythonLock(report: JSONValue(parsing: report), requirements: wanted.requirements, wheels: wanted.wheels, on: interpreter)
    }
    // From now on it is the worker's: programs share a user, and what one of them changes others would run.
    if account != nil {
      for words in [["/bin/chown", "-R", "-h", "-P", "0:0", "--", env], ["/bin/chmod", "-R", "u+rwX,go+rX,go-w,a-st", "--", env]] {
        let done = try ProgramRun.run(
          ChildProcess.Configuration(executable: words[0], arguments: Array(words.dropFirst()), environment: [:]), limits: CommandLimits(),
          folder: place, context: context, logs: false)
        guard case .status(0) = done.exit else { throw PlatformError(.unavailable, "an environment cannot be closed: \(Self.reason(done))") }
      }
    }
    for folder in [home, place + "/wheels"] { EnvironmentCache.remove(folder) }
    return made
  }

  /// An environment with nothing but pip, which installs into others: putting pip into each of them takes longer than most packages do.
  /// - Returns: nil where the interpreter's pip is too old for that.
  private func installer(_ interpreter: PythonInterpreter) throws -> EnvironmentLease? {
    let version = interpreter.version.split(separator: ".").prefix(2).compactMap { Int($0) }
    guard version.count == 2, version[0] > 3 || (version[0] == 3 && version[1] >= 11) else { return nil }
    let nothing = PythonEnvironment(name: "", requirements: [])
    return try make(nothing, key: nothing.key(on: interpreter), interpreter)
  }

  /// The Python of this machine, as it says itself.
  private func interpreter() throws -> PythonInterpreter {
    let path = try CommandExecutor.find("python3", account)
    let script = "import json, platform, sys, sysconfig; json.dump([sys.executable, platform.python_version(), sysconfig.get_platform()], sys.stdout)"
    let outcome = try run(path, ["-I", "-c", script], in: "/", logs: false)
    guard case .status(0) = outcome.exit, let facts = try? JSONValue(parsing: outcome.output.lastLines).arrayValue?.compactMap(\.stringValue), facts.count == 3
    else {
      throw PlatformError(
        .failed, "the Python of this worker does not work: \(Self.reason(outcome))", hint: "Install python3 on every worker.", number: "PLT-4331")
    }
    return PythonInterpreter(path: facts[0], version: facts[1], platform: facts[2])
  }

  private func run(_ executable: String, _ arguments: [String], in place: String, logs: Bool = true) throws -> ProgramRun.Outcome {
    var environment = ProcessInfo.processInfo.environment.filter { Self.variables.contains($0.key) }
    environment["PATH"] = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    environment["HOME"] = place + "/home"
    environment["TMPDIR"] = place + "/home/tmp"
    environment["LANG"] = "C.UTF-8"
    environment["PYTHONUNBUFFERED"] = "1"
    for name in ["PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT", "PIP_NO_CACHE_DIR"] { environment[name] = "1" }
    environment["PIP_PROGRESS_BAR"] = "off"
    environment[ProcessTree.ownerVariable] = FileManager.default.currentDirectoryPath
    environment[ProcessTree.unitVariable] = unit.text
    let configuration = ChildProcess.Configuration(
      executable: executable, arguments: arguments, environment: environment, directory: place, joinsError: true, deathSignal: SIGKILL, account: account)
    var limits = limits
    limits.diskBytes = cache.limitBytes
    return try ProgramRun.run(configuration, limits: limits, folder: place, context: context, logs: logs)
  }

  /// Why a step failed, in few words: what pip calls errors, otherwise the last that was printed.
  static func reason(_ outcome: ProgramRun.Outcome) -> String {
    if let excess = outcome.excess { return "it was ended: \(excess)" }
    if case .signal(let number) = outcome.exit { return "it was ended by signal \(number)" }
    return reason(outcome.output.lastLines)
  }

  static func reason(_ output: String) -> String {
    let lines = output.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    let errors = lines.filter { $0.hasPrefix("ERROR: ") }.map { String($0.dropFirst("ERROR: ".count)) }
    // The last one names the requirement; the first ones list versions.
    let told = errors.last ?? lines.last ?? "it printed nothing"
    return String(told.prefix(500))
  }

  // MARK: files

  private func write(_ wheel: PythonEnvironment.Wheel, to path: String) throws {
    if let data = wheel.data {
      guard let bytes = Data(base64Encoded: data), SHA256Digest.hex(bytes) == wheel.sha256 else {
        throw PlatformError(.invalidArgument, "the wheel '\(wheel.name)' did not arrive whole", number: "PLT-4332")
      }
      return try Self.write(bytes, to: path)
    }
    func bad(_ text: String) -> PlatformError {
      PlatformError(
        .invalidArgument, "the wheel '\(wheel.name)' \(text)",
        hint: "A run keeps the wheels that it was started with. Put a changed one under another version's name.", number: "PLT-4332")
    }
    let source = open(wheel.path ?? "", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard source >= 0 else { throw bad("cannot be read any more: \(String(cString: strerror(errno)))") }
    let input = FileHandle(fileDescriptor: source, closeOnDealloc: true)
    let target = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard target >= 0 else { throw PlatformError.system("write", path) }
    let output = FileHandle(fileDescriptor: target, closeOnDealloc: true)
    let digest = SHA256Digest()
    while let piece = try input.read(upToCount: 1 << 20), !piece.isEmpty {
      try context.checkCancelled()
      piece.withUnsafeBytes { digest.update($0) }
      try output.write(contentsOf: piece)
    }
    guard digest.finish().hexadecimal == wheel.sha256 else { throw bad("was changed since the run was started") }
    guard fchmod(target, 0o644) == 0 else { throw PlatformError.system("write", path) }
  }

  private static func write(_ data: Data, to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw PlatformError.system("write", path) }
    defer { close(descriptor) }
    try WholeWrite.write([UInt8](data), to: descriptor, path)
    guard fchmod(descriptor, 0o644) == 0 else { throw PlatformError.system("write", path) }
  }
}
