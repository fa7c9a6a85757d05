// SPDX-License-Identifier: Apache-2.0

import Core

/// The control group (cgroup v2) below which a worker may make others for people's programs, and what it may limit there. A value, decided from
/// what the system's files say.
///
/// Whoever starts the worker says that there is one: root could write into any group, also into those that systemd looks after.
struct ControlGroups: Equatable {
  /// `PLATFORM_CGROUP` of a worker: `delegated` for the group that it was started in, or the folder of another one.
  static let variable = "PLATFORM_CGROUP"
  /// What limits exist here, in the order in which they are turned on.
  static let known = ["memory", "pids", "cpu"]

  /// Its folder.
  var folder: String
  /// Of `known`, those that it may hand on.
  var controllers: [String]

  /// - Parameters:
  ///   - wanted: what `PLATFORM_CGROUP` says.
  ///   - own: the text of `/proc/self/cgroup`.
  ///   - mounts: the text of `/proc/self/mountinfo`.
  ///   - read: the text of a file; nil when it is not there.
  /// - Returns: nil when nobody asked for it.
  /// - Throws: `badConfiguration` PLT-4492 when there is none.
  static func find(_ wanted: String?, own: String, mounts: String, read: (String) -> String?) throws -> ControlGroups? {
    guard let wanted, !wanted.isEmpty else { return nil }
    func none(_ why: String) -> PlatformError {
      PlatformError(
        .badConfiguration, "\(variable)=\(wanted): \(why)",
        hint: "Start the worker in a group of its own (Delegate=yes of a systemd unit), or leave \(variable) out: the worker then watches programs itself.",
        number: "PLT-4492")
    }
    var folder = wanted
    if wanted == "delegated" {
      guard let path = Self.path(in: own) else { throw none("this process is in no group of cgroup v2") }
      guard let found = Self.folder(of: path, mounts) else { throw none("the group \(path) is mounted nowhere") }
      folder = found
    }
    while folder.count > 1 && folder.hasSuffix("/") { folder.removeLast() }
    guard folder.hasPrefix("/"), !folder.split(separator: "/").contains("..") else { throw none("it is no absolute path") }
    guard let controllers = read(folder + "/cgroup.controllers") else { throw none("\(folder) is no group of cgroup v2") }
    let there = Set(controllers.split(whereSeparator: \.isWhitespace).map(String.init))
    return ControlGroups(folder: folder, controllers: known.filter(there.contains))
  }

  /// The group of cgroup v2 in `/proc/PID/cgroup`: its line has the number 0 and names no controllers.
  static func path(in text: String) -> String? {
    text.split(separator: "\n").first { $0.hasPrefix("0::/") }.map { String($0.dropFirst("0::".count)) }
  }

  /// Where a group can be reached. A line is `ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS .. - TYPE ..`.
  static func folder(of path: String, _ mounts: String) -> String? {
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      guard let dash = words.firstIndex(of: "-"), dash + 1 < words.count, words[dash + 1] == "cgroup2", words.count > 5 else { continue }
      let (root, point) = (words[3] == "/" ? "" : words[3], words[4] == "/" ? "" : words[4])
      guard path == root || path.hasPrefix(root + "/") else { continue }
      let rest = String(path.dropFirst(root.count))
      return point + (rest == "/" ? "" : rest)
    }
    return nil
  }

  /// What the files of a program's group hold.
  /// - Parameter limits: of the program.
  func settings(_ limits: ProgramLimits) -> [(file: String, text: String)] {
    var all: [(String, String)] = []
    if controllers.contains("memory") {
      // One that is over ends whole: half a program helps nobody.
      all += [("memory.max", String(limits.memoryBytes)), ("memory.swap.max", "0"), ("memory.oom.group", "1")]
    }
    // As many as the system lets it have between two looks of the watch, which says when they were too many.
    if controllers.contains("pids") { all.append(("pids.max", String(limits.processesAtMost))) }
    // Others, of whom the platform is one, have 100.
    if controllers.contains("cpu") { all.append(("cpu.weight", "20")) }
    return all
  }
}
