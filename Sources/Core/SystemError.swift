// SPDX-License-Identifier: Apache-2.0

public import Glibc

extension PlatformError {
  /// What a failed system call on a file means to a person: a full disk, a missing permission, or its own text.
  /// - Parameters:
  ///   - verb: what was tried, as in "write".
  ///   - number: `errno`, read before anything else can change it.
  public static func system(_ verb: String, _ path: String, errno number: Int32 = errno) -> PlatformError {
    switch number {
    case ENOSPC, EDQUOT: diskFull("cannot \(verb): no space left on the disk", path: path)
    case EACCES, EPERM, EROFS, ELOOP:
      PlatformError(.permissionDenied, "cannot \(verb): \(String(cString: strerror(number)))", path: path)
    default: PlatformError(.unavailable, "cannot \(verb): \(String(cString: strerror(number)))", path: path)
    }
  }

  public static func diskFull(_ message: String, path: String? = nil) -> PlatformError {
    PlatformError(
      .resourceExhausted, message, hint: "Free some space, then try again; nothing was changed.", number: "PLT-3202", path: path)
  }
}
