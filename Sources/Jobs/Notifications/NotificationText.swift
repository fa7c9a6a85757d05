// SPDX-License-Identifier: Apache-2.0

public import Core

/// A notice in words, for people who read mail.
public enum NotificationText {
  private static func words(_ occasion: Occasion) -> String {
    switch occasion {
    case .start: "has started"
    case .success: "has succeeded"
    case .failure: "did not succeed"
    case .slow: "takes longer than it should"
    }
  }

  private static func name(_ notice: Notice) -> String {
    let job = notice.body["job"]?["name"]?.stringValue ?? "a job"
    return notice.taskKey.isEmpty ? job : "\(job) / \(notice.taskKey)"
  }

  public static func subject(_ notice: Notice) -> String { "[platform] \(name(notice)) \(words(notice.occasion)) (run \(notice.runID))" }

  /// - Parameters:
  ///   - error: why it did not succeed.
  ///   - host: where the console is.
  public static func body(_ notice: Notice, error: PlatformError?, host: String) -> String {
    var lines = ["\(name(notice)) \(words(notice.occasion)).", ""]
    if let error, notice.occasion == .failure { lines += ["\(error)", ""] }
    lines.append("Run    \(notice.runID)  \(host)/#/runs/\(notice.runID)")
    if let job = notice.body["job"]?["job_id"]?.stringValue { lines.append("Job    \(job)") }
    if notice.occasion == .slow { lines.append("It is still running: 'platform runs watch \(notice.runID)', 'platform runs cancel \(notice.runID)'.") }
    if notice.occasion == .failure {
      lines.append("Logs   platform runs logs \(notice.runID)" + (notice.taskKey.isEmpty ? "" : " --task \(notice.taskKey)"))
      lines.append("Again  platform runs repair \(notice.runID)")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
