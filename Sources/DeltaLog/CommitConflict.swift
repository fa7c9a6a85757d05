// SPDX-License-Identifier: Apache-2.0

public import Core

/// Why a commit cannot follow one that another writer made first.
public struct CommitConflict: Error, Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// Both changed the protocol, or the new one shuts this writer out.
    case protocolChanged
    /// The schema or the properties are no longer those that the change was made for.
    case metadataChanged
    /// Files came in that the transaction should have read.
    case concurrentAppend
    /// A file that the transaction read is gone.
    case concurrentDeleteRead
    /// Both removed the same file.
    case concurrentDeleteDelete
    /// The application's progress that the transaction depends on has moved.
    case concurrentTransaction
    /// Both changed the same metadata domain.
    case domainMetadataChanged

    /// The stable number in `PlatformError.number`.
    public var number: String {
      switch self {
      case .protocolChanged: "PLT-2301"
      case .metadataChanged: "PLT-2302"
      case .concurrentAppend: "PLT-2303"
      case .concurrentDeleteRead: "PLT-2304"
      case .concurrentDeleteDelete: "PLT-2305"
      case .concurrentTransaction: "PLT-2306"
      case .domainMetadataChanged: "PLT-2307"
      }
    }
  }

  public var kind: Kind
  /// The version that was committed first.
  public var version: Int64
  /// What both touched: a path, an application, a domain.
  public var subject: String

  public init(_ kind: Kind, version: Int64, subject: String) {
    self.kind = kind
    self.version = version
    self.subject = subject
  }

  /// As the error that callers of `DeltaTable` see: `conflict`, with the kind in `number`.
  public var platformError: PlatformError {
    let what =
      switch kind {
      case .protocolChanged: "changed the table's protocol"
      case .metadataChanged: "changed the table's schema or properties"
      case .concurrentAppend: "added files that this change should have read"
      case .concurrentDeleteRead: "removed a file that this change has read"
      case .concurrentDeleteDelete: "removed a file that this change removes too"
      case .concurrentTransaction: "recorded progress of an application that this change depends on"
      case .domainMetadataChanged: "changed the same metadata domain"
      }
    return PlatformError(
      .conflict, "version \(version), committed meanwhile, \(what)\(subject.isEmpty ? "" : ": \(subject.prefix(300))")",
      hint: "Read the table again and repeat the change.", number: kind.number)
  }

  /// The kind of a conflict that `DeltaTable` has thrown; nil for other errors.
  public static func kind(of error: PlatformError) -> Kind? {
    Kind.allCases.first { $0.number == error.number }
  }
}

/// What a transaction has read: what it must not miss a change of.
public struct TransactionReads: Sendable, Hashable, Codable {
  /// Everything, also files that no predicate describes.
  public var wholeTable = false
  /// Paths of files whose rows were read.
  public var files: Set<String> = []
  /// Conditions that files were chosen by.
  public var predicates: [FilePredicate] = []
  /// Applications whose recorded version was looked at.
  public var applications: Set<String> = []

  public init() {}

  /// A transaction that has read all rows.
  public static var everything: TransactionReads {
    var reads = TransactionReads()
    reads.wholeTable = true
    reads.predicates = [.all]
    return reads
  }

  /// A transaction that chose files by `predicate` and read `files`.
  public static func matching(_ predicate: FilePredicate, _ files: some Sequence<AddFile>) -> TransactionReads {
    var reads = TransactionReads()
    reads.predicates = [predicate]
    reads.files = Set(files.map(\.path))
    return reads
  }

  /// Whether the transaction depends on no file.
  public var readsNoFiles: Bool { !wholeTable && files.isEmpty && predicates.isEmpty }
}

/// Decides whether a transaction may be committed behind others that it did not see. Follows the rules of the reference
/// implementation (delta-io/delta, `ConflictChecker`): a pure function of what the transaction read and wrote, and of the winner.
public struct ConflictChecker: Sendable {
  public var reads: TransactionReads
  public var actions: [Action]
  public var isolation: IsolationLevel
  /// Judges files by the columns of the table that the transaction has read.
  private let skipper: FileSkipper

  /// - Parameter base: the table that the transaction has read.
  public init(reads: TransactionReads, actions: [Action], isolation: IsolationLevel, base: Snapshot) {
    self.reads = reads
    self.actions = actions
    self.isolation = isolation
    skipper = FileSkipper(base)
  }

  /// Whether a commit only adds files and has read none: other writers never have to wait for it.
  public static func isBlindAppend(_ actions: [Action], _ reads: TransactionReads) -> Bool {
    reads.readsNoFiles && !actions.contains { if case .remove = $0 { true } else { false } }
  }

  /// The level to commit at: a change that only rearranges rows needs less than the table's.
  public static func level(_ actions: [Action], table: IsolationLevel) -> IsolationLevel {
    var hasFiles = false
    for action in actions {
      switch action {
      case .add(let file):
        if file.dataChange { return table }
        hasFiles = true
      case .remove(let file):
        if file.dataChange { return table }
        hasFiles = true
      case .metadata, .protocol: return table
      default: break
      }
    }
    return hasFiles ? .snapshot : table
  }

  /// - Parameter winner: the actions of `version`, which was committed first.
  /// - Throws: `CommitConflict`.
  public func check(_ winner: [Action], version: Int64) throws(CommitConflict) {
    var changesProtocol = false
    var changesMetadata = false
    var removed: Set<String> = []
    var domains: Set<String> = []
    for action in actions {
      switch action {
      case .protocol: changesProtocol = true
      case .metadata: changesMetadata = true
      case .remove(let file): removed.insert(file.path)
      case .domain(let value): domains.insert(value.domain)
      default: break
      }
    }
    var isBlind = false
    for case .commitInfo(let info) in winner { isBlind = info.isBlindAppend ?? false }

    for action in winner {
      if case .protocol = action, changesProtocol || version == 0 { throw CommitConflict(.protocolChanged, version: version, subject: "") }
      if case .metadata = action { throw CommitConflict(.metadataChanged, version: version, subject: "") }
      // Row ids are assigned anew behind the winner's, so that domain does not conflict.
      if case .domain(let value) = action, domains.contains(value.domain), value.domain != RowTracking.domain {
        throw CommitConflict(.domainMetadataChanged, version: version, subject: value.domain)
      }
    }
    try checkAdded(winner, version, isBlind: isBlind, changesMetadata: changesMetadata)
    for case .remove(let file) in winner {
      if reads.wholeTable || reads.files.contains(file.path) {
        throw CommitConflict(.concurrentDeleteRead, version: version, subject: file.path)
      }
      if removed.contains(file.path) { throw CommitConflict(.concurrentDeleteDelete, version: version, subject: file.path) }
    }
    for case .transaction(let value) in winner where reads.applications.contains(value.appId) {
      throw CommitConflict(.concurrentTransaction, version: version, subject: value.appId)
    }
  }

  private func checkAdded(_ winner: [Action], _ version: Int64, isBlind: Bool, changesMetadata: Bool) throws(CommitConflict) {
    guard !reads.predicates.isEmpty || reads.wholeTable else { return }
    switch isolation {
    case .snapshot: return
    case .writeSerializable: if isBlind && !changesMetadata { return }
    case .serializable: break
    }
    for case .add(let file) in winner {
      if reads.wholeTable || reads.predicates.contains(where: { skipper.mayMatch(file, $0) }) {
        throw CommitConflict(.concurrentAppend, version: version, subject: file.path)
      }
    }
  }
}
