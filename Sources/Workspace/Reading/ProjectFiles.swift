// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// The files of a project as reading it sees them: paths are relative to its folder, with `/` between their parts.
public struct ProjectFiles: Sendable {
  public struct Entry: Sendable, Equatable {
    public var name: String
    public var isFolder: Bool
    public init(name: String, isFolder: Bool) {
      self.name = name
      self.isFolder = isFolder
    }
  }

  /// Texts of SQL and programs are sent along with the jobs that name them.
  public static let programLimit = 1 << 20

  /// The text of a file; nil when there is none.
  /// - Throws: `invalidFile` PLT-1201 for one that cannot be read, is no UTF-8 text, or lies outside of the project.
  public var text: @Sendable (_ path: String) throws -> String?
  /// What is in a folder; nothing when there is none. The folder of the project is the empty path.
  public var entries: @Sendable (_ folder: String) -> [Entry]

  /// The bytes of a file of at most `programLimit`; nil when there is none.
  /// - Throws: as `text`.
  public var bytes: @Sendable (_ path: String) throws -> Data?

  public init(
    text: @escaping @Sendable (String) throws -> String?, entries: @escaping @Sendable (String) -> [Entry],
    bytes: @escaping @Sendable (String) throws -> Data?
  ) {
    self.text = text
    self.entries = entries
    self.bytes = bytes
  }

  /// Files that are only in memory.
  public init(_ texts: [String: String]) {
    self.init(text: { texts[$0] }, entries: { Self.entries(of: texts, $0) }, bytes: { texts[$0].map { Data($0.utf8) } })
  }

  private static func entries(of texts: [String: String], _ folder: String) -> [Entry] {
    var found: [String: Bool] = [:]
    for path in texts.keys {
      let parts = PathText.components(path)
      let depth = folder.isEmpty ? 0 : PathText.components(folder).count
      guard parts.count > depth, folder.isEmpty || parts.prefix(depth).elementsEqual(PathText.components(folder)) else { continue }
      found[parts[depth]] = (found[parts[depth]] ?? false) || parts.count > depth + 1
    }
    return found.map { Entry(name: $0.key, isFolder: $0.value) }
  }

  /// The files below a folder of this machine. Links that lead out of it are refused.
  public static func local(_ root: String) -> ProjectFiles {
    let real = URL(fileURLWithPath: root).resolvingSymlinksInPath().path
    @Sendable func contents(_ path: String) throws -> Data? {
      let place = URL(fileURLWithPath: real + "/" + path)
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder) else { return nil }
      let target = place.resolvingSymlinksInPath().path
      guard target == real || target.hasPrefix(real == "/" ? "/" : real + "/") else {
        throw PlatformError(.invalidFile, "'\(path)' leads out of the project", hint: "Put the file itself there.", number: "PLT-1201", path: path)
      }
      guard !isFolder.boolValue, let data = FileManager.default.contents(atPath: target) else {
        throw PlatformError(.invalidFile, "cannot read '\(path)'", number: "PLT-1201", path: path)
      }
      return data
    }
    return ProjectFiles(
      text: { path in
        guard let data = try contents(path) else { return nil }
        guard data.count <= 4 << 20, let text = String(data: data, encoding: .utf8) else {
          throw PlatformError(.invalidFile, "'\(path)' is not UTF-8 text of at most 4 MB", number: "PLT-1201", path: path)
        }
        return text
      },
      entries: { folder in
        let place = folder.isEmpty ? real : real + "/" + folder
        let names = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []  // no such folder: nothing in it
        return names.map { name in
          // Links to folders are not followed: they may lead in a circle.
          let kind = try? FileManager.default.attributesOfItem(atPath: place + "/" + name)[.type] as? FileAttributeType  // gone: no folder
          return Entry(name: name, isFolder: kind == .typeDirectory)
        }
      },
      bytes: { path in
        guard let data = try contents(path) else { return nil }
        guard data.count <= programLimit else {
          throw PlatformError(
            .invalidFile, "'\(path)' has \(data.count) bytes; 1 MB is the most", hint: "Put it into a volume.", number: "PLT-1201", path: path)
        }
        return data
      })
  }

  /// `path` as seen from the folder of the project, when it is written in a file in `folder`; nil when it leads out of the project.
  static func inside(_ path: String, from folder: String) -> String? {
    var parts: [String] = folder.isEmpty ? [] : PathText.components(folder)
    for part in PathText.components(path) {
      if part.isEmpty || part == "." { continue }
      if part == ".." {
        guard parts.popLast() != nil else { return nil }
      } else {
        parts.append(part)
      }
    }
    let joined = parts.joined(separator: "/")
    return PathText.isInside(joined) ? joined : nil
  }

  /// The folder of a path; empty for the project's own.
  static func folder(of path: String) -> String { PathText.components(path).dropLast().joined(separator: "/") }
}
