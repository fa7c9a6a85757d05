// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// Looks at what a program uses, several times a second, and says when it is too much. Looking costs at most a twentieth of a processor.
struct ProgramWatch {
  private static let interval = 0.25
  /// Folders are larger than process tables, and grow more slowly.
  private static let diskInterval = 2.0
  private static let costFactor = 20.0

  let limits: ProgramLimits
  private let folder: String
  private var nextLook = Date.distantPast
  private var nextDiskLook = Date.distantPast
  private var usage = ProgramUsage()

  init(_ asked: CommandLimits, folder: String) {
    let size = Self.disk(folder)?.size ?? .max
    limits = ProgramLimits(asked, machineBytes: Int64(clamping: ProcessInfo.processInfo.physicalMemory), diskSize: size)
    self.folder = folder
  }

  /// What this process hands on to the program that it starts next: no core files, and a bound on what its user has in processes and threads
  /// altogether, so that a program which multiplies is not past counting at the next look.
  func boundChildren(of user: UInt32) {
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    _ = setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)  // lowering is always allowed
    var bound = rlimit()
    guard getrlimit(__rlimit_resource_t(__RLIMIT_NPROC.rawValue), &bound) == 0 else { return }
    let wanted = rlim_t(Self.threads(of: user) + limits.processesAtMost)
    // Root may raise it again for the next program; others keep what they had, and a program of theirs could raise its own.
    if geteuid() == 0 { bound.rlim_max = wanted }
    bound.rlim_cur = min(bound.rlim_max, wanted)
    _ = setrlimit(__rlimit_resource_t(__RLIMIT_NPROC.rawValue), &bound)  // what is refused leaves what there was
  }

  /// Threads of all processes of a user.
  private static func threads(of user: UInt32) -> Int {
    var total = 0
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] where Int32(entry) != nil {  // no /proc: none
      var info = stat()
      guard stat("/proc/\(entry)", &info) == 0, info.st_uid == user else { continue }
      total += (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(entry)/task"))?.count ?? 0  // it has ended
    }
    return total
  }

  /// A program is the first to go where the machine's memory ends.
  static func offer(_ process: Int32) {
    try? Data("1000".utf8).write(to: URL(fileURLWithPath: "/proc/\(process)/oom_score_adj"))  // it may have ended already
  }

  /// Seconds until it wants to look again.
  var wait: Double { max(0.01, nextLook.timeIntervalSinceNow) }

  /// Looks, when it is time to.
  /// - Parameter root: the process below which the program and all that it has started are found.
  /// - Returns: why the program must end.
  mutating func excess(below root: Int32) -> String? {
    let begin = Date()
    guard begin >= nextLook else { return nil }
    let processes = ProcessTree.descendants(of: root)
    usage.processes = processes.count
    usage.memoryBytes = processes.reduce(0) { $0 + (Self.privateBytes($1) ?? 0) }
    if usage.memoryBytes > limits.memoryBytes {
      // Copies made by fork share their memory until they write: counted exactly only when it matters, because that is slow.
      usage.memoryBytes = processes.reduce(0) { $0 + (Self.shareBytes($1) ?? Self.privateBytes($1) ?? 0) }
    }
    if begin >= nextDiskLook {
      usage.diskBytes = Self.folderBytes(folder)
      usage.freeDiskBytes = Self.disk(folder)?.free ?? .max
      nextDiskLook = Date().addingTimeInterval(max(Self.diskInterval, -begin.timeIntervalSinceNow * Self.costFactor))
    }
    nextLook = Date().addingTimeInterval(max(Self.interval, -begin.timeIntervalSinceNow * Self.costFactor))
    return limits.excess(usage)
  }

  /// Resident memory without files, also what was swapped out; nil when the process has gone.
  static func privateBytes(_ process: Int32) -> Int64? { sum(of: ["RssAnon:", "RssShmem:", "VmSwap:"], in: "/proc/\(process)/status") }

  /// The same, with memory that several processes share divided among them.
  static func shareBytes(_ process: Int32) -> Int64? {
    sum(of: ["Pss_Anon:", "Pss_Shmem:", "SwapPss:"], in: "/proc/\(process)/smaps_rollup")
  }

  /// Sum of lines such as `RssAnon:   128 kB`; nil when the file cannot be read.
  private static func sum(of names: Set<Substring>, in path: String) -> Int64? {
    guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
    var total: Int64 = 0
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let words = line.split(whereSeparator: \.isWhitespace)
      guard words.count >= 2, names.contains(words[0]), let kilobytes = Int64(words[1]) else { continue }
      total += kilobytes * 1024
    }
    return total
  }

  /// What the files below a folder take on the disk. Links are not followed; what disappears meanwhile, or lies too deep, is not counted.
  static func folderBytes(_ path: String) -> Int64 {
    let folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    return folder >= 0 ? bytes(in: folder, depth: 64) : 0
  }

  /// Closes `folder`.
  private static func bytes(in folder: Int32, depth: Int) -> Int64 {
    guard let stream = fdopendir(folder) else {
      close(folder)
      return 0
    }
    defer { closedir(stream) }
    var total: Int64 = 0
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
      var info = stat()
      guard name != ".", name != "..", fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      total += Int64(info.st_blocks) * 512
      guard info.st_mode & S_IFMT == S_IFDIR, depth > 0 else { continue }
      let inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      if inner >= 0 { total += bytes(in: inner, depth: depth - 1) }
    }
    return total
  }

  private static func disk(_ path: String) -> (size: Int64, free: Int64)? {
    var info = statvfs()
    guard statvfs(path, &info) == 0 else { return nil }
    let block = Int64(clamping: info.f_frsize)
    func bytes(_ blocks: UInt) -> Int64 {
      let (product, overflow) = Int64(clamping: blocks).multipliedReportingOverflow(by: block)
      return overflow ? .max : product
    }
    return (bytes(info.f_blocks), bytes(info.f_bavail))
  }
}
