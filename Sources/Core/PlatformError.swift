// SPDX-License-Identifier: Apache-2.0

/// The error that people and clients see: what failed, where, why, and how to mend it.
///
/// Each layer that catches one may wrap it once with what that layer knows (`wrapping`). `API` maps `code` to an HTTP
/// status and the command line maps it to an exit code; nothing else of an error crosses the wire.
public struct PlatformError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What a caller can act on. The raw values cross the wire, so they never change meaning.
  public enum Code: String, Sendable, Codable, CaseIterable {
    /// The request itself is wrong; repeating it will fail again.
    case invalidArgument
    /// A file given by the user cannot be used (syntax, truncation, unknown format).
    case invalidFile
    case notFound
    case alreadyExists
    /// Somebody else changed the same thing first; re-read and try again.
    case conflict
    case unauthenticated
    case permissionDenied
    /// A limit was reached: queue full, disk full, too large.
    case resourceExhausted
    /// The peer or service cannot be reached now; trying again may work.
    case unavailable
    case timeout
    case cancelled
    /// A person's own program ran and failed; the platform did its part.
    case failed
    /// The installation or configuration of this machine has to change first.
    case badConfiguration
    /// A bug of the platform.
    case internalError
  }

  public var code: Code
  /// One sentence that names the thing, without secrets and row values.
  public var message: String
  /// What to do about it: a command or a concrete change. Empty when there is nothing to advise.
  public var hint: String
  /// Stable number, as in `PLT-1203`; listed in `docs/reference/errors.md`. Empty when none was assigned.
  public var number: String
  /// File, object or key path that the error is about.
  public var path: String?
  /// Line (1-based) in `path`, when it is a file.
  public var line: Int?

  public init(
    _ code: Code, _ message: String, hint: String = "", number: String = "", path: String? = nil, line: Int? = nil
  ) {
    self.code = code
    self.message = message
    self.hint = hint
    self.number = number
    self.path = path
    self.line = line
  }

  /// Whether the same request may succeed later without being changed.
  public var isRetryable: Bool {
    switch code {
    case .unavailable, .timeout, .conflict, .resourceExhausted: true
    default: false
    }
  }

  public var description: String {
    var text = message
    if let path { text += " (\(path)\(line.map { ":\($0)" } ?? ""))" }
    if !hint.isEmpty { text += ". \(hint)" }
    return text
  }

  /// This error with `context` in front of its message: "loading version 12 of sales.orders: object not found".
  public func wrapping(_ context: String) -> PlatformError {
    var copy = self
    copy.message = "\(context): \(message)"
    return copy
  }

  /// Any error as a `PlatformError`: itself when it is one, otherwise an internal error that keeps its text.
  public static func from(_ error: any Error, context: String? = nil) -> PlatformError {
    let base: PlatformError
    if let known = error as? PlatformError {
      base = known
    } else if error is CancellationError {
      base = PlatformError(.cancelled, "cancelled")
    } else {
      base = PlatformError(.internalError, "\(error)")
    }
    return context.map { base.wrapping($0) } ?? base
  }
}

extension PlatformError: Codable {}
