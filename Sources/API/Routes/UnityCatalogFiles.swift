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

  func add(to routes: DescribedRoutes) {
    describe(in: routes.tagged("Files"))
    let router = routes.router
    router.get("/api/2.0/fs/files/**") { request, _ in try await download(request, head: false) }
    router.head("/api/2.0/fs/files/**") { request, _ in try await download(request, head: true) }
    router.put("/api/2.0/fs/files/**") { request, _ in
      let path = try await path(request, Self.files, least: 4, toWrite: true)
      let overwrite = request.query("overwrite") == nil ? true : try request.flag("overwrite")
      try await upload(request, to: path, overwrite: overwrite)
      return Response(status: .noContent)
    }
    // Clients that would send large files in parts ask first, and send them in one stream when that is not offered.
    router.post("/api/2.0/fs/files/**") { request, _ in
      _ = try await path(request, Self.files, least: 4, toWrite: true)
      guard request.query("action") == "initiate-upload" else {
        throw PlatformError(.invalidArgument, "the action must be initiate-upload", number: "PLT-3001")
      }
      return try Response.json(["multipart_upload": ["session_token": .string(UUID().uuidString.lowercased())]] as JSONValue)
    }
    router.post("/api/2.0/fs/create-upload-part-urls") { _, _ -> Response in
      throw PlatformError(.permissionDenied, "files are uploaded in one piece", hint: "PUT the file.", number: "PLT-1706")
    }
    router.delete("/api/2.0/fs/files/**") { request, _ in
      let path = try await path(request, Self.files, least: 4, toWrite: true)
      try await BlockingPool.shared.run {
        guard try VolumeFile.look(path)?.isDirectory != true else { throw VolumeFile.isFolder(path) }
        guard unlink(path) == 0 else { throw VolumeFile.failure("remove", path) }
      }
      return Response(status: .noContent)
    }
    router.put("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 3, toWrite: true)
      try await BlockingPool.shared.run { try VolumeFile.makeFolder(path) }
      return Response(status: .noContent)
    }
    router.delete("/api/2.0/fs/directories/**") { request, _ in
      let path = try await path(request, Self.directories, least: 4, toWrite: true)
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
      let token = request.query("page_token").flatMap { $0.isEmpty ? nil : $0 }
      return try Response.json(await BlockingPool.shared.run { try VolumeFile.list(path, shown: shown, token: token, limit: limit) })
    }
  }

  private func describe(in routes: DescribedRoutes) {
    let bytes = "application/octet-stream"
    let (file, folder) = ("\(Self.files)/{path}", "\(Self.directories)/{path}")
    routes.describe(.get, file, "Download a file of a volume, whole or a range of it", answer: .bytes([bytes]))
    routes.describe(.head, file, "Size, type and time of a file", answer: .nothing)
    routes.describe(.put, file, "Upload a file", query: [.flag("overwrite")], stream: [bytes], answer: .nothing)
    routes.describe(.delete, file, "Remove a file", answer: .nothing)
    routes.describe(.put, folder, "Make a folder and those above it", answer: .nothing)
    routes.describe(.delete, folder, "Remove an empty folder", answer: .nothing)
    routes.describe(.head, folder, "Whether a folder is there", answer: .nothing)
    routes.describe(
      .get, folder, "List a folder", query: [QueryField(name: "page_size", schema: ["type": "integer", "minimum": 0]), .text("page_token")],
      answer: .list("contents", VolumeFile.Entry.self))
  }

  /// The path as the client wrote it, decoded once.
  static func given(_ request: Request, _ prefix: String) throws -> String {
    guard let text = String(request.uri.path.dropFirst(prefix.count)).removingPercentEncoding else {
      throw PlatformError(.invalidArgument, "the path holds a malformed escape", number: "PLT-3001")
    }
    return text
  }

  /// - Parameter least: how many parts the path has at least after `/Volumes`; 3 is the volume itself.
  private func path(_ request: Request, _ prefix: String, least: Int, toWrite: Bool = false) async throws -> String {
    let text = try Self.given(request, prefix)
    guard text.utf8.split(separator: UInt8(ascii: "/")).count > least else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(200))' does not name anything inside of a volume", number: "PLT-3001")
    }
    return try await service.volumePath(text, toWrite: toWrite)
  }

  private func download(_ request: Request, head: Bool) async throws -> Response {
    let path = try await path(request, Self.files, least: 4)
    let file = try await BlockingPool.shared.run { try VolumeFile(reading: path) }
    var headers: HTTPFields = [
      .contentType: "application/octet-stream", .acceptRanges: "bytes", .lastModified: VolumeFile.httpDate(file.modified), .eTag: file.tag,
    ]
    if let stopped = Self.precondition(request, file) { return Response(status: stopped, headers: headers) }
    let range: Range<Int64>
    var status = HTTPResponse.Status.ok
    // A range of another content than the client has seen would not fit to what it has: it gets the whole.
    let isSame = request.headers[.ifRange].map { $0 == file.tag || VolumeFile.parse(httpDate: $0) == file.modified } ?? true
    switch VolumeFile.range(isSame ? request.headers[.range] : nil, size: file.size) {
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

  /// Conditions of RFC 9110, section 13, in its order; nil when the file is to be sent.
  private static func precondition(_ request: Request, _ file: VolumeFile) -> HTTPResponse.Status? {
    let headers = request.headers
    if let wanted = headers[.ifMatch] {
      if !VolumeFile.matches(wanted, file.tag) { return .preconditionFailed }
    } else if let since = headers[.ifUnmodifiedSince].flatMap({ VolumeFile.parse(httpDate: $0) }), file.modified > since {
      return .preconditionFailed
    }
    if let known = headers[.ifNoneMatch] { return VolumeFile.matches(known, file.tag) ? .notModified : nil }
    if let since = headers[.ifModifiedSince].flatMap({ VolumeFile.parse(httpDate: $0) }), file.modified <= since { return .notModified }
    return nil
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
