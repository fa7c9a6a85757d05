// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Jobs
import Pipelines
import Scheduling
import Synchronization

/// Starts runs of stored jobs and of settings that were sent along.
final class JobLauncher: Sendable {
  /// Bytes of a program or statement that a task names in a volume.
  static let fileLimit = 1 << 20
  /// Bytes of a wheel that a task names in a volume.
  static let wheelLimit = 2 << 30

  struct Request {
    var settings: JSONValue
    var attachments: [String: String] = [:]
    var job: Int64?
    var parameters: [String: String] = [:]
    var only: [String] = []
    /// Unique for ever; the same one starts one run.
    var key: String?
    var queues: Bool?
    var type = RunOrigin.Kind.job
    var trigger = "ONE_TIME"
    var parent: String?
    /// Rights of a run that is no job's, besides the user's.
    var grants: [String: JobRight] = [:]
    var user: String
  }

  let store: JobStore
  let catalog: CatalogStore
  let waiters: RunWaiters
  let gitFolders: GitFolders
  /// The runner is made after the planners that start runs.
  private let runner = Mutex<JobRunner?>(nil)

  init(store: JobStore, catalog: CatalogStore, waiters: RunWaiters, gitFolders: GitFolders) {
    self.gitFolders = gitFolders
    self.store = store
    self.catalog = catalog
    self.waiters = waiters
  }

  func use(_ runner: JobRunner) { self.runner.withLock { $0 = runner } }

  func currentRunner() throws -> JobRunner {
    guard let runner = runner.withLock({ $0 }) else { throw PlatformError(.unavailable, "the coordinator is starting") }
    return runner
  }

  // MARK: files

  /// Texts of files in volumes, git folders and a repository, read now: what is changed later does not change the run.
  /// - Parameter user: whose git credentials are used.
  /// - Returns: the commit besides, when there are files of a repository.
  func files(_ paths: [String], git: GitSource?, user: String) async throws -> (texts: [String: String], commit: String?) {
    let prefix = "git:"
    let isInWorkspace = WorkspacePath.isOne
    let folderPrefix = "folder:"
    let folders = paths.filter { $0.hasPrefix(folderPrefix) }.prefix(20).map { String($0.dropFirst(folderPrefix.count)) }
    let paths = paths.filter { !$0.hasPrefix(folderPrefix) }
    var texts = try await files(paths.filter { !$0.hasPrefix(prefix) && !isInWorkspace($0) })
    texts.merge(try await gitFolders.texts(Array(paths.filter(isInWorkspace).prefix(1000)), user: user)) { $1 }
    for folder in folders where !folder.hasPrefix(prefix) {
      let files = isInWorkspace(folder) ? try await gitFolders.files(below: folder, user: user) : try await volumeFiles(below: folder)
      texts[folderPrefix + folder] = try files.text
    }
    let wanted = paths.filter { $0.hasPrefix(prefix) }.prefix(1000).map { String($0.dropFirst(prefix.count)) }
    let wantedFolders = folders.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    guard !(wanted.isEmpty && wantedFolders.isEmpty), let git else { return (texts, nil) }
    let source = try await gitFolders.allowed(git, of: "the repository of git_source")
    let found = try await GitFetch(
      source: source, egress: gitFolders.egress, signIn: gitFolders.credentials.signIn(to: source.url, user: user)
    ).files(wanted, folders: wantedFolders)
    for (path, text) in found.texts { texts[prefix + path] = text }
    for (path, text) in found.folders { texts[folderPrefix + prefix + path] = text }
    return (texts, found.commit)
  }

  /// Texts of files in volumes.
  /// - Throws: `notFound`, `invalidArgument` PLT-4218 for a file that is no text of at most 1 MB.
  private func files(_ paths: [String]) async throws -> [String: String] {
    var found: [String: String] = [:]
    for path in paths.prefix(1000) {
      let plain = path.hasPrefix("dbfs:") ? String(path.dropFirst("dbfs:".count)) : path
      let real = try await Self.existing(catalog.volumePath(plain))
      found[path] = try await BlockingPool.shared.run { plain.hasSuffix(".whl") ? try Self.hash(real, shown: plain) : try Self.text(real, shown: plain) }
    }
    return found
  }

