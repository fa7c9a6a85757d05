// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
public import Foundation
import NIOCore
import NIOHTTP1

extension PlatformClient {
  /// Adds one batch of records to a table. Returns when they are durable; the same batch again adds nothing.
  /// - Parameters:
  ///   - type: `application/x-ndjson` or `application/vnd.apache.arrow.stream`.
  ///   - isPacked: the body is gzip.
  public func push(_ body: Data, type: String, isPacked: Bool, to table: String, batchID: String) async throws -> RecordAnswer {
    let name = table.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? table
    var request = request(.POST, "/api/2.1/unity-catalog/tables/\(name)/records")
    request.headers.add(name: "Content-Type", value: type)
    request.headers.add(name: "Idempotency-Key", value: batchID)
    if isPacked { request.headers.add(name: "Content-Encoding", value: "gzip") }
    request.body = .bytes(ByteBuffer(bytes: body))
    let response = try await answer(request, within: .seconds(360))
    guard (200..<300).contains(Int(response.status.code)) else { throw try await refuse(response) }
    do {
      let buffer = try await response.body.collect(upTo: 1 << 20)
      return try JSONDecoder.platform.decode(RecordAnswer.self, from: Data(buffer.readableBytesView))
    } catch { throw unreachable(error) }
  }
}
