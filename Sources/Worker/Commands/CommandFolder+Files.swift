// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Pipelines

extension ProgramFiles {
  /// Puts the files where the program begins to work. To be called before the folder is handed over.
  func write(to folder: inout CommandFolder) throws {
    try folder.makeFolder(DbtProgram.folder)
    for (path, data) in all {
      let place = "\(DbtProgram.folder)/\(path)"
      try folder.makeFolder((place as NSString).deletingLastPathComponent)
      try folder.write("home/\(place)", data)
    }
  }
}
