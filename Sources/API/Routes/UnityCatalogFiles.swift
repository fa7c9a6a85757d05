// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Files and folders of volumes: `/api/2.0/fs/files/Volumes/...` and `/api/2.0/fs/directories/Volumes/...`. Bodies are streamed: a
/// request holds one chunk in memory, whatever the size of the file.
struct UnityCatalogFiles {
  let service: any PlatformService
  static let files = "/api/2.0/fs/files"
  static let directories = "/api/2.0/fs/directories"
  private static let chunk = 256 << 10

  func add(to router: Router<PlatformRequestContext>) {
    router.get("/api/2.0/fs/files/**") { request, _ in try await download(request, head: false) }
    router.head("/api/2.0/fs/files/**") { request, _ in try await download(request, head: true) }
    router.put("/api/2.0/fs/files/**") { request, _ in
      let path = try await path(request, Self.files, least: 4)
      let overwrite = request.query("overwrite") == nil ? true : try request.flag("overwrite")
      try await upload(request, to: path, overwrite: overwrite)
      return Response(status: .noContent)
    }
    router.delete("/api/2.0/fs/files/**") { request, _ in
      let path = try await path(request, Self.files, least: 4)
      try await BlockingPool.shared.run {
        guard try VolumeFile.look(path)?.isDirectory != true else { throw VolumeFile.isFolder(path) }
        guard unlink(path) == 0 else { throw VolumeFile.failure("remove", path) }
      }
      return Response(status: .noContent)
    }
    router.put("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 3)
      try await BlockingPool.shared.run { try VolumeFile.makeFolder(path) }
      return Response(status: .noContent)
    }
    router.delete("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 4)
      try await BlockingPool.shared.run { if rmdir(path) != 0 { throw VolumeFile.failure("remove", path) } }
      return Response(status: .noContent)
    }
    router.head("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 3)
      let found = try await BlockingPool.shared.run { try VolumeFile.look(path) }
      guard found?.isDirectory == true else { throw VolumeFile.missing(path) }
      return Response(status: .ok)
    }
    router.get("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 3)
      let shown = try Self.given(request, Self.directories)
      let size = try request.queryInt("page_size", in: 0...Int.max, default: 0)
      let limit = size == 0 ? 1000 : min(size, 1000)
      let after = request.query("page_token")
      return try Response.json(try await BlockingPool.shared.run { try VolumeFile.list(path, shown: shown, after: after, limit: limit) })
    }
  }

  /// The path as the client wrote it, decoded once.
  static func given(_ request: Request, _ prefix: String) throws -> String {
    guard let text = String(request.uri.path.dropFirst(prefix.count)).removingPercentEncoding else {
      throw PlatformError(.invalidArgument, "the path holds a malformed escape", number: "PLT-3001")
    }
    return text
  }

  /// - Parameter least: how many parts the path has at least after `/Volumes`; 3 is the volume itself.
  private func path(_ request: Request, _ prefix: String, least: Int) async throws -> String {
    let text = try Self.given(request, prefix)
    guard text.utf8.split(separator: UInt8(ascii: "/")).count > least else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(200))' does not name anything inside of a volume", number: "PLT-3001")
    }
    return try await service.volumePath(text)
  }

  private func download(_ request: Request, head: Bool) async throws -> Response {
    let path = try await path(request, Self.files, least: 4)
    let file = try await BlockingPool.shared.run { try VolumeFile(reading: path) }
    var headers: HTTPFields = [
      .contentType: "application/octet-stream", .acceptRanges: "bytes", .lastModified: VolumeFile.httpDate(file.modified),
    ]
    let range: Range<Int64>
    var status = HTTPResponse.Status.ok
    switch VolumeFile.range(request.headers[.range], size: file.size) {
    case .whole: range = 0..<file.size
    case .part(let part):
      range = part
      status = .partialContent
      headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.size)"
    case .outside:
      return Response(status: .rangeNotSatisfiable, headers: [.contentRange: "bytes */\(file.size)"])
    }
    let body = ResponseBody(contentLength: Int(range.count)) { writer in
      var at = range.lowerBound
      while at < range.upperBound && !head {
        let (position, count) = (at, Int(min(Int64(Self.chunk), range.upperBound - at)))
        let bytes = try await BlockingPool.shared.run { try file.read(at: position, count) }
        try await writer.write(ByteBuffer(bytes: bytes))
        at += Int64(bytes.count)
      }
      try await writer.finish(nil)
    }
    let response = Response(status: status, headers: headers, body: body)
    return head ? response.createHeadResponse() : response
  }

  /// The file appears whole under its name, or not at all.
  private func upload(_ request: Request, to path: String, overwrite: Bool) async throws {
    let file = try await BlockingPool.shared.run { try VolumeFile(uploadingTo: path) }
    do {
      for try await buffer in request.body {
        try await BlockingPool.shared.run { try file.append(Array(buffer.readableBytesView)) }
      }
      try await BlockingPool.shared.run { try file.publish(as: path, overwrite: overwrite) }
    } catch {
      try await BlockingPool.shared.run { file.discard() }
      throw error
    }
  }
}

/// An open file of a volume. Methods block.
final class VolumeFile: Sendable {
  enum Asked: Equatable {
    case whole
    case part(Range<Int64>)
    /// Begins behind the end.
    case outside
  }

  private static let unfinished = ".upload-"
  private let descriptor: Int32
  private let path: String
  let size: Int64
  let modified: Date

