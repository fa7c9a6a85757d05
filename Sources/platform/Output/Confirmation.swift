// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// Asks before something is destroyed.
enum Confirmation {
  /// Returns when the person types `word`, or has said `--yes`.
  /// - Throws: `invalidArgument` when there is nobody to ask, `cancelled` for any other answer.
  static func require(_ word: String, toDelete what: String, yes: Bool) throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw PlatformError(.invalidArgument, "this deletes \(what)", hint: "Add --yes to confirm.")
    }
    StandardStreams.error("This deletes \(what). Type '\(word)' to go on: ")
    guard readLine() == word else { throw PlatformError(.cancelled, "nothing was deleted") }
  }
}
