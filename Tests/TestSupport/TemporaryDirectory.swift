// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A fresh folder that is removed when the value goes away.
public final class TemporaryDirectory: Sendable {
  public let path: String

  public init(_ label: String = "test") {
    path = NSTemporaryDirectory() + "platform-\(label)-\(UUID().uuidString.prefix(8))"
    // A folder that cannot be made shows at once as the test's own failure to write into it.
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // leftovers in the temporary folder harm nobody

  public func file(_ name: String) -> String { path + "/" + name }
}

/// The Python that has the peer packages (`deltalake`, `duckdb`, `transformers`, ...), or nil when none was installed.
public enum Peers {
  public static var python: String? {
    let environment = ProcessInfo.processInfo.environment
    let candidates = [environment["PLATFORM_PEERS"], NSHomeDirectory() + "/.cache/platform/peers"].compactMap { $0 }
    return candidates.map { $0 + "/bin/python" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Whether they include `gguf`, which came later than the others.
  public static var hasGGUF: Bool { has("gguf") }

  /// Whether they include a package that came later than the others.
  public static func has(_ package: String) -> Bool { python != nil && (try? run("import \(package)")) != nil }  // a failed import is the answer

  /// Whether they include `peft`, which came later than the others.
  public static var hasPEFT: Bool { has("peft") }

  /// A folder with the wheels of a notebook's kernel, when they were fetched.
  public static var kernelWheels: String? { file("wheels/.done").map { ($0 as NSString).deletingLastPathComponent } }

  /// A language model that was trained for long (SmolLM2-135M-Instruct, a GGUF file in Q4_1), when it was fetched.
  public static var trainedModel: String? { file("models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf") }

  private static func file(_ name: String) -> String? {
    guard let python else { return nil }
    let path = ((python as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent + "/" + name
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  /// Runs a Python script with the peers' interpreter; returns its standard output.
  /// A non-zero exit throws with the last lines of its standard error.
  public static func run(_ script: String, _ arguments: [String] = []) throws -> String {
    guard let python else { throw PeerError(text: "no peer environment; run make peers") }
    // Threads of some packages abort the interpreter while it tears itself down, after all that was asked for has been printed.
    let end = "\nimport os as _os, sys as _sys\n_sys.stdout.flush()\n_sys.stderr.flush()\n_os._exit(0)\n"
    var environment = ProcessInfo.processInfo.environment
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    let answer = try Program.run(python, ["-c", script + end] + arguments, environment: environment, timeout: 600)
    guard answer.status == 0 else { throw PeerError(text: "peer script ended with \(answer.status): \(answer.err.suffix(3000))") }
    return answer.out
  }

  public struct PeerError: Error, CustomStringConvertible {
    public var text: String
    public var description: String { text }
  }
}
