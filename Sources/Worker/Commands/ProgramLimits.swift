// SPDX-License-Identifier: Apache-2.0

import Core

/// What a program and all that it has started use at one moment.
struct ProgramUsage: Equatable {
  /// Memory of its own, without what processes share and without files that the system only keeps at hand.
  var memoryBytes: Int64 = 0
  var processes = 0
  /// Taken by the files of its folder.
  var diskBytes: Int64 = 0
  /// Left where its folder lies.
  var freeDiskBytes: Int64 = .max
}

/// What a program may use on this machine.
struct ProgramLimits: Equatable {
  /// Of everyone who does not ask for another number.
  static let processes = 1000
  /// A full disk harms all: whoever has written this much is ended before the reserve is gone.
  static let reserveShare: Int64 = 64 << 20

  var memoryBytes: Int64
  var processes: Int
  /// Nil: as much as there is, but for the reserve.
  var diskBytes: Int64?
  var diskReserveBytes: Int64

  /// - Parameters:
  ///   - machineBytes: the machine's memory; programs that do not ask get three quarters of it.
  ///   - diskSize: of the disk where folders of programs lie.
  init(_ asked: CommandLimits, machineBytes: Int64, diskSize: Int64) {
    memoryBytes = asked.memoryBytes ?? machineBytes / 4 * 3
    processes = asked.processes ?? Self.processes
    diskBytes = asked.diskBytes
    diskReserveBytes = min(1 << 30, diskSize / 50)
  }

  /// More than it may: what the system lets it have between two looks.
  var processesAtMost: Int { 2 * processes + 500 }

  /// Why the program must end, in words for its owner; nil when it may go on.
  func excess(_ usage: ProgramUsage) -> String? {
    if usage.memoryBytes > memoryBytes {
      return "it used \(Self.text(usage.memoryBytes)) of memory in \(usage.processes) process\(usage.processes == 1 ? "" : "es"); "
        + "it may use \(Self.text(memoryBytes))"
    }
    if usage.processes > processes { return "it had \(usage.processes) processes; it may have \(processes)" }
    if let diskBytes, usage.diskBytes > diskBytes {
      return "its folder took \(Self.text(usage.diskBytes)); it may take \(Self.text(diskBytes))"
    }
    if usage.freeDiskBytes < diskReserveBytes, usage.diskBytes >= Self.reserveShare {
      return "its folder took \(Self.text(usage.diskBytes)), and the worker's disk is nearly full"
    }
    return nil
  }

  /// The same, when the system has ended it.
  var outOfMemory: String { "it used up the \(Self.text(memoryBytes)) of memory that it may use" }

  /// As people write it, with one decimal place.
  static func text(_ bytes: Int64) -> String {
    var (value, unit) = (Double(bytes), "bytes")
    for larger in ["kB", "MB", "GB", "TB"] where value >= 1000 { (value, unit) = (value / 1000, larger) }
    return unit == "bytes" ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(unit)"
  }
}
