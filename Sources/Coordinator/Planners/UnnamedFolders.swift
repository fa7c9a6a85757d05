// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import Synchronization

/// Folders of tables that the catalog comes to know of when their rows are there. A process that dies before leaves one that nobody knows:
/// the next attempt of the same task removes it.
struct UnnamedFolders: Sendable {
  let pool: PostgresPool

  /// Those that this process is at work in.
  private static let active = Mutex<Set<String>>([])

  /// Makes `place-xxxxxxxx`, of the caller alone, and removes what earlier attempts have left beside it.
  func make(beside place: String) async throws -> String {
    try await removeLeftovers(beside: place)
    let path = "\(place)-\(UUID().uuidString.prefix(8).lowercased())"
    Self.active.withLock { _ = $0.insert(path) }
    do {
      try await BlockingPool.shared.run { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    } catch {
      Self.release(path)
      throw PlatformError(.unavailable, "cannot make the folder of a new table: \(error.localizedDescription)", path: path)
    }
    return path
  }

  /// The catalog has the folder, or the attempt has given up.
  static func release(_ path: String) { active.withLock { _ = $0.remove(path) } }

  /// Removes a folder that no catalog has. What cannot be removed is left to the next attempt: what went wrong before says more.
  func remove(_ path: String) async {
    _ = try? await BlockingPool.shared.run { try FileManager.default.removeItem(atPath: path) }  // as above
    Self.release(path)
  }

  private func removeLeftovers(beside place: String) async throws {
    let (folder, prefix) = ((place as NSString).deletingLastPathComponent, (place as NSString).lastPathComponent + "-")
    let busy = Self.active.withLock { $0 }
    let found = try await BlockingPool.shared.run { () -> [String] in
      guard access(folder, F_OK) == 0 else { return [] }
      return try FileManager.default.contentsOfDirectory(atPath: folder).filter {
        $0.hasPrefix(prefix) && $0.utf8.count == prefix.utf8.count + 8
      }.map { "\(folder)/\($0)" }
    }.filter { !busy.contains($0) }
    guard !found.isEmpty else { return }
    let known = try await pool.query(
      "SELECT location FROM tables WHERE location = ANY ($1::text[]) UNION ALL SELECT location FROM dropped WHERE location = ANY ($1::text[])",
      [.textArray(found)]
    ).map { try $0.string("location") }
    for path in found where !known.contains(path) { await remove(path) }
  }
}
