// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The data folder: who owns it, whether it is complete, and which version made it.
extension PrivatePostgres {
  /// Written after a complete initialisation: a data folder without it was left half-made.
  private static let marker = "initialised"
  /// Written before the initialisation begins: what it leaves half-made may be removed.
  private static let beginning = "initialising"

  /// `given` as an absolute path that a socket, a connection string and the server's own files can carry.
  static func usablePath(_ given: String) throws -> String {
    var path = given.hasPrefix("/") ? given : FileManager.default.currentDirectoryPath + "/" + given
    while path.hasSuffix("/") && path.count > 1 { path.removeLast() }
    guard (path + "/.s.PGSQL.5432").utf8.count <= 107 else {
      throw PlatformError(
        .badConfiguration, "the path of the Postgres socket is longer than 107 bytes: \(path)", hint: "Choose a shorter --data-dir.",
        number: "PLT-1104")
    }
    // A comma separates hosts in a connection string, and nothing escapes it there; the server's pid file has a line for the path.
    guard !path.utf8.contains(where: { $0 == UInt8(ascii: ",") || $0 < 32 || $0 == 127 }) else {
      throw PlatformError(
        .badConfiguration, "the path of the Postgres folder holds a comma or a control character: \(path.debugDescription)",
        hint: "Choose another --data-dir.", number: "PLT-1104")
    }
    return path
  }

  struct Account {
    var name: String
    var uid: UInt32
    var gid: UInt32
  }

  static func account(_ name: String) throws -> Account {
    guard let entry = getpwnam(name) else {
      throw PlatformError(
        .badConfiguration, "there is no user '\(name)' for the private Postgres to run as", hint: "sudo apt-get install postgresql",
        number: "PLT-1101")
    }
    return Account(name: name, uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
  }

  /// Makes the folder, private to the server's user, and checks that this user can reach it.
  static func prepare(_ directory: String, owner: Account?) throws {
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PlatformError(
        .badConfiguration, "cannot create the Postgres folder: \(error.localizedDescription)", number: "PLT-1104", path: directory)
    }
    guard let owner else { return }
    guard chown(directory, owner.uid, owner.gid) == 0, chmod(directory, 0o700) == 0 else {
      throw PlatformError(.badConfiguration, "cannot give the Postgres folder to user '\(owner.name)'", number: "PLT-1104", path: directory)
    }
    var parent = (directory as NSString).deletingLastPathComponent
    while parent != "/" && !parent.isEmpty {
      var info = stat()
      if stat(parent, &info) == 0 && info.st_uid != owner.uid && info.st_mode & 0o001 == 0 {
        throw PlatformError(
          .badConfiguration, "user '\(owner.name)' cannot enter \(parent), which the private Postgres needs",
          hint: "Choose a --data-dir outside of it, for example /var/lib/platform, or: chmod o+x \(parent)", number: "PLT-1104")
      }
      parent = (parent as NSString).deletingLastPathComponent
    }
  }

  static func initialise(_ data: String, bin: String, directory: String, owner: Account?) async throws {
    let done = directory + "/" + marker
    let files = FileManager.default
    let hasVersion = files.fileExists(atPath: data + "/PG_VERSION")
    if hasVersion && files.fileExists(atPath: done) { return }
    if files.fileExists(atPath: done) {
      throw PlatformError(
        .badConfiguration, "the Postgres data in \(data) is gone, but it was complete once",
        hint: "Restore it from a backup, or remove \(done) to begin with an empty database.", number: "PLT-1106")
    }
    // A folder that we began to make and never finished was never used: it is made anew. Any other one is not ours to remove.
    let begun = directory + "/" + beginning
    if files.fileExists(atPath: data) {
      guard files.fileExists(atPath: begun) else {
        throw PlatformError(
          .badConfiguration, "\(data) holds a Postgres data folder that this program did not make",
          hint: "If it is complete, create the empty file \(done); otherwise move it away.", number: "PLT-1106")
      }
      try files.removeItem(atPath: data)
    }
    try mark(begun)
    let arguments = [
      bin + "/initdb", "-D", data, "-U", user, "--auth-local=trust", "--auth-host=reject", "-E", "UTF8", "--locale=C.UTF-8",
    ]
    let made = try await capture(asUser(owner, arguments, deathSignal: true), within: .seconds(300))
    guard made.exit == .status(0) else {
      let last = made.output.split(separator: "\n").suffix(3).joined(separator: "; ")
      throw PlatformError(.badConfiguration, "initdb failed (\(made.exit)): \(last)", number: "PLT-1105", path: data)
    }
    try mark(done)
    unlink(begun)
  }

  /// Makes an empty file that survives a power cut.
  private static func mark(_ path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer {
      close(descriptor)
      close(folder)
    }
    guard descriptor >= 0, folder >= 0, fsync(descriptor) == 0, fsync(folder) == 0 else {
      throw PlatformError(.resourceExhausted, "cannot write \(path): \(String(cString: strerror(errno)))")
    }
  }

  /// Of the installed versions the one that made the data; nil when there is no data yet.
  /// - Throws: PLT-1104 when that version is not installed: another one cannot read the data.
  static func matchingBinaries(_ folders: [String], data: String, directory: String) async throws -> String? {
    let files = FileManager.default
    guard let content = files.contents(atPath: data + "/PG_VERSION") else { return nil }
    // What our own interrupted initialisation left is removed, whoever made it.
    if files.fileExists(atPath: directory + "/" + beginning) && !files.fileExists(atPath: directory + "/" + marker) { return nil }
    let wanted = String(decoding: content, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    var found: [String] = []
    for folder in folders {
      let version = try await majorVersion(folder)
      if version == wanted { return folder }
      found.append("\(version) (\(folder))")
    }
    throw PlatformError(
      .badConfiguration, "the Postgres data in \(data) was made by version \(wanted), and installed here is \(found.joined(separator: ", "))",
      hint: "Install PostgreSQL \(wanted) beside it (apt-get install postgresql-\(wanted)), convert the data with pg_upgrade, or begin anew "
        + "with another --data-dir.", number: "PLT-1104")
  }

  /// The major version as `PG_VERSION` spells it: `15`, and `9.6` before version 10.
  private static func majorVersion(_ folder: String) async throws -> String {
    let answer = try await capture([folder + "/postgres", "--version"], within: .seconds(20))
    guard answer.exit == .status(0), let match = answer.output.firstMatch(of: /\(PostgreSQL\) (\d+)(\.\d+)?/), let major = Int(match.1) else {
      throw PlatformError(
        .badConfiguration, "\(folder)/postgres does not tell its version (\(answer.exit)): \(answer.output.prefix(200))",
        hint: "Install PostgreSQL again.", number: "PLT-1101")
    }
    return major >= 10 ? "\(major)" : "\(major)\(match.2 ?? "")"
  }
}
