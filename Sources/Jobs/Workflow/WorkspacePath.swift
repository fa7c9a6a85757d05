// SPDX-License-Identifier: Apache-2.0

public import Core

/// A path of the workspace, where git folders are. `/Workspace/Users/me/project` and `/Users/me/project` are the same.
public struct WorkspacePath: Sendable, Hashable, CustomStringConvertible {
  /// Without `/Workspace`.
  public let description: String

  private static let prefix = "/Workspace"
  private static let roots = ["/Workspace/", "/Repos/", "/Users/", "/Shared/"]

  /// Whether a task that names a file by this path means one in the workspace.
  public static func isOne(_ text: String) -> Bool { roots.contains { text.utf8.starts(with: $0.utf8) } }

  /// The path without `/Workspace`; what else it holds is not looked at.
  public static func short(_ text: String) -> String {
    text == prefix || text.utf8.starts(with: "\(prefix)/".utf8) ? String(text.dropFirst(prefix.count)) : text
  }

  /// - Throws: `invalidArgument` PLT-4420.
  public init(_ text: String) throws(PlatformError) {
    let short = Self.short(text)
    let good = short.utf8.first == UInt8(ascii: "/") && short.utf8.count <= 1_000 && PathText.isInside(short.dropFirst())
    guard good else {
      throw PlatformError(
        .invalidArgument, "'\(text.prefix(100))' is no path of the workspace", hint: "For example /Repos/me/project, or /Workspace/Shared/project.",
        number: "PLT-4420")
    }
    description = short
  }

  /// A place for a git folder.
  /// - Throws: `invalidArgument` PLT-4420.
  public init(forFolder text: String) throws(PlatformError) {
    let path = try WorkspacePath(text)
    let parts = PathText.components(path.description).dropFirst()
    func bad(_ hint: String) -> PlatformError {
      PlatformError(.invalidArgument, "there can be no git folder at '\(text.prefix(100))'", hint: hint, number: "PLT-4420")
    }
    switch parts.first {
    case "Repos" where parts.count != 3: throw bad("In /Repos it is /Repos/FOLDER/NAME.")
    case "Users" where parts.count < 3: throw bad("For example /Users/me/project.")
    case "Volumes": throw bad("/Volumes holds volumes; take /Repos/me/project, or /Workspace/Shared/project.")
    default: if parts.count < 2 { throw bad("For example /Repos/me/project, or /Workspace/Shared/project.") }
    }
    self = path
  }

  /// The rest of a path that is in this folder; nil for others, empty for the folder's own.
  public func rest(of path: WorkspacePath) -> String? {
    if path == self { return "" }
    return path.description.utf8.starts(with: "\(description)/".utf8)
      ? String(decoding: path.description.utf8.dropFirst(description.utf8.count + 1), as: UTF8.self) : nil
  }
}