  /// - Throws: `notFound` PLT-1703; `invalidArgument` PLT-1704 for a folder.
  init(reading path: String) throws {
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("open", path) }
    self.path = path
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw Self.isFolder(path)
    }
    size = Int64(info.st_size)
    modified = Date(timeIntervalSince1970: Double(info.st_mtim.tv_sec))
  }

  /// A new file beside `path`; folders above it are made.
  init(uploadingTo path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    try Self.makeFolder(folder)
    self.path = "\(folder)/\(Self.unfinished)\(UUID().uuidString)"
    descriptor = open(self.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard descriptor >= 0 else { throw Self.failure("write", path) }
    size = 0
    modified = Date()
  }

  deinit { close(descriptor) }

  func read(at position: Int64, _ count: Int) throws -> [UInt8] {
    let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while true {
        let got = pread(descriptor, buffer.baseAddress, count, off_t(position))
        if got < 0 && errno == EINTR { continue }
        guard got > 0 else { throw PlatformError(.unavailable, "the file became shorter while it was read", path: path) }
        filled = got
        return
      }
    }
    return bytes
  }

  func append(_ bytes: [UInt8]) throws {
    var done = 0
    while done < bytes.count {
      let wrote = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, bytes.count - done) }
      if wrote < 0 && errno == EINTR { continue }
      guard wrote > 0 else { throw Self.failure("write", path) }
      done += wrote
    }
  }

  /// - Throws: `alreadyExists` PLT-1704 when the name is taken and may not be overwritten, or is a folder.
  func publish(as target: String, overwrite: Bool) throws {
    guard fsync(descriptor) == 0 else { throw Self.failure("write", target) }
    if overwrite {
      guard rename(path, target) == 0 else { throw Self.failure("write", target) }
    } else {
      guard link(path, target) == 0 else { throw Self.failure("write", target) }
      unlink(path)
    }
  }

  func discard() { unlink(path) }

  // MARK: folders

  static func look(_ path: String) throws -> (isDirectory: Bool, size: Int64, modified: Int64)? {
    var info = stat()
    guard lstat(path, &info) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw failure("look at", path)
    }
    let kind = info.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFDIR else { return nil }
    return (kind == S_IFDIR, Int64(info.st_size), Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000)
  }

  static func makeFolder(_ path: String) throws {
    if let found = try look(path) {
      guard found.isDirectory else { throw PlatformError(.alreadyExists, "there is a file of this name", number: "PLT-1704", path: path) }
      return
    }
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw PlatformError(.invalidArgument, "cannot make the folder: \(error.localizedDescription)", number: "PLT-1704", path: path)
    }
  }

  /// One page of a folder, by name. Links and unfinished uploads are left out.
  static func list(_ path: String, shown: String, after: String?, limit: Int) throws -> JSONValue {
    guard try look(path)?.isDirectory == true else { throw missing(path) }
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch { throw missing(path) }
    let prefix = shown.hasSuffix("/") ? String(shown.dropLast()) : shown
    var entries: [JSONValue] = []
    var last = ""
    var more = false
    for name in names.sorted() where !name.hasPrefix(unfinished) && after.map({ name > $0 }) != false {
      guard let one = try look("\(path)/\(name)") else { continue }
      if entries.count == limit {
        more = true
        break
      }
      var entry: [String: JSONValue] = [
        "name": .string(name), "path": .string("\(prefix)/\(name)"), "is_directory": .bool(one.isDirectory), "last_modified": .integer(one.modified),
      ]
      if !one.isDirectory { entry["file_size"] = .integer(one.size) }
      entries.append(.object(entry))
      last = name
    }
    return more ? ["contents": .array(entries), "next_page_token": .string(last)] : ["contents": .array(entries)]
  }

  // MARK: headers

  /// What a `Range` header asks for. Several ranges, and what is not understood, mean the whole file, as HTTP allows.
  static func range(_ header: String?, size: Int64) -> Asked {
    guard let header, header.hasPrefix("bytes="), !header.contains(",") else { return .whole }
    let parts = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return .whole }
    if parts[0].isEmpty {
      guard let count = Int64(parts[1]), count >= 0 else { return .whole }
      return count == 0 || size == 0 ? .outside : .part(max(0, size - count)..<size)
    }
    guard let first = Int64(parts[0]), first >= 0 else { return .whole }
    if parts[1].isEmpty { return first < size ? .part(first..<size) : .outside }
    guard let last = Int64(parts[1]), last >= first else { return .whole }
    return first < size ? .part(first..<(min(last, size - 1) + 1)) : .outside
  }

  static func httpDate(_ date: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let (days, months) = (
      ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
      ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    )
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
  }

  // MARK: errors

  static func missing(_ path: String) -> PlatformError {
    PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: path)
  }

  static func isFolder(_ path: String) -> PlatformError {
    PlatformError(.invalidArgument, "this is not a file", number: "PLT-1704", path: path)
  }

  static func failure(_ action: String, _ path: String) -> PlatformError {
    switch errno {
    case ENOENT, ENOTDIR: missing(path)
    case EEXIST: PlatformError(.alreadyExists, "there is a file of this name", number: "PLT-1704", path: path)
    case EISDIR: isFolder(path)
    case ENOTEMPTY: PlatformError(.invalidArgument, "the folder is not empty", number: "PLT-1704", path: path)
    default: PlatformError.system(action, path)
    }
  }
}
