// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// The folder of one program: its home, its values, and what the platform gives it.
///
/// Where programs run as another user, the folder itself stays the worker's. All programs of a machine run as that one user, so nothing is
/// written by a path through folders that are already the program's: another program could have put a link there, which root would follow.
/// Everything is written first, and `handOver` gives the home away.
struct CommandFolder {
  let path: String
  let owner: ChildProcess.Account?
  /// Folders in its home, each after the one that it is in.
  private var given: [String] = []
  var home: String { path + "/home" }
  /// What the program leaves here is kept.
  var artifacts: String { path + "/artifacts" }

  private static let prefix = "platform-task-"

  /// Whom programs run as: `nobody` where the worker is root, the worker's own user otherwise.
  static func account() throws -> ChildProcess.Account? {
    guard geteuid() == 0 else { return nil }
    guard let entry = getpwnam("nobody") else {
      throw PlatformError(
        .badConfiguration, "the worker runs as root, and there is no user 'nobody' to run programs as", hint: "Run workers as a user of their own.",
        number: "PLT-4209")
    }
    return ChildProcess.Account(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
  }

  init(account: ChildProcess.Account?) throws {
    Self.removeLeftovers()
    owner = account
    path = "\(Self.root)/\(Self.prefix)\(getpid())-\(RandomIdentifier.text())"
    // Others may walk through what stays the worker's, and not list it.
    for (folder, mode) in [(path, account == nil ? 0o700 : 0o711), (path + "/modules", 0o755), (home, 0o700), (home + "/tmp", 0o700), (artifacts, 0o700)] {
      guard mkdir(folder, mode_t(mode)) == 0, chmod(folder, mode_t(mode)) == 0 else {
        throw PlatformError(.unavailable, "cannot make \(folder): \(String(cString: strerror(errno)))")
      }
    }
  }

  private static var root: String {
    let given = NSTemporaryDirectory()
    return given.count > 1 && given.hasSuffix("/") ? String(given.dropLast()) : given
  }

  private func give(_ file: String) throws {
    guard let owner else { return }
    guard lchown(file, owner.user, owner.group) == 0 else {
      throw PlatformError(.internalError, "cannot give \(file) to the program's user: \(String(cString: strerror(errno)))")
    }
  }

  /// Writes a file for the program. To be called before `handOver`.
  /// - Parameter mode: what its owner may do; everyone else nothing.
  @discardableResult
  func write(_ name: String, _ data: Data, mode: mode_t = 0o600) throws -> String {
    let file = path + "/" + name
    let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw PlatformError(.unavailable, "cannot write \(file): \(String(cString: strerror(errno)))") }
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try handle.write(contentsOf: data)
    guard owner.map({ fchown(descriptor, $0.user, $0.group) }) ?? 0 == 0, fchmod(descriptor, mode) == 0 else {
      throw PlatformError(.internalError, "cannot give \(file) to the program's user: \(String(cString: strerror(errno)))")
    }
    return file
  }

  /// Makes a folder in the home, with those above it. To be called before `handOver`.
  /// - Parameter name: relative to the home, without `..`.
  mutating func makeFolder(_ name: String) throws {
    var place = home
    for part in name.split(separator: "/") {
      place += "/\(part)"
      guard !given.contains(place) else { continue }
      guard mkdir(place, 0o700) == 0 else { throw PlatformError(.unavailable, "cannot make \(place): \(String(cString: strerror(errno)))") }
      given.append(place)
    }
  }

  /// Gives the home to the program's user, when everything in it is written: the inner folder first.
  func handOver() throws {
    for folder in [artifacts, home + "/tmp"] + given.reversed() + [home] { try give(folder) }
  }

  /// The first bytes of an ordinary file that the program wrote. Links are not followed: they may lead to what only the platform reads.
  static func read(_ path: String, limit: Int) throws -> Data {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return Data() }
      throw PlatformError(.invalidArgument, "the task's values cannot be read", number: "PLT-4207")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      throw PlatformError(.invalidArgument, "the task's values are no ordinary file", number: "PLT-4207")
    }
    return try file.read(upToCount: limit) ?? Data()
  }

  func remove() { Self.remove(path) }

  /// The tree may change while it is removed: where that is another user's doing, `rm` does it, which opens each folder from the one above
  /// and follows no link. What is left is removed by the next program's start.
  static func remove(_ path: String) {
    guard geteuid() == 0 else {
      try? FileManager.default.removeItem(atPath: path)  // as above
      return
    }
    let ended = DispatchSemaphore(value: 0)
    let removal = ChildProcess.Configuration(executable: "/bin/rm", arguments: ["-rf", "--", path], environment: [:])
    // As above.
    let child = try? BlockingPool.wait(atMost: .seconds(30), for: "the removal of \(path)") { try await ChildProcess.start(removal) { _ in ended.signal() } }
    if child != nil { _ = ended.wait(timeout: .now() + 30) }
  }

  /// Folders of executors that were killed.
  private static func removeLeftovers() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] where name.hasPrefix(prefix) {  // unreadable: nothing to do
      guard let pid = Int32(name.dropFirst(prefix.count).prefix { $0 != "-" }), kill(pid, 0) != 0, errno == ESRCH else { continue }
      remove("\(root)/\(name)")
    }
  }
}
