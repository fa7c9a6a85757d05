// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Where `deploy/install-dependencies.sh` puts what is neither in the binary nor a system package.
public enum InstalledFiles {
  /// Searched in order: `PLATFORM_LIB`, `/usr/local/lib/platform`, `~/.local/lib/platform`.
  public static var roots: [String] {
    var roots: [String] = []
    if let configured = ProcessInfo.processInfo.environment["PLATFORM_LIB"], !configured.isEmpty { roots.append(configured) }
    roots.append("/usr/local/lib/platform")
    roots.append(NSHomeDirectory() + "/.local/lib/platform")
    return roots
  }

  /// The first existing `relative` below the roots, or nil.
  public static func find(_ relative: String) -> String? {
    roots.map { $0 + "/" + relative }.first { FileManager.default.fileExists(atPath: $0) }
  }

  /// As `find`, but explains what is missing.
  /// - Throws: `badConfiguration` with the command that installs it.
  public static func require(_ relative: String, what: String) throws -> String {
    if let found = find(relative) { return found }
    throw PlatformError(
      .badConfiguration, "\(what) is not installed (looked for \(relative) in \(roots.joined(separator: ", ")))",
      hint: "Run deploy/install-dependencies.sh.", number: "PLT-1001")
  }
}
