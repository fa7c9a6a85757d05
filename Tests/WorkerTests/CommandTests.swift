// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Testing

@testable import Worker

/// Output and values of people's programs.
@Suite struct CommandTests {
  @Test func outputBecomesLinesAndItsMiddleIsLeftOut() {
    var output = CommandOutput()
    #expect(output.feed(Array("one\r\ntwo\nthr".utf8)) == ["one", "two"])
    #expect(output.feed(Array("ee\n".utf8)) == ["three"])
    let long = String(repeating: "é", count: 4_000)
    let pieces = output.feed(Array((long + "\n").utf8))
    #expect(pieces.joined() == long && pieces.allSatisfy { $0.utf8.count <= CommandOutput.lineLimit + 3 })
    var lines = 0
    let block = Array((String(repeating: "x", count: 99) + "\n").utf8)
    for _ in 0..<(CommandOutput.limit / 100 + 5_000) { lines += output.feed(block).count }
    #expect(lines * 100 <= CommandOutput.limit && output.leftOut > 400_000)
    let rest = output.finish()
    #expect(rest.contains { $0.contains("bytes of output are left out") })
    #expect(rest.last == String(repeating: "x", count: 99))
    #expect(rest.map { $0.utf8.count + 1 }.reduce(0, +) < 2 * CommandOutput.tailLimit)
  }

  @Test func valuesAreTextOrJSON() throws {
    let text = "a=1=2\n\n{\"rows\": 5, \"list\": [1, 2]}\r\na=3\nempty=\n"
    #expect(try TaskValues.parse(Data(text.utf8)) == ["a": "3", "rows": 5, "list": [1, 2], "empty": ""])
    for bad in ["no equals", "{broken", "{\"a b\": 1}", "=x", "x=" + String(repeating: "y", count: 50_000), "[1]"] {
      #expect(throws: PlatformError.self, "\(bad.prefix(20))") { try TaskValues.parse(Data(bad.utf8)) }
    }
    #expect(throws: PlatformError.self) { try TaskValues.parse(Data([0xFF, 0x3D])) }
    let many = (0...TaskValues.countLimit).map { "k\($0)=1" }.joined(separator: "\n")
    #expect(throws: PlatformError.self) { try TaskValues.parse(Data(many.utf8)) }
  }

  @Test func excessIsToldWithItsFigures() {
    var limits = ProgramLimits(CommandLimits(), machineBytes: 8_000_000_000, diskSize: 1 << 40)
    #expect(limits.memoryBytes == 6_000_000_000 && limits.processes == 1000 && limits.diskBytes == nil && limits.diskReserveBytes == 1 << 30)
    #expect(ProgramLimits(CommandLimits(), machineBytes: 1, diskSize: 1_000_000).diskReserveBytes == 20_000)
    limits = ProgramLimits(CommandLimits(memoryBytes: 100, processes: 2, diskBytes: 5000), machineBytes: 8, diskSize: 1000)
    #expect(limits.excess(ProgramUsage(memoryBytes: 100, processes: 2, diskBytes: 5000)) == nil)
    #expect(
      limits.excess(ProgramUsage(memoryBytes: 2_340_000_000, processes: 1)) == "it used 2.3 GB of memory in 1 process; it may use 100 bytes")
    #expect(limits.excess(ProgramUsage(processes: 3)) == "it had 3 processes; it may have 2")
    #expect(limits.excess(ProgramUsage(diskBytes: 6000)) == "its folder took 6.0 kB; it may take 5.0 kB")
    limits.diskBytes = nil
    let much = ProgramLimits.reserveShare
    #expect(limits.excess(ProgramUsage(diskBytes: much, freeDiskBytes: 19)) != nil)
    #expect(limits.excess(ProgramUsage(diskBytes: much - 1, freeDiskBytes: 19)) == nil)
    #expect(limits.excess(ProgramUsage(diskBytes: much, freeDiskBytes: 20)) == nil)
  }

  @Test func memoryAndFilesAreCounted() throws {
    let own = try #require(ProgramWatch.privateBytes(getpid()))
    let block = UnsafeMutableRawPointer.allocate(byteCount: 64 << 20, alignment: 4096)
    memset(block, 1, 64 << 20)
    let more = try #require(ProgramWatch.privateBytes(getpid()))
    block.deallocate()
    // Other threads of the tests may give memory back meanwhile.
    #expect(more > own + (32 << 20) && more < own + (256 << 20))
    #expect(try #require(ProgramWatch.shareBytes(getpid())) > 1 << 20)
    #expect(ProgramWatch.privateBytes(Int32.max) == nil && ProgramWatch.shareBytes(Int32.max) == nil)
    let folder = NSTemporaryDirectory() + "usage-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder + "/inner", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data(repeating: 1, count: 3_000_000).write(to: URL(fileURLWithPath: folder + "/inner/file"))
    try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: "/usr")
    let bytes = ProgramWatch.folderBytes(folder)
    #expect(bytes >= 3_000_000 && bytes < 3_100_000 && ProgramWatch.folderBytes(folder + "-none") == 0)
  }

  @Test func aLinkIsNoFileOfValues() throws {
    let path = NSTemporaryDirectory() + "values-\(UUID().uuidString)"
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/etc/passwd")
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(throws: PlatformError.self) { try CommandFolder.read(path, limit: 100) }
    #expect(try CommandFolder.read(path + "-none", limit: 100).isEmpty)
  }

  /// Whose each part is, and that removal follows no link. As root, which the tests of this project run as in continuous integration.
  @Test(.enabled(if: geteuid() == 0, "only root can give files away"))
  func onlyTheHomeIsTheProgramsOwn() throws {
    let account = try #require(try CommandFolder.account())
    let folder = try CommandFolder(account: account)
    let values = try folder.write("values", Data("a=1".utf8))
    try folder.write("home/main.py", Data("pass".utf8))
    #expect(throws: PlatformError.self) { try folder.write("values", Data()) }
    try folder.handOver()
    func owner(_ path: String) -> UInt32? {
      var info = stat()
      return lstat(path, &info) == 0 ? info.st_uid : nil
    }
    #expect([folder.path, folder.path + "/modules"].map(owner) == [0, 0])
    #expect([folder.home, folder.home + "/tmp", folder.home + "/main.py", values].map(owner) == Array(repeating: account.user, count: 4))
    let outside = NSTemporaryDirectory() + "outside-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: outside) }
    try Data("kept".utf8).write(to: URL(fileURLWithPath: outside + "/file"))
    try FileManager.default.createSymbolicLink(atPath: folder.home + "/link", withDestinationPath: outside)
    folder.remove()
    #expect(owner(folder.path) == nil && FileManager.default.fileExists(atPath: outside + "/file"))
  }
}
