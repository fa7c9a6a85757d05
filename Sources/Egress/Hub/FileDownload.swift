// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// One file that is fetched as a whole: cut connections go on where they were, also those of an earlier process, and what came is held
/// against what was promised before it gets its name.
struct FileDownload: Sendable {
  enum Promise: Sendable, Equatable {
    case sha256(String)
    /// Git's name of the content.
    case gitBlob(String)
    case none
  }

  /// Of the file, for people.
  var name: String
  var url: EgressURL
  /// Sent to the URL's own host only, not to where it redirects.
  var token: String?
  var size: Int64?
  var promise: Promise
  /// Of what a partial file holds, where no hash would tell: only the same answer is gone on with.
  var validator: String?

  /// Attempts in a row that bring nothing.
  private static let attempts = 5
  private static let redirects = 5
  private static let patience = Duration.seconds(30)

  /// Fetches the file to `target`, and returns how many bytes came over the network.
  /// - Parameter progress: called with the bytes that are there.
  /// - Throws: PLT-4309 when it does not come, PLT-5222 when it is refused, PLT-5224 when it is not what was promised, PLT-5226 when
  ///   another process fetches it.
  func run(_ client: EgressClient, to target: String, progress: (Int64) -> Void) async throws -> Int64 {
    let partial = target + ".incomplete"
    let descriptor = open(partial, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw PlatformError.system("write", partial) }
    defer { close(descriptor) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw PlatformError(.conflict, "another process is fetching '\(name)'", hint: "Wait for it, then try again.", number: "PLT-5226", path: partial)
    }
    var have = Int64(lseek(descriptor, 0, SEEK_END))
    if size.map({ have > $0 }) ?? (validator == nil) { have = 0 }
    var fetched: Int64 = 0
    var failures = 0
    while size == nil || size != have {
      let before = fetched
      do {
        try await attempt(client, descriptor, &have, &fetched, progress)
        if size == nil || size == have { break }
        throw PlatformError(.unavailable, "'\(name)' ended after \(have) of \(size ?? 0) bytes", number: "PLT-4309")
      } catch let error as PlatformError where error.number == "PLT-4309" {
        failures = fetched > before ? 1 : failures + 1
        guard failures < Self.attempts else { throw error }
        try await Task.sleep(for: .milliseconds(100 << failures))
      }
    }
    guard size == nil || size == have else { throw broken("\(have) bytes came, \(size ?? 0) were promised", partial) }
    try check(partial)
    guard ftruncate(descriptor, off_t(have)) == 0, fsync(descriptor) == 0, rename(partial, target) == 0 else { throw PlatformError.system("write", target) }
    return fetched
  }

  /// One request and what it is redirected to.
  private func attempt(
    _ client: EgressClient, _ descriptor: Int32, _ have: inout Int64, _ fetched: inout Int64, _ progress: (Int64) -> Void
  ) async throws {
    var here = url
    for _ in 0...Self.redirects {
      var call = EgressClient.Call(here)
      call.method = "GET"
      call.patience = Self.patience
      call.answerLimit = .max
      call.headers = [("accept-encoding", "identity")]
      if let token, here.authority == url.authority, here.isSecure == url.isSecure { call.headers.append(("authorization", "Bearer \(token)")) }
      if have > 0 {
        call.headers.append(("range", "bytes=\(have)-"))
        if let validator { call.headers.append(("if-range", validator)) }
      }
      var next: String?
      var place = have
      var total = fetched
      defer { (have, fetched) = (place, total) }
      try await client.download(call) { head in
        switch head.status {
        case 200: place = 0
        case 206:
          guard head.first("content-range")?.hasPrefix("bytes \(have)-") == true else { throw broken("the answer is another part than was asked for", nil) }
        case 301, 302, 303, 307, 308:
          next = head.first("location")
          return false
        case 416:
          // What is here cannot be gone on with.
          place = 0
          throw PlatformError(.unavailable, "'\(name)' has no part from byte \(have) on", number: "PLT-4309")
        case 408, 429, 500...599: throw PlatformError(.unavailable, "\(here.authority) answered \(head.status) for '\(name)'", number: "PLT-4309")
        default: throw HubError.refused(name, head.status)
        }
        guard place > 0 || ftruncate(descriptor, 0) == 0 else { throw PlatformError.system("write", name) }
        return true
      } body: { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
          let count = pwrite(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count, off_t(place))
          if count < 0, errno == EINTR { continue }
          guard count > 0 else { throw PlatformError.system("write", name) }
          rest = rest.dropFirst(count)
          place += Int64(count)
          total += Int64(count)
        }
        if let size, place > size { throw broken("more than the \(size) bytes came that were promised", nil) }
        progress(place)
      }
      guard let location = next else { return }
      here = try here.redirected(to: location)
    }
    throw HubError.refused(name, 310)
  }

  private func check(_ path: String) throws {
    switch promise {
    case .none: return
    case .sha256(let expected):
      let found = try SHA256Digest.hex(contentsOf: path)
      if found != expected { throw broken("its SHA-256 is \(found), \(expected) was promised", path) }
    case .gitBlob(let expected):
      let content = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
      var digest = GitBlobDigest(size: Int64(content.count))
      content.withUnsafeBytes { digest.update($0) }
      let found = digest.finish().hexadecimal
      if found != expected { throw broken("git calls it \(found), \(expected) was promised", path) }
    }
  }

  /// Nothing is kept of a file that is not the one that was promised.
  private func broken(_ what: String, _ partial: String?) -> PlatformError {
    if let partial { unlink(partial) }
    return PlatformError(.invalidFile, "'\(name)' came otherwise than promised: \(what)", hint: "Try again.", number: "PLT-5224")
  }
}

extension EgressURL {
  /// Where a `Location` leads.
  func redirected(to location: String) throws(PlatformError) -> EgressURL {
    guard !location.hasPrefix("//") else { return try EgressURL((isSecure ? "https:" : "http:") + location, limit: Self.redirectLimit) }
    return try EgressURL(location.hasPrefix("/") ? "\(isSecure ? "https" : "http")://\(authority)\(location)" : location, limit: Self.redirectLimit)
  }

  /// Signed addresses of stores are long.
  private static let redirectLimit = 8192
}

enum HubError {
  static func refused(_ what: String, _ status: Int) -> PlatformError {
    switch status {
    case 401, 403:
      PlatformError(
        .permissionDenied, "the hub does not give '\(what)' (\(status)): it is private, asks for terms to be accepted, or is not there",
        hint: "Accept its terms on its page, and set HF_TOKEN.", number: "PLT-5222")
    case 404: PlatformError(.notFound, "the hub has no '\(what)'", hint: "See its name and revision on its page.", number: "PLT-5222")
    case 310: PlatformError(.unavailable, "'\(what)' is redirected in circles", number: "PLT-5222")
    default: PlatformError(.unavailable, "the hub answered \(status) for '\(what)'", hint: "Try again later.", number: "PLT-5222")
    }
  }
}
