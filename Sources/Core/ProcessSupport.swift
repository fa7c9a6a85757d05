// SPDX-License-Identifier: Apache-2.0

import CSupport
import Foundation

/// Facts about this process and machine.
public enum ProcessSupport {
  /// Names the machine for as long as it runs: boot identifier and host name.
  public static let hostID: String = {
    let boot = FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id") ?? Data()
    return String(decoding: boot, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) + "@"
      + ProcessInfo.processInfo.hostName
  }()

  /// The path of the running program.
  public static let executablePath: String =
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]  // no /proc: as called

  /// Resident memory of `processID` in bytes, or nil when it has gone.
  public static func residentBytes(_ processID: Int32) -> Int64? {
    let bytes = ps_resident_bytes(processID)
    return bytes < 0 ? nil : bytes
  }

  public static func lineBufferStandardOutput() { ps_line_buffer_stdout() }

  /// Writing to a closed socket or pipe shall be an error, not the end of the process.
  public static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

  /// Milliseconds since the Unix epoch.
  public static var wallMilliseconds: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

  /// Free bytes of the file system that holds `path`.
  public static func freeBytes(at path: String) -> Int64? {
    var info = statvfs()
    return statvfs(path, &info) == 0 ? Int64(info.f_bavail) * Int64(info.f_frsize) : nil
  }
}
