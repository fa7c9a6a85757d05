// SPDX-License-Identifier: Apache-2.0

import Core
import Egress
import Foundation
import Jobs
import Synchronization

/// Files of one commit of a repository, by the `git` command. Nothing is checked out: no hooks, filters, links or submodules are followed.
struct GitFetch: Sendable {
  static let timeLimit: Duration = .seconds(120)
  /// Bytes that a repository may take here, with its newest commit only.
  static let sizeLimit: Int64 = 512 << 20
  static let fileLimit = 1 << 20

  let source: GitSource
  /// Where https may lead.
  let egress: EgressRules

  /// - Parameter paths: of the files that are wanted.
  /// - Returns: the commit, and the files' texts.
  /// - Throws: `failed` PLT-4346 when it cannot be fetched, `notFound` PLT-4347 for a file that is not there or no text of at most 1 MB.
  func files(_ paths: [String]) async throws -> (commit: String, texts: [String: String]) {
    let folder = NSTemporaryDirectory() + "platform-git-\(RandomIdentifier.text())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }  // of no use to anyone
    try Data("[safe]\n\tdirectory = *\n".utf8).write(to: URL(fileURLWithPath: folder + "/config"))
    let repository = folder + "/repository"
    _ = try await git(["init", "-q", "--bare", "--template=", repository], folder)
    let (address, options) = try await place()
    let fetch = ["fetch", "-q", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--", address, source.reference.name]
    _ = try await git(options + ["-C", repository] + fetch, folder)
    let commit = try await text(["-C", repository, "rev-parse", "--verify", "FETCH_HEAD^{commit}"], folder)
    if case .commit(let wanted) = source.reference, wanted != commit { throw Self.failed("the repository answered with another commit") }
    var texts: [String: String] = [:]
    for path in paths { texts[path] = try await file(path, commit, repository, folder) }
    return (commit, texts)
  }

  /// What git is given. A name is resolved here, held against the rules, and git goes where it led.
  private func place() async throws -> (address: String, options: [String]) {
    guard !source.isLocal else { return (source.url, []) }
    let url = try EgressURL(source.url)
    guard let address = try await EgressClient(rules: egress).addresses(of: url.host).first else { throw Self.failed("'\(url.host)' has no address") }
    guard url.address == nil else { return (url.text, []) }
    let shown = address.description
    return (url.text, ["-c", "http.curloptResolve=\(url.host):\(url.port):\(shown.contains(":") ? "[\(shown)]" : shown)"])
  }

  private func file(_ path: String, _ commit: String, _ repository: String, _ folder: String) async throws -> String {
    func missing(_ text: String) -> PlatformError {
      PlatformError(.notFound, "'\(path.prefix(300))' \(text)", hint: "Paths are relative to the repository's root.", number: "PLT-4347")
    }
    guard let plain = GitSource.path(path) else { throw missing("is no path inside of a repository") }
    // `<mode> <type> <hash> <size>\t<path>`
    let entry = try await text(["-C", repository, "--literal-pathspecs", "ls-tree", "-l", commit, "--", plain], folder)
    let words = entry.split(separator: "\t").first?.split(separator: " ") ?? []
    guard words.count == 4 else { throw missing("is not in commit \(commit.prefix(12)) of \(source.url)") }
    guard words[0].hasPrefix("100"), words[1] == "blob" else { throw missing("is no ordinary file in commit \(commit.prefix(12))") }
    guard let size = Int(words[3]), size <= Self.fileLimit else { throw missing("is larger than 1 MB") }
    let bytes = try await git(["-C", repository, "cat-file", "blob", String(words[2])], folder)
    guard let text = String(data: bytes, encoding: .utf8), !text.contains("\0") else { throw missing("is no UTF-8 text") }
    return text
  }

  private static func failed(_ text: String) -> PlatformError {
    PlatformError(.failed, "the job's files cannot be fetched: \(text)", hint: "See git_source of the job.", number: "PLT-4346")
  }

  private func text(_ arguments: [String], _ folder: String) async throws -> String {
    String(decoding: try await git(arguments, folder), as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Variables of the coordinator that say how https is reached.
  private static let variables: Set<String> = [
    "PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR",
  ]

  /// Only the protocol that the address names, no settings of the machine, no questions, no redirects, no helpers.
  private func git(_ arguments: [String], _ folder: String) async throws -> Data {
    var environment = ProcessInfo.processInfo.environment.filter { Self.variables.contains($0.key) }
    environment["HOME"] = folder
    environment["LC_ALL"] = "C.UTF-8"
    environment["GIT_CONFIG_NOSYSTEM"] = "1"
    environment["GIT_CONFIG_GLOBAL"] = folder + "/config"
    environment["GIT_TERMINAL_PROMPT"] = "0"
    environment["GIT_ASKPASS"] = "/bin/false"
    environment["GIT_PROTOCOL_FROM_USER"] = "0"
    environment["GIT_ALLOW_PROTOCOL"] = source.isLocal ? "file" : "https"
    let settings = ["core.hooksPath=/dev/null", "http.followRedirects=false", "credential.helper=", "fetch.fsckObjects=true", "core.fsmonitor=false"]
    let options = settings.flatMap { ["-c", $0] } + arguments
    let out = Mutex(Data())
    let problems = Mutex(Data())
    let ended = Mutex<ChildProcess.Exit?>(nil)
    let limit = Self.fileLimit + 4096
    let configuration = ChildProcess.Configuration(executable: "/usr/bin/env", arguments: ["git"] + options, environment: environment, directory: folder)
    let child = try await ChildProcess.start(
      configuration, onOutput: { bytes in bytes.map { bytes in out.withLock { if $0.count < limit { $0.append(contentsOf: bytes) } } } },
      onError: { bytes in bytes.map { bytes in problems.withLock { if $0.count < 16_384 { $0.append(contentsOf: bytes) } } } },
      onExit: { exit in ended.withLock { $0 = exit } })
    let deadline = ContinuousClock.now + Self.timeLimit
    while true {
      if let exit = ended.withLock({ $0 }) {
        guard exit == .status(0) else {
          let said = problems.withLock { String(decoding: $0, as: UTF8.self) }.split(whereSeparator: \.isNewline).last.map(String.init) ?? "\(exit)"
          throw Self.failed(String(said.trimmingPrefix("fatal: ").prefix(300)))
        }
        return out.withLock { $0 }
      }
      let isTooLarge = try await BlockingPool.shared.run { Self.bytes(below: folder) > Self.sizeLimit }
      if isTooLarge || ContinuousClock.now > deadline || Task.isCancelled {
        child.signal(SIGKILL)
        try Task.checkCancellation()
        throw Self.failed(isTooLarge ? "the repository is larger than \(Self.sizeLimit >> 20) MiB" : "it took longer than \(Self.timeLimit)")
      }
      try? await Task.sleep(for: .milliseconds(20))  // cancelled: seen above
    }
  }

  private static func bytes(below folder: String) -> Int64 {
    var total: Int64 = 0
    guard let found = FileManager.default.enumerator(atPath: folder) else { return 0 }
    while found.nextObject() != nil { total += (found.fileAttributes?[.size] as? Int64) ?? Int64(clamping: (found.fileAttributes?[.size] as? UInt64) ?? 0) }
    return total
  }
}
