// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Objects by name: whole values that appear at once or not at all. All calls block; call them on a `BlockingPool`.
///
/// Errors: `notFound`, `alreadyExists` (`putIfAbsent`), `resourceExhausted` (disk full), `permissionDenied`, `unavailable`.
/// After any other error of a write its outcome is unknown; read to find out.
public protocol ObjectStorage: Sendable {
  func get(_ path: ObjectPath) throws -> Data
  /// The bytes of `range`, cut at the object's end.
  /// - Throws: `invalidArgument` when the range starts behind the end.
  func get(_ path: ObjectPath, range: Range<Int>) throws -> Data
  /// Writes or replaces. Durable when it returns.
  func put(_ path: ObjectPath, _ data: Data) throws
  /// Writes only if no object has that name: exactly one of many concurrent callers succeeds.
  func putIfAbsent(_ path: ObjectPath, _ data: Data) throws
  /// All objects below folder `prefix` (nil: all), at any depth, in order of their names. An absent folder is empty.
  func list(_ prefix: ObjectPath?) throws -> [ObjectInfo]
  /// Deletes; an absent object is no error.
  func delete(_ path: ObjectPath) throws
  /// nil when absent.
  func head(_ path: ObjectPath) throws -> ObjectInfo?
}
