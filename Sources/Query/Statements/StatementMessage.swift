// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// An order on its way to an executor: what is the same whenever the same statement is repeated, and apart from it the folder of its result,
/// which is another each time.
///
/// On the wire: the head's length (u32, little-endian), the head (the order as JSON, its folder empty), the folder.
public struct StatementMessage: Sendable {
  /// Also what an executor knows a repeated statement by.
  public let head: Data
  /// `StatementOutput.directory`.
  public var directory: String

  public init(head: Data, directory: String) {
    self.head = head
    self.directory = directory
  }

  public init(_ order: StatementOrder) throws {
    var order = order
    directory = order.output?.directory ?? ""
    order.output?.directory = ""
    head = try JSONEncoder.platform.encode(order)
  }

  public var encoded: Data {
    var out = Data(capacity: 4 + head.count + directory.utf8.count)
    withUnsafeBytes(of: UInt32(head.count).littleEndian) { out.append(contentsOf: $0) }
    out.append(head)
    out.append(contentsOf: directory.utf8)
    return out
  }

  /// - Throws: `internalError` for what is no order.
  public init(decoding data: Data) throws {
    let data = data.startIndex == 0 ? data : Data(data)
    let length = data.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard data.count >= 4, length <= data.count - 4 else { throw PlatformError(.internalError, "an order for a statement is cut off") }
    head = data.subdata(in: 4..<4 + length)
    directory = String(decoding: data[(4 + length)...], as: UTF8.self)
  }

  /// - Throws: `internalError` for what is no order.
  public func order() throws -> StatementOrder {
    do {
      var order = try JSONDecoder.platform.decode(StatementOrder.self, from: head)
      order.output?.directory = directory
      return order
    } catch { throw PlatformError(.internalError, "unreadable statement: \(JSONValue.reason(error))") }
  }
}
