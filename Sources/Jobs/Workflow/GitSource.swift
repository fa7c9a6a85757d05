// SPDX-License-Identifier: Apache-2.0

public import Core

/// `git_source` of a job: where its files come from.
public struct GitSource: Sendable, Equatable {
  public enum Reference: Sendable, Equatable {
    case branch(String)
    case tag(String)
    case commit(String)
    /// Whatever the other side is at; not in settings of jobs.
    case head

    /// As git names it to the other side.
    public var name: String {
      switch self {
      case .branch(let name): "refs/heads/\(name)"
      case .tag(let name): "refs/tags/\(name)"
      case .commit(let hash): hash
      case .head: "HEAD"
      }
    }
  }

  public var url: String
  public var reference: Reference

  /// Whether it is a folder of the coordinator's machine.
  public var isLocal: Bool { url.hasPrefix("/") }

  /// Paths that tasks take from git begin with this among the files of a run.
  static let prefix = "git:"

  private static let keys = ["git_url", "git_provider", "git_branch", "git_tag", "git_commit", "git_snapshot", "job_source", "sparse_checkout"]

  public init(url: String, reference: Reference) {
    self.url = url
    self.reference = reference
  }

  /// - Throws: `invalidArgument` PLT-4345, the first thing that is wrong.
  public init(_ value: JSONValue) throws(PlatformError) {
    let (source, problems) = Self.read(value)
    if let first = problems.first { throw first }
    guard let source else { throw Self.bad("cannot be read") }
    self = source
  }

  private static func bad(_ message: String, _ hint: String = "") -> PlatformError {
    PlatformError(.invalidArgument, message, hint: hint, number: "PLT-4345")
  }

  /// The source, or all that is wrong with it (PLT-4345).
  static func read(_ value: JSONValue) -> (source: GitSource?, problems: [PlatformError]) {
    guard let members = value.objectValue else { return (nil, [bad("must be a mapping", "For example { git_url: https://..., git_branch: main }.")]) }
    var problems: [PlatformError] = []
    for unknown in members.keys.sorted() where !keys.contains(unknown) {
      problems.append(
        bad(
          "unknown key '\(unknown.prefix(80))'",
          Spelling.suggestion(for: unknown, among: keys).map { "Did you mean '\($0)'?" } ?? "Known here: \(keys.joined(separator: ", "))."))
    }
    var url = ""
    do { url = try checked(members["git_url"]?.stringValue) } catch { problems.append(error) }
    var reference: Reference?
    do { reference = try Self.reference(members) } catch { problems.append(error) }
    guard problems.isEmpty, let reference else { return (nil, problems) }
    return (GitSource(url: url, reference: reference), [])
  }

  private static func checked(_ url: String?) throws(PlatformError) -> String {
    guard let url, !url.isEmpty else { throw bad("'git_url' is missing") }
    let plain = url.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 } && url.utf8.count <= 1_000
    guard plain, url.hasPrefix("https://") || url.hasPrefix("/") else {
      throw bad("'\(url.prefix(100))' is not possible", "Repositories are https://HOST/PATH, or a folder of an external location on the coordinator's machine.")
    }
    if url.hasPrefix("https://") {
      let authority = url.dropFirst("https://".count).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
      guard !authority.contains("@") else { throw bad("the address holds a user or a password", "It would be shown to everyone who may see the job.") }
      // Where the host is, is looked at when files are fetched.
      guard let first = authority.first, first != ":" else { throw bad("'\(url.prefix(100))' names no host") }
    } else if url.split(separator: "/").contains("..") {
      throw bad("'\(url.prefix(100))' is not possible", "Write the folder without '..'.")
    }
    return url
  }

  private static func reference(_ members: [String: JSONValue]) throws(PlatformError) -> Reference {
    let given = ["git_branch", "git_tag", "git_commit"].compactMap { key in members[key]?.stringValue.map { (key, $0) } }
    guard given.count == 1, let (key, name) = given.first else {
      throw bad(
        given.isEmpty ? "needs one of git_branch, git_tag and git_commit" : "has \(given.map(\.0).joined(separator: " and "))",
        given.isEmpty ? "" : "Give one of them.")
    }
    if key == "git_commit" {
      guard [40, 64].contains(name.utf8.count), name.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
        throw bad("'\(name.prefix(80))' is no commit", "Give all 40 digits of its hash.")
      }
      return .commit(name)
    }
    guard isName(name) else { throw bad("'\(name.prefix(80))' is no name of a branch or tag") }
    return key == "git_tag" ? .tag(name) : .branch(name)
  }

  /// As `git check-ref-format` has it.
  public static func isName(_ name: String) -> Bool {
    let forbidden = Set(" ~^:?*[\\")
    return !name.isEmpty && name.utf8.count <= 250 && !name.hasPrefix("-") && !name.hasPrefix("/") && !name.hasSuffix("/") && !name.hasSuffix(".")
      && !name.contains("..") && !name.contains("//") && !name.contains("@{") && name != "@"
      && name.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 } && !name.contains(where: forbidden.contains)
      && name.split(separator: "/").allSatisfy { !$0.hasPrefix(".") && !$0.hasSuffix(".lock") }
  }

  /// A file's path inside of a repository, without what leads elsewhere; nil when it does.
  public static func path(_ text: String) -> String? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).filter { $0 != "." }
    guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty && $0 != ".." }), text.utf8.count <= 1_000,
      text.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 })
    else { return nil }
    return parts.joined(separator: "/")
  }
}
