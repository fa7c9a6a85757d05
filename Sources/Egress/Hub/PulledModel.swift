// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A model that `platform pull`, or another client of the same cache, has brought onto this machine: one revision of a model of the hub, or
/// one file of a URL.
public struct PulledModel: Sendable, Equatable {
  public enum Source: String, Sendable, Codable { case hub, url }

  public struct File: Sendable, Equatable {
    /// In the model's folder.
    public var name: String
    /// Nil for a link to what is not there.
    public var size: Int64?
    /// Where its bytes are, when that is inside the cache's own folder for them: the blob is named by its hash.
    public var blob: String?
  }

  public var source: Source
  /// `hf:ORG/NAME`, or the file's URL without its query; of files from before URLs were noted the file's name.
  public var name: String
  /// Folder of everything that is kept of it, other revisions included.
  public var root: String
  /// What other commands take: the snapshot's folder, or the file. Nil when only parts have come.
  public var path: String?
  /// Of the hub's.
  public var commit: String?
  /// Branches and tags that mean this commit.
  public var refs: [String]
  public var files: [File]
  /// Files that have come in part, by their paths.
  public var partials: [String]
  public var partialBytes: Int64
  public var changedAt: Date?

  public var sizeBytes: Int64 { files.reduce(0) { $0 + ($1.size ?? 0) } }
  public var missing: [String] { files.filter { $0.size == nil }.map(\.name) }
  /// A name that means this one alone: with the branch `main` left out.
  public var reference: String {
    guard source == .hub, let commit, !refs.contains("main") else { return name }
    return name + "@" + (refs.first ?? commit)
  }
  /// The same for people: a commit by its first letters.
  public var shortReference: String {
    guard let commit, refs.isEmpty else { return reference }
    return name + "@" + commit.prefix(PulledModel.shortCommit)
  }
  public var shortRevision: String? { refs.isEmpty ? commit.map { String($0.prefix(PulledModel.shortCommit)) } : refs.joined(separator: " ") }

  /// Letters of a commit that may stand for it.
  static let shortCommit = 7
}
