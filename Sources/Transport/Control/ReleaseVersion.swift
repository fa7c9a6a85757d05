// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What nodes say that they run, and who understands whom.
public enum ReleaseVersion {
  /// The version of this program, with the beginning of the identity of what `platform up -f` installed: `0.1.0+1a2b3c4d`. Without an
  /// installation the version alone.
  public static let current = named(installedAt: ProcessSupport.executablePath)

  /// - Parameter path: of a program. One that was installed lies in `versions/ID/bin`, and the identity is in `versions/ID/.bundle`.
  static func named(installedAt path: String) -> String {
    let folder = ((path as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent
    guard let data = FileManager.default.contents(atPath: folder + "/.bundle") else { return PlatformVersion.current }
    let identity = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    return PlatformVersion.current + suffix(ofBundle: identity)
  }

  /// How the version of a program from this bundle ends.
  public static func suffix(ofBundle identity: String) -> String { "+" + identity.prefix(8) }

  /// Whether nodes of both versions work in one cluster: those that differ in the last number or in what was installed do, so that nodes can
  /// get another program one after the other.
  public static func speak(_ one: String, _ other: String) -> Bool { line(one) == line(other) }

  /// What is before the second dot.
  private static func line(_ version: String) -> [Substring] {
    let plain = version.prefix { $0 != "+" }
    return Array(plain.split(separator: ".", omittingEmptySubsequences: false).prefix(2))
  }
}
