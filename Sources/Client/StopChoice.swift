// SPDX-License-Identifier: Apache-2.0

public import Core

/// Which endpoints names mean.
public enum StopChoice {
  /// Those of the names, each once, in the order in which they were given. All names are looked at before anything is done.
  /// - Throws: `notFound` PLT-4304 that lists what is served.
  public static func endpoints(_ names: [String], among endpoints: [EndpointInfo]) throws(PlatformError) -> [EndpointInfo] {
    var chosen: [EndpointInfo] = []
    for name in names {
      guard let found = endpoints.first(where: { $0.name == name }) else { throw unknown(name, endpoints) }
      if !chosen.contains(where: { $0.name == name }) { chosen.append(found) }
    }
    return chosen
  }

  private static func unknown(_ name: String, _ endpoints: [EndpointInfo]) -> PlatformError {
    func error(_ what: String, _ hint: String) -> PlatformError { PlatformError(.notFound, what, hint: hint, number: "PLT-4304") }
    if let owner = endpoints.first(where: { ($0.adapters ?? []).contains { $0.name == name } }) {
      return error(
        "'\(name)' is an adapter of endpoint '\(owner.name)'", "Stop the endpoint: platform stop \(owner.name)")
    }
    // People name the model: `main.demo.chat` of `models:/main.demo.chat/3`.
    let servers = endpoints.filter { $0.model == name || $0.model.hasPrefix("models:/\(name)/") }.map(\.name)
    if !servers.isEmpty {
      return error(
        "'\(name)' is a model, not an endpoint",
        "It is served by \(servers.joined(separator: ", ")): platform stop \(servers.joined(separator: " "))")
    }
    let known = endpoints.map(\.name)
    guard !known.isEmpty else { return error("endpoint '\(name)' does not exist", "Nothing is being served.") }
    let close = Spelling.suggestion(for: name, among: known).map { "Did you mean '\($0)'? " } ?? ""
    return error("endpoint '\(name)' does not exist", "\(close)There are: \(known.joined(separator: ", ")).")
  }
}
