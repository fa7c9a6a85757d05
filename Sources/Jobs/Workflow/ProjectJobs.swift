// SPDX-License-Identifier: Apache-2.0

package import Core

/// Jobs of project files: the rules of workflow files, for trees that were put together from several files.
package enum ProjectJobs {
  package struct Checked: Sendable {
    /// With the lines that the tree has.
    package var errors: [PlatformError]
    package var ignored: [(place: String, line: Int)]
  }

  /// Checks a job that shall be stored; the same rules decide when it is.
  /// - Parameter attachments: texts of files that its tasks name, by the path written there.
  package static func check(_ job: YAMLTree, key: String, line: Int, attachments: [String: String]) -> Checked {
    var checker = WorkflowChecker(path: "", purpose: .definition, attachments: attachments)
    let run = checker.readJob(YAMLTree.Member(key: key, line: line, value: job), [:])
    let place = "resources.jobs.\(key)"
    let errors = checker.result(run).errors.map { error in
      var error = error
      // Which file it is, the line tells.
      error.path = nil
      // Tasks are named by their number in the job.
      if error.message.hasPrefix("tasks[") { error.message = "\(place).\(error.message)" }
      return error
    }
    return Checked(errors: errors, ignored: checker.ignored.map { ($0.place.hasPrefix("tasks[") ? "\(place).\($0.place)" : $0.place, $0.line) })
  }

  // MARK: Keys

  /// A key that a job, a task or a task's body may have.
  package struct Key: Sendable {
    package indirect enum Shape: Sendable {
      case text, wholeNumber(ClosedRange<Int64>), number(ClosedRange<Double>), flag, texts, mapping, any
      /// Text of a certain form, in words.
      case form(String)
      case keys([Key])
    }
    package var name: String
    package var shape: Shape
    package var isRequired: Bool
  }

  /// What is read of stored jobs, and of those only.
  private static let stored = ["schedule", "trigger", "continuous", "permissions"]
  private static var told: [String] { NotificationRules.keys.sorted() }

  /// Keys of a job that are read.
  package static var jobKeys: [String] { TaskSchema.jobKeys + stored + told }
  package static var ignoredJobKeys: [String] { TaskSchema.ignoredJobKeys.subtracting(stored + told).sorted() }
  package static var taskKeys: [String] { TaskSchema.taskKeys + told }
  package static var ignoredTaskKeys: [String] { TaskSchema.ignoredTaskKeys.subtracting(told).sorted() }
  package static var refusedTaskKeys: [String] { TaskSchema.notBuilt.sorted() }
  /// What tasks do, with the keys of each body. A loop's body has a task in it again.
  package static var bodies: [(key: String, keys: [Key])] { TaskSchema.bodies.map { ($0.key, $0.fields.map(Key.init)) } }
  package static var loop: String { TaskSchema.loop }
}

extension ProjectJobs.Key {
  init(_ field: Field) {
    name = field.name
    isRequired = field.required
    switch field.kind {
    case .integer(let range): shape = .wholeNumber(range)
    case .number(let range): shape = .number(range)
    case .flag: shape = .flag
    case .text, .anyText: shape = .text
    case .word: shape = .form("letters, digits, '_', '-' and '.'")
    case .oneOf(let known): shape = .form(known.joined(separator: ", "))
    case .object: shape = .form("catalog.schema.object")
    case .model: shape = .form("catalog.schema.model, with /VERSION or @ALIAS")
    case .bytes: shape = .form("a number of bytes, or text such as 5MB")
    case .texts, .anyTexts: shape = .texts
    case .fields(let fields): shape = .keys(fields.map(ProjectJobs.Key.init))
    case .mapping, .environment, .models: shape = .mapping
    default: shape = .any
    }
  }
}
