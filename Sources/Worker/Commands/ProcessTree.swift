// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Processes as `/proc` shows them. People's programs start others, also in groups of their own: all of them end with the attempt.
public enum ProcessTree {
  /// Variable that marks the processes of people's programs with the folder of the worker that started them.
  public static let ownerVariable = "PLATFORM_TASK_OWNER"
  /// And with the attempt that they are part of.
  static let unitVariable = "PLATFORM_TASK_UNIT"

  /// Parents by process.
  private static func parents() -> [Int32: Int32] {
    var found: [Int32: Int32] = [:]
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {  // no /proc: none
      guard let pid = Int32(entry), let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { continue }
      // The name, in parentheses, may hold anything.
      let text = String(decoding: bytes, as: UTF8.self)
      guard let close = text.lastIndex(of: ")") else { continue }
      let fields = text[text.index(after: close)...].split(separator: " ")
      if fields.count > 1, let parent = Int32(fields[1]) { found[pid] = parent }
    }
    return found
  }

  /// All processes below `root`, nearest first.
  static func descendants(of root: Int32) -> [Int32] {
    let children = Dictionary(grouping: parents(), by: \.value).mapValues { $0.map(\.key).sorted() }
    var found: [Int32] = []
    var seen: Set<Int32> = [root]
    var level = [root]
    while !level.isEmpty {
      level = level.flatMap { children[$0] ?? [] }.filter { seen.insert($0).inserted }
      found += level
    }
    return found
  }

  /// Ends what is below `root`. All of it is stopped first, again until nothing new appears: what multiplies as fast as it is killed cannot do
  /// so while it is stopped, because stopped processes count against its limit.
  /// - Parameter reaps: the processes were adopted by this one, and nobody else asks how they ended.
  static func killDescendants(of root: Int32, reaps: Bool = false) {
    var stopped: Set<Int32> = []
    for _ in 0..<50 {
      let new = descendants(of: root).filter { !stopped.contains($0) && !isZombie($0) }
      if new.isEmpty { break }
      for pid in new { kill(pid, SIGSTOP) }
      stopped.formUnion(new)
    }
    for _ in 0..<50 {
      let all = descendants(of: root)
      if reaps { for pid in all { waitpid(pid, nil, WNOHANG) } }
      let left = all.filter { !isZombie($0) }
      if left.isEmpty { return }
      for pid in left { kill(pid, SIGKILL) }
      usleep(10_000)
    }
  }

  private static func isZombie(_ pid: Int32) -> Bool {
    guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return true }
    let text = String(decoding: bytes, as: UTF8.self)
    guard let close = text.lastIndex(of: ")") else { return true }
    return text[text.index(after: close)...].split(separator: " ").first == "Z"
  }

  /// Ends programs of the worker in `directory` whose executor is gone: those of one attempt, or all that an earlier process of the
  /// worker has left behind. Blocks while it reads `/proc`.
  static func killOrphans(of directory: String, unit: UnitName? = nil) {
    if let place = ProgramGroup.place { ProgramGroup.sweep(place.folder) }
    let marks = ["\(ownerVariable)=\(directory)", unit.map { "\(unitVariable)=\($0.text)" }].compactMap { $0.map { Array($0.utf8) } }
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {  // no /proc: none
      guard let pid = Int32(entry), pid != getpid(), let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { continue }
      let variables = bytes.split(separator: 0)
      if marks.allSatisfy({ mark in variables.contains { $0.elementsEqual(mark) } }) { kill(pid, SIGKILL) }
    }
  }
}

/// An attempt as its processes carry it in their environment.
struct UnitName: Sendable, Equatable {
  var text: String
  init(_ unit: String, attempt: Int) { text = "\(unit)#\(attempt)" }
}
