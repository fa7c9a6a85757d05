// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// Which file and line a value stands in, when values of several files were put together: line n of file f has the number f * 2^24 + n.
struct SourceMap {
  /// More lines than a file of the largest size has.
  static let linesPerFile = 1 << 24
  private(set) var files: [String] = []

  /// A document of one more file.
  /// - Throws: `invalidFile` PLT-1200.
  mutating func parse(_ text: String, path: String) throws(PlatformError) -> YAMLTree {
    files.append(path)
    return try YAMLTree(parsing: text, path: path).moved(by: (files.count - 1) * Self.linesPerFile)
  }

  func path(_ line: Int) -> String {
    let index = line / Self.linesPerFile
    return files.indices.contains(index) ? files[index] : files.first ?? ""
  }

  func line(_ line: Int) -> Int { max(1, line % Self.linesPerFile) }

  func located(_ error: PlatformError) -> PlatformError {
    guard let line = error.line else { return error }
    var error = error
    error.path = path(line)
    error.line = self.line(line)
    return error
  }
}

extension YAMLTree {
  func moved(by offset: Int) -> YAMLTree {
    guard offset > 0 else { return self }
    switch content {
    case .scalar: return YAMLTree(content, at: line + offset)
    case .list(let items): return YAMLTree(.list(items.map { $0.moved(by: offset) }), at: line + offset)
    case .map(let members):
      return YAMLTree(
        .map(members.map { Member(key: $0.key, line: $0.line + offset, value: $0.value.moved(by: offset)) }), at: line + offset)
    }
  }

  static func text(_ text: String, at line: Int) -> YAMLTree { YAMLTree(.scalar(text, plain: false), at: line) }
  static func plain(_ text: String, at line: Int) -> YAMLTree { YAMLTree(.scalar(text, plain: true), at: line) }

  /// With a member set, in its place or at the end; nil removes it.
  func setting(_ key: String, _ value: YAMLTree?) -> YAMLTree {
    var members = members ?? []
    let position = members.firstIndex { $0.key == key }
    if let value {
      let member = Member(key: key, line: position.map { members[$0].line } ?? value.line, value: value)
      if let position { members[position] = member } else { members.append(member) }
    } else if let position {
      members.remove(at: position)
    }
    return YAMLTree(.map(members), at: line)
  }

  /// What a path of keys leads to.
  func at(_ path: [String]) -> YAMLTree? {
    var here = self
    for key in path {
      guard let next = here[key] else { return nil }
      here = next
    }
    return here
  }
}
