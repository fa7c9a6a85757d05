// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The `git` command with a home of its own: only one protocol, no settings of the machine, no questions, no redirects, no helpers. It stays below limits
/// of time and of bytes on disk.
struct GitCommand: Sendable {
  static let timeLimit: Duration = .seconds(120)
  /// Bytes that a repository may take here, with one commit only.
  static let sizeLimit: Int64 = 512 << 20
  /// Bytes of what it prints; more is cut off.
  static let outputLimit = (1 << 20) + 4096

  /// Its home. What it fetches is in it too.
  let folder: String
  /// Whether it reads a folder of this machine, or https.
  let isLocal: Bool
  /// What cannot be had when it fails.
  let subject: String
  /// With what it signs in, and where.
  let signIn: GitSignIn?

  /// Runs `body` with a home that is removed afterwards.
  static func use<T: Sendable>(
    below parent: String, isLocal: Bool, for subject: String, signIn: GitSignIn? = nil, _ body: (GitCommand) async throws -> T
  ) async throws -> T {
    let folder = "\(parent)/platform-git-\(RandomIdentifier.text())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }  // of no use to anyone
    try Data("[safe]\n\tdirectory = *\n".utf8).write(to: URL(fileURLWithPath: folder + "/config"))
    if let signIn { try writeCredential(signIn, in: folder) }
    return try await body(GitCommand(folder: folder, isLocal: isLocal, subject: subject, signIn: signIn))
  }

  /// The password lies in a file of the command's own home, so that it is in no argument, variable or address.
  private static func writeCredential(_ signIn: GitSignIn, in folder: String) throws {
    let path = folder + "/credential"
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw PlatformError.system("write", path) }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try file.write(contentsOf: Data("username=\(signIn.username)\npassword=\(signIn.password)\n".utf8))
  }

  /// Hands the file's lines to git when it asks for that one place.
  private var credentialOptions: [String] {
    guard let signIn else { return [] }
    return ["credential.\(signIn.place).helper=!f() { test \"$1\" = get && cat \"$HOME/credential\"; }; f"]
  }

  /// - Throws: `failed` PLT-4346 with git's reason.
  func failed(_ text: String) -> PlatformError {
    var hint = "Check the address, and that it can be read without a password; one for its host is kept by 'platform git-credentials create'."
    var text = text
    if let signIn {
      hint = "Check the address, and the git credential for \(signIn.place): 'platform git-credentials list'."
      text = text.replacing(signIn.password, with: "[REDACTED]")
    }
    return PlatformError(.failed, "\(subject) cannot be fetched: \(text)", hint: hint, number: "PLT-4346")
  }

  func text(_ arguments: [String]) async throws -> String {
    String(decoding: try await run(arguments), as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Variables of the coordinator that say how https is reached.
  private static let variables: Set<String> = [
    "PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR",
  ]

  /// - Throws: `failed` PLT-4346 with git's reason.
  func run(_ arguments: [String]) async throws -> Data {
    var environment = ProcessInfo.processInfo.environment.filter { Self.variables.contains($0.key) }
    environment["HOME"] = folder
    environment["LC_ALL"] = "C.UTF-8"
    environment["GIT_CONFIG_NOSYSTEM"] = "1"
    environment["GIT_CONFIG_GLOBAL"] = folder + "/config"
    environment["GIT_TERMINAL_PROMPT"] = "0"
    environment["GIT_ASKPASS"] = "/bin/false"
    environment["GIT_PROTOCOL_FROM_USER"] = "0"
    environment["GIT_ALLOW_PROTOCOL"] = isLocal ? "file" : "https"
    let settings = ["core.hooksPath=/dev/null", "http.followRedirects=false", "credential.helper=", "fetch.fsckObjects=true", "core.fsmonitor=false"]
    let options = (settings + credentialOptions).flatMap { ["-c", $0] } + arguments
    let out = Mutex(Data())
    let problems = Mutex(Data())
    let ended = Mutex<ChildProcess.Exit?>(nil)
    let configuration = ChildProcess.Configuration(executable: "/usr/bin/env", arguments: ["git"] + options, environment: environment, directory: folder)
    let child = try await ChildProcess.start(
      configuration, onOutput: { bytes in bytes.map { bytes in out.withLock { if $0.count < Self.outputLimit { $0.append(contentsOf: bytes) } } } },
      onError: { bytes in bytes.map { bytes in problems.withLock { if $0.count < 16_384 { $0.append(contentsOf: bytes) } } } },
      onExit: { exit in ended.withLock { $0 = exit } })
    let deadline = ContinuousClock.now + Self.timeLimit
    while true {
      if let exit = ended.withLock({ $0 }) {
        guard exit == .status(0) else {
          let said = problems.withLock { String(decoding: $0, as: UTF8.self) }.split(whereSeparator: \.isNewline).last.map(String.init) ?? "\(exit)"
          throw failed(String(said.trimmingPrefix("fatal: ").prefix(300)))
        }
        return out.withLock { $0 }
      }
      let folder = folder
      let isTooLarge = try await BlockingPool.shared.run { Self.bytes(below: folder) > Self.sizeLimit }
      if isTooLarge || ContinuousClock.now > deadline || Task.isCancelled {
        child.signal(SIGKILL)
        try Task.checkCancellation()
        throw failed(isTooLarge ? "the repository is larger than \(Self.sizeLimit >> 20) MiB" : "it took longer than \(Self.timeLimit)")
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
