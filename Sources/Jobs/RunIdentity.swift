// SPDX-License-Identifier: Apache-2.0

public import Core

/// In whose name a job shall run, as `run_as` of its settings says it. Jobs run in the name of their owner, so it can say nothing else; it is checked
/// when it is sent and, as Databricks has it, written only: what is stored and shown is the owner.
public enum RunIdentity {
  static let key = "run_as"
  private static let kinds = ["user_name", "service_principal_name", "group_name"]

  private static func bad(_ text: String, _ hint: String) -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4490") }

  /// The user that settings name; nil when they name nobody.
  /// - Throws: `invalidArgument` PLT-4490, the message beginning with the field's name; `notFound` PLT-4462 for an account of a program.
  public static func user(of settings: JSONValue) throws(PlatformError) -> String? {
    guard let value = settings[key], value != .null else { return nil }
    let example = "For example { user_name: ann }."
    guard let members = value.objectValue?.filter({ $0.value != .null }) else { throw bad("\(key): must be a mapping", example) }
    if let other = members.keys.sorted().first(where: { !kinds.contains($0) }) {
      let close = Spelling.suggestion(for: other, among: kinds)
      throw bad("\(key): unknown key '\(other.prefix(60))'", close.map { "Did you mean '\($0)'?" } ?? example)
    }
    guard members.count == 1, let (kind, given) = members.first, let name = given.stringValue, !name.isEmpty else {
      throw bad("\(key): must name exactly one user", example)
    }
    switch kind {
    case "service_principal_name":
      throw PlatformError(
        .notFound, "\(key): Principal: ServicePrincipalName(\(name.prefix(130))) does not exist",
        hint: "Programs use the token of a user: 'platform users create NAME'.", number: "PLT-4462")
    case "group_name": throw bad("\(key): a job runs in the name of a user, not of the group '\(name.prefix(130))'", example)
    default: return name
    }
  }

  /// - Parameter owner: whose the job, or the run, is.
  /// - Throws: as `user(of:)`; `permissionDenied` PLT-4491 when they name another user.
  public static func require(_ settings: JSONValue, owner: String) throws(PlatformError) {
    guard let user = try user(of: settings), user != owner else { return }
    throw PlatformError(
      .permissionDenied, "\(key): it would run as \(user.prefix(130)), and it is \(owner)'s",
      hint: "Jobs run in the name of their owner: leave run_as out, or make \(user.prefix(130)) the owner (permission_level IS_OWNER).", number: "PLT-4491")
  }
}
