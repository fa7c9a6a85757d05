// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Glibc

/// The control group of one program, with all that it starts: made before it starts, emptied by force when it has ended.
public final class ProgramGroup: Sendable {
  /// Where groups of programs are made, as a worker tells its executors.
  static let folderVariable = "PLATFORM_PROGRAMS_CGROUP"
  private static let prefix = "program-"

  let folder: String
  private let place: ControlGroups
  /// Files of a control group exist, and are written in one piece.
  typealias Write = @Sendable (_ path: String, _ text: String) throws -> Void
  private let write: Write

  // MARK: the worker

  /// Makes a group ready for groups of programs, when somebody said that there is one. What cannot be used is said, and is no reason not to work.
  public static func prepare(_ warn: (PlatformError) -> Void) {
    do {
      func text(_ path: String) -> String? { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } }
      let found = try ControlGroups.find(
        ProcessInfo.processInfo.environment[ControlGroups.variable], own: text("/proc/self/cgroup") ?? "", mounts: text("/proc/self/mountinfo") ?? "",
        read: text)
      guard let found else { return }
      let controllers = try prepare(found)
      // Executors inherit it; programs get an environment of their own.
      setenv(folderVariable, "\(controllers.joined(separator: ",")):\(found.folder)", 1)
    } catch {
      warn(PlatformError.from(error))
    }
  }

  /// A group that hands controllers on may hold no processes itself: what is in it moves into one below.
  /// - Returns: what can be limited below.
  static func prepare(_ groups: ControlGroups, write: Write = { try ProgramGroup.write($0, $1) }) throws -> [String] {
    sweep(groups.folder, all: true)
    let own = groups.folder + "/platform"
    guard mkdir(own, 0o755) == 0 || errno == EEXIST else { throw PlatformError.system("make", own) }
    for process in [getpid()] + processes(of: groups.folder) where !processes(of: own).contains(process) {
      // One that has ended meanwhile is in no group.
      do { try write(own + "/cgroup.procs", String(process)) } catch { if Glibc.kill(process, 0) == 0 { throw error } }
    }
    var usable: [String] = []
    for controller in groups.controllers {
      // A controller that a process below uses in a way that cannot be shared is left out.
      if (try? write(groups.folder + "/cgroup.subtree_control", "+\(controller)")) != nil { usable.append(controller) }
    }
    return usable
  }

  // MARK: an executor

  /// Where its worker lets this process make groups.
  static var place: ControlGroups? {
    guard let text = ProcessInfo.processInfo.environment[folderVariable], let colon = text.firstIndex(of: ":") else { return nil }
    let controllers = text[..<colon].split(separator: ",").map(String.init)
    return ControlGroups(folder: String(text[text.index(after: colon)...]), controllers: controllers)
  }

  init(in place: ControlGroups, write: @escaping Write = { try ProgramGroup.write($0, $1) }) throws {
    folder = "\(place.folder)/\(Self.prefix)\(getpid())-\(RandomIdentifier.text())"
    self.place = place
    self.write = write
    guard mkdir(folder, 0o755) == 0 else { throw PlatformError.system("make", folder) }
  }

  deinit { end() }

  /// Starts a process in this group: this one enters it, so that the other is there from its first moment, and leaves it again.
  func start<T>(_ body: () throws -> T) throws -> T {
    guard let own = FileManager.default.contents(atPath: "/proc/self/cgroup").flatMap({ ControlGroups.path(in: String(decoding: $0, as: UTF8.self)) }),
      let mounts = FileManager.default.contents(atPath: "/proc/self/mountinfo"),
      let home = ControlGroups.folder(of: own, String(decoding: mounts, as: UTF8.self))
    else { throw PlatformError(.unavailable, "the group of this process cannot be read", path: "/proc/self/cgroup") }
    try write(folder + "/cgroup.procs", "0")
    let result = Result { try body() }
    try write(home + "/cgroup.procs", "0")
    return try result.get()
  }

  /// Limits what is in it. To be called when this process, which is larger than many a program may be, has left it.
  func limit(_ limits: ProgramLimits) throws {
    for (file, text) in place.settings(limits) {
      do { try write("\(folder)/\(file)", text) } catch {
        // A system without swap has no such file.
        if file != "memory.swap.max" { throw error }
      }
    }
  }

  /// Whether the system has ended processes of it because they took more memory than they may.
  var isOutOfMemory: Bool { Self.count("oom_kill", in: folder + "/memory.events") > 0 }

  static func count(_ name: String, in path: String) -> Int {
    guard let bytes = FileManager.default.contents(atPath: path) else { return 0 }
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == name { return Int(words[1]) ?? 0 }
    }
    return 0
  }

  static func processes(of group: String) -> [Int32] {
    guard let bytes = FileManager.default.contents(atPath: group + "/cgroup.procs") else { return [] }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { Int32($0) }
  }

  /// Ends what is in it, however many they are and whatever they start, and removes it.
  func end() { Self.end(folder) }

  func kill() { Self.kill(folder) }

  private static func kill(_ folder: String) {
    // An old kernel has no such file.
    if (try? write(folder + "/cgroup.kill", "1")) == nil { for pid in processes(of: folder) { Glibc.kill(pid, SIGKILL) } }
  }

  static func end(_ folder: String) {
    kill(folder)
    // What was killed is gone within moments; what stays is removed by the next sweep.
    for _ in 0..<200 {
      if rmdir(folder) == 0 || errno == ENOENT { return }
      usleep(10_000)
    }
  }

  /// Ends groups of programs whose executor is gone.
  /// - Parameter all: also those of executors that there are.
  static func sweep(_ place: String, all: Bool = false) {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? [] where name.hasPrefix(prefix) {  // unreadable: nothing to do
      guard let pid = Int32(name.dropFirst(prefix.count).prefix { $0 != "-" }), all || (Glibc.kill(pid, 0) != 0 && errno == ESRCH) else { continue }
      end("\(place)/\(name)")
    }
  }

  static func write(_ path: String, _ text: String) throws {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw PlatformError.system("open", path) }
    defer { close(file) }
    let bytes = Array(text.utf8)
    guard Glibc.write(file, bytes, bytes.count) == bytes.count else { throw PlatformError.system("write", path) }
  }
}
