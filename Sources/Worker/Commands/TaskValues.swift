// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a program hands to later tasks: lines in the file that `PLATFORM_TASK_VALUES` names, each `name=text` or a JSON object.
enum TaskValues {
  /// Bytes of one value as JSON; Databricks' limit.
  static let valueLimit = 48 << 10
  static let countLimit = 250
  static let fileLimit = countLimit * (valueLimit + 200)

  /// The module that Python programs import to read and write values.
  static let pythonModule = """
    # SPDX-License-Identifier: Apache-2.0
    \"\"\"Values that tasks of a run hand to each other.

        import taskvalues
        taskvalues.set("rows", 5)
        rows = taskvalues.get("count", "rows", default=0)
    \"\"\"
    import json as _json
    import os as _os

    _MISSING = object()


    def set(key, value):
        \"\"\"Hands a value to later tasks; it must be JSON of at most 48 KiB.\"\"\"
        line = _json.dumps({key: value}, allow_nan=False)
        if len(line.encode()) > 48 * 1024:
            raise ValueError(f"the value of {key!r} is larger than 48 KiB")
        with open(_os.environ["PLATFORM_TASK_VALUES"], "a", encoding="utf-8") as file:
            file.write(line + "\\n")


    def get(taskKey, key, default=_MISSING, debugValue=None):
        \"\"\"A value of a task that came before.\"\"\"
        path = _os.environ.get("PLATFORM_TASK_INPUTS")
        if path is None:
            return debugValue
        with open(path, encoding="utf-8") as file:
            values = _json.load(file)
        found = values.get(taskKey, {})
        if key in found:
            return found[key]
        if default is _MISSING:
            raise KeyError(f"task {taskKey!r} has no value {key!r}; it has {sorted(found)}")
        return default

    """

  /// - Throws: `invalidArgument` PLT-4207 naming the line.
  static func parse(_ data: Data) throws(PlatformError) -> [String: JSONValue] {
    func bad(_ line: Int, _ text: String) -> PlatformError {
      PlatformError(.invalidArgument, "line \(line) of the task's values \(text)", hint: "Write name=text, or one JSON object a line.", number: "PLT-4207")
    }
    guard data.count <= fileLimit else { throw bad(1, "and those after it are larger than \(fileLimit >> 20) MiB") }
    guard let text = String(data: data, encoding: .utf8) else { throw bad(1, "or one after it is not UTF-8") }
    var values: [String: JSONValue] = [:]
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      if line.allSatisfy(\.isWhitespace) { continue }
      var found: [String: JSONValue] = [:]
      if line.first == "{" {
        // Not an object: said below.
        guard let members = (try? JSONValue(parsing: String(line)))?.objectValue else { throw bad(index + 1, "is no JSON object") }
        found = members
      } else if let equals = line.firstIndex(of: "=") {
        found[String(line[..<equals])] = .string(String(line[line.index(after: equals)...]))
      } else {
        throw bad(index + 1, "has no '='")
      }
      for (name, value) in found {
        let good = name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95 || $0 == 45 }
        guard good, (1...100).contains(name.utf8.count) else { throw bad(index + 1, "names '\(name.prefix(80))': use letters, digits, '_' and '-'") }
        guard value.sortedText.utf8.count <= valueLimit else { throw bad(index + 1, "gives '\(name)' more than \(valueLimit >> 10) KiB") }
        values[name] = value
      }
      guard values.count <= countLimit else { throw bad(index + 1, "is one value too many: \(countLimit) are allowed") }
    }
    return values
  }
}
