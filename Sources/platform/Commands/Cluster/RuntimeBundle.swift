// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Provisioning

/// What a node needs of us: this program, the libraries that no package of its system has, DuckDB and the encoder.
struct RuntimeBundle: Sendable {
  /// SHA-256 of the list of all files with theirs.
  let id: String
  /// A folder with links to all of it; it goes away with `close`.
  let folder: String
  let bytes: Int64
  let needs: Preflight.Needs

  /// Collects it from this machine.
  static func make() async throws -> RuntimeBundle {
    let folder = NSTemporaryDirectory() + "platform-bundle-" + UUID().uuidString.prefix(8)
    let manager = FileManager.default
    for name in ["/bin", "/lib/platform"] { try manager.createDirectory(atPath: folder + name, withIntermediateDirectories: true) }
    let program = ProcessSupport.executablePath
    try manager.createSymbolicLink(atPath: folder + "/bin/platform", withDestinationPath: program)
    for (name, what) in [("duckdb/libduckdb.so", "DuckDB's library"), ("models/all-MiniLM-L6-v2", "the MiniLM encoder")] {
      let found = try InstalledFiles.require(name, what: what)
      let top = (found as NSString).deletingLastPathComponent
      try manager.createSymbolicLink(atPath: folder + "/lib/platform/" + name.prefix { $0 != "/" }, withDestinationPath: top)
    }
    var packages: [String: String] = [:]
    let libraries = try await libraries(of: program)
    let owners = try await owners(of: libraries.map(\.path))
    for (name, path) in libraries {
      if let package = owners[path] {
        packages[name] = package
      } else {
        try manager.createSymbolicLink(atPath: folder + "/lib/" + name, withDestinationPath: path)
      }
    }
    let libc = try await SSHHost.run("/usr/bin/getconf", ["GNU_LIBC_VERSION"], input: "", seconds: 10).out
    let machine = try await SSHHost.run("/usr/bin/env", ["uname", "-m"], input: "", seconds: 10).out
    let (sums, bytes) = try await BlockingPool.shared.run { try Self.sums(folder) }
    try Data(sums.utf8).write(to: URL(fileURLWithPath: folder + "/.sums"))
    let digest = SHA256Digest()
    Array(sums.utf8).withUnsafeBytes { digest.update($0) }
    return RuntimeBundle(
      id: String(digest.finish().hexadecimal.prefix(32)), folder: folder, bytes: bytes,
      needs: Preflight.Needs(
        architecture: machine.trimmingCharacters(in: .whitespacesAndNewlines),
        libc: libc.split(separator: " ").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? "", packages: packages))
  }

  func close() { try? FileManager.default.removeItem(atPath: folder) }  // links only

  /// Names and paths of the shared libraries that the loader finds for a program.
  private static func libraries(of program: String) async throws -> [(name: String, path: String)] {
    let answer = try await SSHHost.run("/usr/bin/env", ["ldd", program], input: "", seconds: 30)
    return answer.out.split(separator: "\n").compactMap { line in
      let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
      guard words.count >= 3, words[1] == "=>", words[2].hasPrefix("/") else { return nil }
      return (words[0], words[2])
    }
  }

  /// Debian's packages that have files, by the files' paths. Packages know files by one of two names where /lib is a link.
  private static func owners(of paths: [String]) async throws -> [String: String] {
    var asked: [String: String] = [:]
    for path in paths {
      let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
      for name in [path, "/usr" + path, real, real.hasPrefix("/usr/") ? String(real.dropFirst(4)) : real] { asked[name] = path }
    }
    // One call: each reads the whole list of files. It complains about the names that no package has.
    let answer = try await SSHHost.run("/usr/bin/env", ["dpkg-query", "-S"] + asked.keys.sorted(), input: "", seconds: 60)
    var owners: [String: String] = [:]
    for line in answer.out.split(separator: "\n") {
      // `libzmq5:amd64: /usr/lib/..`, where no owner's name holds a space.
      guard let colon = line.range(of: ": "), let path = asked[String(line[colon.upperBound...])] else { continue }
      let owner = line[..<colon.lowerBound].prefix { $0 != ":" && $0 != "," }
      if !owner.contains(" ") { owners[path] = String(owner) }
    }
    return owners
  }

  /// Lines for `sha256sum -c`, and how much it is.
  private static func sums(_ folder: String) throws -> (text: String, bytes: Int64) {
    var lines: [String] = []
    var bytes: Int64 = 0
    func walk(_ path: String, _ shown: String) throws {
      for name in try FileManager.default.contentsOfDirectory(atPath: path).sorted() {
        let (inner, relative) = (path + "/" + name, shown + name)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: inner, isDirectory: &isFolder) else {
          throw PlatformError(.notFound, "a file of the program is gone", path: inner)
        }
        if isFolder.boolValue {
          try walk(inner, relative + "/")
        } else {
          let real = URL(fileURLWithPath: inner).resolvingSymlinksInPath().path
          lines.append("\(try SHA256Digest.hex(contentsOf: real))  \(relative)\n")
          bytes += (try FileManager.default.attributesOfItem(atPath: real)[.size] as? Int64) ?? 0
        }
      }
    }
    try walk(folder, "")
    return (lines.joined(), bytes)
  }
}
