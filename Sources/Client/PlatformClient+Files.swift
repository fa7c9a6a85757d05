// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
public import Foundation
import NIOCore
import NIOHTTP1

/// Files of volumes, in streams: a call holds a few pieces in memory, whatever the size of the file.
extension PlatformClient {
  /// A file or folder of a volume.
  public struct FileFacts: Sendable, Equatable {
    public var isDirectory: Bool
    public var size: Int64
    /// Changes with the content; empty for folders.
    public var tag: String
    public var modified: String
  }

  /// One entry of a folder.
  public struct FileEntry: Codable, Sendable, Equatable {
    public var name: String
    public var path: String
    public var isDirectory: Bool
    public var fileSize: Int64?
    /// Milliseconds since 1970.
    public var lastModified: Int64
    enum CodingKeys: String, CodingKey {
      case name, path
      case isDirectory = "is_directory"
      case fileSize = "file_size"
      case lastModified = "last_modified"
    }
  }

  /// One page of a folder; `contents` is missing when it is empty.
  private struct FilePage: Codable, Sendable {
    var contents: [FileEntry]?
    var nextPageToken: String?
    enum CodingKeys: String, CodingKey {
      case contents
      case nextPageToken = "next_page_token"
    }
  }

  private static func url(_ kind: String, _ path: String) -> String {
    let allowed = CharacterSet.alphanumerics.union(CharacterSet(charactersIn: "-._~"))
    // By bytes, as the server and the kernel read paths.
    let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
    return "/api/2.0/fs/\(kind)/" + parts.map { $0.addingPercentEncoding(withAllowedCharacters: allowed) ?? $0 }.joined(separator: "/")
  }

  func request(_ method: HTTPMethod, _ path: String) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: host + path)
    request.method = method
    if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
    return request
  }

  func answer(_ request: HTTPClientRequest, within limit: Duration) async throws -> HTTPClientResponse {
    try await perform(request, within: limit)
  }

  func refuse(_ response: HTTPClientResponse) async throws -> PlatformError {
    do {
      let buffer = try await response.body.collect(upTo: 1 << 20)
      return Self.error(status: Int(response.status.code), Data(buffer.readableBytesView))
    } catch { return unreachable(error) }
  }

  /// What is at `/Volumes/catalog/schema/volume/...`.
  /// - Returns: nil when there is nothing.
  public func look(atFile path: String) async throws -> FileFacts? {
    for kind in ["files", "directories"] {
      let response = try await answer(request(.HEAD, Self.url(kind, path)), within: timeout)
      switch response.status.code {
      case 200:
        let isFile = kind == "files"
        return FileFacts(
          isDirectory: !isFile, size: isFile ? Int64(response.headers.first(name: "Content-Length") ?? "0") ?? 0 : 0,
          tag: response.headers.first(name: "ETag") ?? "", modified: response.headers.first(name: "Last-Modified") ?? "")
      case 400, 404: continue
      default: throw Self.error(status: Int(response.status.code), Data())
      }
    }
    return nil
  }

  /// All entries of a folder, by name.
  /// - Throws: `notFound`.
  public func files(in path: String) async throws -> [FileEntry] {
    var all: [FileEntry] = []
    var token: String?
    repeat {
      let query = token.map { "?page_token=\($0.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? $0)" } ?? ""
      let page: FilePage = try await get(Self.url("directories", path) + query)
      all += page.contents ?? []
      token = page.nextPageToken
    } while token != nil
    return all
  }

  /// The content from `offset`, piece by piece. Nothing else is read while `take` works.
  /// - Parameter tag: what `look` said; when the content has changed since, the download is refused with `conflict`.
  public func download(_ path: String, from offset: Int64 = 0, tag: String = "", _ take: (Data) async throws -> Void) async throws {
    var request = request(.GET, Self.url("files", path))
    if offset > 0 { request.headers.add(name: "Range", value: "bytes=\(offset)-") }
    if !tag.isEmpty { request.headers.add(name: "If-Match", value: tag) }
    let response = try await answer(request, within: .seconds(86_400))
    switch response.status.code {
    case 200 where offset == 0, 206: break
    case 412: throw PlatformError(.conflict, "'\(path)' has changed meanwhile")
    case 200..<300: throw PlatformError(.internalError, "the server sent the whole of '\(path)' where a part was asked for")
    default: throw try await refuse(response)
    }
    do {
      for try await buffer in response.body { try await take(Data(buffer.readableBytesView)) }
    } catch let error as PlatformError { throw error } catch { throw unreachable(error) }
  }

  /// What a route answers with, piece by piece. Nothing else is read while `take` works.
  public func download(from route: String, _ take: (Data) async throws -> Void) async throws {
    let response = try await answer(request(.GET, route), within: .seconds(86_400))
    guard response.status.code == 200 else { throw try await refuse(response) }
    do {
      for try await buffer in response.body { try await take(Data(buffer.readableBytesView)) }
    } catch let error as PlatformError { throw error } catch { throw unreachable(error) }
  }

  /// Sends a file; it appears whole, or not at all.
  /// - Parameters:
  ///   - size: when it is known; otherwise the pieces are sent as they come.
  ///   - pieces: of any size.
  /// - Throws: `alreadyExists` when there is one of the name and `overwrite` is false.
  public func upload<Pieces: AsyncSequence & Sendable>(
    _ path: String, size: Int64?, overwrite: Bool, _ pieces: Pieces
  ) async throws where Pieces.Element == Data {
    var request = request(.PUT, Self.url("files", path) + "?overwrite=\(overwrite)")
    request.headers.add(name: "Content-Type", value: "application/octet-stream")
    request.body = .stream(pieces.map { ByteBuffer(bytes: $0) }, length: size.map { .known($0) } ?? .unknown)
    let response = try await answer(request, within: .seconds(86_400))
    guard (200..<300).contains(Int(response.status.code)) else { throw try await refuse(response) }
  }

  /// Makes a folder, and those above it inside of the volume.
  public func makeFolder(_ path: String) async throws { _ = try await send("PUT", Self.url("directories", path), body: nil) }

  /// Removes a file, or an empty folder.
  public func remove(_ path: String, isDirectory: Bool) async throws {
    _ = try await send("DELETE", Self.url(isDirectory ? "directories" : "files", path), body: nil)
  }
}
