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

  /// The address of this machine that the way to `host` starts from, as other nodes can reach it; nil when there is no such way.
  public static func ownAddress(towards host: String, port: Int) -> String? {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    hints.ai_family = AF_INET
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &found) == 0, let found else { return nil }
    defer { freeaddrinfo(found) }
    // Connecting such a socket sends nothing: it only chooses the way.
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var own = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    guard connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0,
      withUnsafeMutablePointer(to: &own, { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) } }) == 0
    else { return nil }
    var text = [CChar](repeating: 0, count: Int(INET_ADDRSTRLEN))
    guard inet_ntop(AF_INET, &own.sin_addr, &text, socklen_t(text.count)) != nil else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

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
