// SPDX-License-Identifier: Apache-2.0

import Core

/// Finds `read_files('path', name => value, ..)` in a statement and puts a table's name in its place.
enum FileRequests {
  /// Overwrites each call in `bytes` by a name and blanks, so that all other offsets stay.
  /// - Throws: `invalidArgument` PLT-3115 for arguments that are no constants.
  static func take(from tokens: SQLTokens, startingAt first: Int, _ bytes: inout [UInt8]) throws -> [FileRead.Request] {
    let list = tokens.tokens
    var requests: [FileRead.Request] = []
    let hasMetadata = list.contains { $0.isName && $0.text.lowercased() == FileRead.metadataColumn }
    var index = first
    func wrong(_ what: String) -> PlatformError {
      PlatformError(
        .invalidArgument, "read_files: \(what)", hint: "For example read_files('/Volumes/main/demo/in/*.csv', format => 'csv', header => true).",
        number: "PLT-3115")
    }
    while index + 1 < list.count {
      guard list[index].isWord("READ_FILES"), list[index + 1].isSymbol("(") else {
        index += 1
        continue
      }
      let start = list[index].range.lowerBound
      index += 2
      guard index < list.count, list[index].kind == .string else { throw wrong("the first argument is the path, in quotes") }
      var request = FileRead.Request(view: "__files_\(requests.count)", path: list[index].text, arguments: [:], hasMetadata: hasMetadata)
      index += 1
      while index < list.count, list[index].isSymbol(",") {
        guard index + 1 < list.count, list[index + 1].isName else { throw wrong("an argument is written name => value") }
        let name = list[index + 1].text.lowercased()
        index += 2
        if index < list.count, list[index].isSymbol("=") || list[index].isSymbol(":") { index += 1 }
        if index < list.count, list[index].isSymbol(">") || list[index].isSymbol("=") { index += 1 }
        guard index < list.count, [.string, .number, .word].contains(list[index].kind) else { throw wrong("argument '\(name)' is no constant") }
        guard request.arguments.updateValue(list[index].text, forKey: name) == nil else { throw wrong("argument '\(name)' is given twice") }
        index += 1
      }
      guard index < list.count, list[index].isSymbol(")") else { throw wrong("the arguments do not end with ')'") }
      let end = list[index].range.upperBound
      let name = Array(request.view.utf8)
      guard name.count <= end - start, requests.count < 100 else { throw wrong("too many calls") }
      for offset in start..<end { bytes[offset] = offset - start < name.count ? name[offset - start] : 32 }
      requests.append(request)
    }
    return requests
  }
}
