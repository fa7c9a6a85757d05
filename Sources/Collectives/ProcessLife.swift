// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Whether another process of this machine still runs.
enum ProcessLife {
  /// Start time in clock ticks since boot, lower 32 bits: tells a process from a later one with the same number.
  static func startTime(of process: Int32) -> UInt32? { facts(process)?.start }

  /// True when no such process exists, it is dead but not yet waited for, or the number belongs to a later process.
  /// - Parameter startTime: as read when it joined; 0: not known.
  static func hasEnded(_ process: Int32, startTime: UInt32) -> Bool {
    guard process > 0 else { return false }
    if kill(process, 0) != 0 && errno == ESRCH { return true }
    guard let facts = facts(process) else { return false }
    return facts.isDead || (startTime != 0 && facts.start != startTime)
  }

  /// Reads `/proc/PID/stat`; nil when it cannot be read.
  private static func facts(_ process: Int32) -> (isDead: Bool, start: UInt32)? {
    let descriptor = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = read(descriptor, &bytes, bytes.count)
    // The name stands in brackets and may hold anything; the state comes next, the start time is the 20th from there.
    guard count > 0, let end = bytes[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = bytes[(end + 1)..<count].split(separator: UInt8(ascii: " "))
    guard fields.count > 19, let state = fields[0].first, let start = UInt64(String(decoding: fields[19], as: UTF8.self))
    else { return nil }
    return ([UInt8(ascii: "Z"), UInt8(ascii: "X"), UInt8(ascii: "x")].contains(state), UInt32(truncatingIfNeeded: start))
  }
}
