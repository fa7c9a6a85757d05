// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// The folder of one program: its home, its values, and what the platform gives it. It belongs to the user that the program runs as,
/// and to nobody else.
struct CommandFolder {
  let path: String
  let owner: ChildProcess.Account?
  var home: String { path + "/home" }

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
    for folder in [path, path + "/modules", path + "/home", path + "/home/tmp"] {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
      try give(folder)
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

  @discardableResult
  func write(_ name: String, _ data: Data) throws -> String {
    let file = path + "/" + name
    try data.write(to: URL(fileURLWithPath: file))
    try give(file)
    return file
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

  func remove() {
    // Leftovers are removed by the next program's start.
    try? FileManager.default.removeItem(atPath: path)
  }

  /// Folders of executors that were killed.
  private static func removeLeftovers() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] where name.hasPrefix(prefix) {  // unreadable: nothing to do
      guard let pid = Int32(name.dropFirst(prefix.count).prefix { $0 != "-" }), kill(pid, 0) != 0, errno == ESRCH else { continue }
      try? FileManager.default.removeItem(atPath: "\(root)/\(name)")  // another user's: not ours to remove
    }
  }
}
