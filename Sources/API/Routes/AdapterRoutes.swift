// SPDX-License-Identifier: Apache-2.0

import Core
import Hummingbird

/// Adapters that come and go while their endpoint serves.
public protocol AdapterServing: Sendable {
  /// Serves a registered adapter under `name`, by all replicas that there are and will be, until it is unloaded.
  /// - Parameters:
  ///   - endpoint: whose model it changes; nil: of the only one that there is.
  ///   - replaces: whether it may take the place of another version that the endpoint has under this name.
  func loadAdapter(_ name: String, model: String, endpoint: String?, replaces: Bool, by principal: Principal) async throws
  func unloadAdapter(_ name: String, by principal: Principal) async throws
}

/// `/v1/load_lora_adapter` and `/v1/unload_lora_adapter` as vLLM has them, for administrators.
struct AdapterRoutes {
  let service: any AdapterServing

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    router.post("/v1/load_lora_adapter") { request, context in
      let body: JSONValue = try await request.json()
      try TokenizeRequest.checkNames(body, ["lora_name", "lora_path", "base_model_name", "load_inplace"])
      let name = try Self.text(body, "lora_name")
      let endpoint = try (body["base_model_name"] ?? .null) == .null ? nil : Self.text(body, "base_model_name")
      let replaces = body["load_inplace"] ?? false
      guard let replaces = replaces == .null ? false : replaces.boolValue else {
        throw PlatformError(.invalidArgument, "'load_inplace' must be true or false", number: "invalid_type")
      }
      try await service.loadAdapter(name, model: Self.text(body, "lora_path"), endpoint: endpoint, replaces: replaces, by: context.principal)
      return Response.text("Success: LoRA adapter '\(name)' added successfully.", type: "text/plain; charset=utf-8")
    }
    router.post("/v1/unload_lora_adapter") { request, context in
      let body: JSONValue = try await request.json()
      // vLLM's own number of an adapter is taken and means nothing, there and here.
      try TokenizeRequest.checkNames(body, ["lora_name", "lora_int_id"])
      let name = try Self.text(body, "lora_name")
      try await service.unloadAdapter(name, by: context.principal)
      return Response.text("Success: LoRA adapter '\(name)' removed successfully.", type: "text/plain; charset=utf-8")
    }
  }

  private static func text(_ body: JSONValue, _ name: String) throws -> String {
    guard let text = body[name]?.stringValue, !text.isEmpty else {
      throw PlatformError(.invalidArgument, "'\(name)' must be a text", number: body[name] == nil ? "missing_parameter" : "invalid_type")
    }
    return text
  }
}