  /// The path of a notebook may leave its ending out.
  private static func existing(_ path: String) async throws -> String {
    guard PathText.components(path).last?.contains(".") == false else { return path }
    return try await BlockingPool.shared.run {
      ([path] + [".ipynb", ".py"].map { path + $0 }).first { FileManager.default.fileExists(atPath: $0) } ?? path
    }
  }

  /// All files of a folder of a volume, but what dbt and Python make themselves.
  private func volumeFiles(below folder: String) async throws -> ProgramFiles {
    let plain = folder.hasPrefix("dbfs:") ? String(folder.dropFirst("dbfs:".count)) : folder
    let real = try await catalog.volumePath(plain)
    return try await BlockingPool.shared.run {
      guard let all = FileManager.default.enumerator(atPath: real), (try? FileManager.default.contentsOfDirectory(atPath: real)) != nil else {
        throw PlatformError(.notFound, "there is no folder '\(folder.prefix(300))'", hint: "Copy it with 'platform fs cp'.", number: "PLT-4218")
      }
      var files = ProgramFiles()
      while let path = all.nextObject() as? String {
        let name = PathText.components(path).last ?? ""
        if name.hasPrefix(".git") || ["target", "logs", "dbt_packages", "__pycache__"].contains(name) {
          all.skipDescendants()
          continue
        }
        guard all.fileAttributes?[.type] as? FileAttributeType == .typeRegular else { continue }
        guard (all.fileAttributes?[.size] as? NSNumber)?.intValue ?? 0 <= ProgramFiles.limit.bytes else { throw ProgramFiles.tooLarge }
        let descriptor = open("\(real)/\(path)", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { continue }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try files.add(path, file.read(upToCount: ProgramFiles.limit.bytes + 1) ?? Data())
      }
      return files
    }
  }

  /// A wheel is read when it is installed; the run knows it by its hash.
  private static func hash(_ real: String, shown: String) throws -> String {
    var info = stat()
    guard lstat(real, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      throw PlatformError(.notFound, "there is no file '\(shown.prefix(300))'", hint: "Copy it with 'platform fs cp'.", number: "PLT-4218")
    }
    guard info.st_size <= wheelLimit else {
      throw PlatformError(.invalidArgument, "'\(shown.prefix(300))' is larger than \(wheelLimit >> 30) GiB", number: "PLT-4218")
    }
    return try "sha256:" + SHA256Digest.hex(contentsOf: real)
  }

  private static func text(_ real: String, shown: String) throws -> String {
    let descriptor = open(real, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw PlatformError(.notFound, "there is no file '\(shown.prefix(300))'", hint: "Copy it with 'platform fs cp'.", number: "PLT-4218")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    let data = try file.read(upToCount: fileLimit + 1) ?? Data()
    guard data.count <= fileLimit, let text = String(data: data, encoding: .utf8), !text.contains("\0") else {
      throw PlatformError(.invalidArgument, "'\(shown.prefix(300))' is no UTF-8 text of at most 1 MB", number: "PLT-4218")
    }
    return text
  }

  // MARK: starting

  /// All that is wrong, as one error with its hints: clients show one message.
  static func joined(_ errors: [PlatformError]) -> PlatformError? {
    guard var first = errors.first else { return nil }
    first.message = errors.map { $0.hint.isEmpty ? $0.message : "\($0.message). \($0.hint)" }.joined(separator: "; ")
    first.hint = ""
    return first
  }

  /// Stores a run and hands it to the scheduler.
  /// - Returns: the run's number, and whether it is new: with a `key` that was used before it is the run of that time.
  func start(_ request: Request) async throws -> (run: String, created: Bool) {
    if let key = request.key, try await store.run(withKey: key) != nil {
      // Whether it was deleted is said there too.
      return (try await store.create(RunSpec(id: "", name: "", idempotencyKey: key, tasks: []), submittedBy: request.user).runID, false)
    }
    var attachments = request.attachments
    var commit: String?
    var parsed = JobSettings.run(request.settings, parameters: request.parameters, attachments: attachments, only: request.only)
    // Notebooks name further ones.
    for _ in 0..<NotebookRounds.limit where !parsed.missingFiles.isEmpty {
      // What a job does, it does in its owner's name.
      var user = request.user
      if let job = request.job { user = try await store.rights(ofJob: job).owner }
      // All files are of one commit.
      let git = commit.map { commit in parsed.git.map { GitSource(url: $0.url, reference: .commit(commit)) } } ?? parsed.git
      let found = try await files(parsed.missingFiles, git: git, user: user)
      attachments.merge(found.texts) { $1 }
      commit = found.commit ?? commit
      parsed = JobSettings.run(request.settings, parameters: request.parameters, attachments: attachments, only: request.only)
    }
    if let error = Self.joined(parsed.errors) { throw error }
    guard var spec = parsed.run else { throw PlatformError(.internalError, "the settings gave no run") }
    spec.idempotencyKey = request.key
    spec.user = request.user
    spec.facts = ["job.name": spec.name, "job.trigger.type": request.trigger == "ONE_TIME" ? "manual" : request.trigger.lowercased()]
    var origin = RunOrigin()
    origin.job = request.job
    origin.type = request.type
    origin.settings = Self.settings(request.settings, commit: commit)
    origin.parameters = request.parameters
    origin.trigger = request.trigger
    origin.parent = request.parent
    origin.grants = request.grants
    if let job = request.job {
      spec.facts?["job.id"] = String(job)
      spec.job = "job:\(job)"
      spec.maxConcurrentRuns = spec.maxConcurrentRuns ?? 1
      spec.queues = request.queues ?? spec.queues ?? false
    } else {
      spec.maxConcurrentRuns = nil
    }
    let (run, created) = try await store.create(spec, submittedBy: request.user, origin: origin)
    if created {
      spec.id = run
      try await currentRunner().submit(.runSubmitted(spec))
    }
    return (run, created)
  }

  /// What is shown of a run says which commit its files are of.
  private static func settings(_ settings: JSONValue, commit: String?) -> JSONValue {
    guard let commit, var members = settings.objectValue, var source = members["git_source"]?.objectValue else { return settings }
    source["git_snapshot"] = ["used_commit": .string(commit)]
    members["git_source"] = .object(source)
    return .object(members)
  }

  /// Cancels a run and what its tasks have started.
  func cancel(_ run: String, level: Int = 0) async throws {
    try await currentRunner().submit(.runCancelRequested(run: run))
    guard level < JobStore.depthLimit else { return }
    for child in try await store.activeChildren(of: run) { try await cancel(child, level: level + 1) }
  }

  // MARK: repairs

  /// Hands a noted repair to the scheduler.
  func repair(_ run: String, number: Int, tasks rerun: [String]) async throws {
    let (record, tasks) = try await store.runAndTasks(of: run)
    guard let record else { throw JobStore.noRun(number: Int64(run) ?? 0) }
    try await currentRunner().submit(.runRepaired(record, tasks: tasks, rerun: rerun, number: number))
  }

  /// What the process before this one accepted and did not begin.
  func resume() async throws {
    for repair in try await store.unscheduledRepairs() { try await self.repair(repair.run, number: repair.number, tasks: repair.tasks) }
  }
}

extension JobStore {
  static func noRun(number: Int64) -> PlatformError {
    PlatformError(.notFound, "Run \(number) does not exist.", hint: "List them with 'platform runs list'.", number: "PLT-1304")
  }
}
