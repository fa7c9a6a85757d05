// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation
import TestSupport
import Testing

private let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let library = "/usr/aarch64-linux-gnu/lib/libc.a"
private let linker = "/usr/bin/aarch64-linux-gnu-ld"
private let emulator = "/usr/bin/qemu-aarch64"
private let clang = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/clang" }
  .first { FileManager.default.isExecutableFile(atPath: $0) }
private let isMissing = clang == nil || [library, linker, emulator].contains { !FileManager.default.fileExists(atPath: $0) }

/// The kernels for aarch64, in an emulator: processors with and without integer dot products.
@Suite(.serialized, .enabled(if: !isMissing, "needs clang, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user"))
struct CrossKernelTests {
  private static func build(_ name: String, _ arguments: [String], in folder: TemporaryDirectory) throws -> String {
    let kernels = sources.appendingPathComponent("Sources/CKernels").path
    let files = try FileManager.default.contentsOfDirectory(atPath: kernels).filter { $0.hasSuffix(".c") }.sorted().map { "\(kernels)/\($0)" }
    let output = folder.file(name)
    let flags = ["-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wall", "-Wextra", "-Werror", "-I\(kernels)/include"]
    let program = sources.appendingPathComponent("Tests/Kernels/packed.c").path
    let built = try Program.run(try #require(clang), arguments + flags + files + [program, "-lm", "-o", output])
    try #require(built.status == 0, "\(built.all)")
    return output
  }

  @Test func packedWeightsHaveTheSameBitsOnAarch64() throws {
    let folder = TemporaryDirectory("kernels")
    let own = try Program.run(try Self.build("own", [], in: folder))
    #expect(own.status == 0, "\(own.all)")
    let panels = try #require(own.out.split(separator: "\n").last { $0.hasPrefix("panels ") })
    let other = try Self.build("other", ["--target=aarch64-linux-gnu", "--ld-path=\(linker)", "-static"], in: folder)
    for (processor, isa) in [("cortex-a53", Int32(PK_ISA_NEON)), ("max", Int32(PK_ISA_NEON_DOT))] {
      let said = try Program.run(emulator, ["-cpu", processor, other])
      #expect(said.status == 0, "\(processor): \(said.all)")
      #expect(said.out.contains("isa \(isa) compared"), "\(processor): \(said.all)")
      #expect(said.out.contains(panels), "\(processor): other panels than \(panels): \(said.all)")
    }
  }
}
