// SPDX-License-Identifier: Apache-2.0

public import Core
public import Tensor

/// A GGUF file read as a checkpoint in Hugging Face's terms: a configuration, and tensors by the names that our architectures ask for.
///
/// Follows llama.cpp's converter (conversion/*.py of llama.cpp) backwards.
public struct GGUFModel: Sendable {
  public let file: GGUFFile
  /// What `config.json` would hold.
  public let configuration: JSONValue
  /// Token ids that end a generation.
  public let endTokenIDs: [Int]
  /// Gemma's converter stores gains with their 1 added.
  let gainsAreWhole: Bool
  let weights: GGUFWeights

  /// - Throws: `notFound`; `invalidFile` (PLT-5210) for a broken file; PLT-5211 for an architecture or setting that is not built.
  public init(path: String) throws { try self.init(GGUFFile(path: path)) }

  init(_ file: GGUFFile) throws {
    let reader = GGUFConfiguration(file)
    let (configuration, names) = try reader.read()
    self.file = file
    self.configuration = configuration
    endTokenIDs = reader.endTokens
    gainsAreWhole = names.gainsAreWhole
    weights = GGUFWeights(file: file, map: names)
  }
}

/// How one architecture's tensors are called and stored.
struct GGUFNames: Sendable {
  /// The part behind `model.layers.N.`, without `.weight` or `.bias`, to the part behind `blk.N.`.
  var layer: [String: String]
  var gainsAreWhole = false
  /// Rows of queries and keys are stored pair by pair, as ggml's first rotary form turns them.
  var pairsRows = false
  var heads = 1
  var keyValueHeads = 1

  static let plain = [
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "block_sparse_moe.gate": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
  ]
  /// With norms on both sides of each branch.
  static let sandwich = plain.merging(
    ["post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"]
  ) { $1 }

  private static let experts = [
    "gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps", "w1": "ffn_gate_exps", "w3": "ffn_up_exps",
    "w2": "ffn_down_exps",
  ]

  /// The tensor in the file, and which of its outermost slices, that a name of Hugging Face means; nil for names that have none.
  func place(_ name: String) -> (name: String, slice: Int?)? {
    switch name {
    case "model.embed_tokens.weight": return ("token_embd.weight", nil)
    case "model.norm.weight": return ("output_norm.weight", nil)
    case "model.norm.bias": return ("output_norm.bias", nil)
    case "lm_head.weight": return ("output.weight", nil)
    default: break
    }
    let parts = name.split(separator: ".").map(String.init)
    guard parts.count > 4, parts[0] == "model", parts[1] == "layers", let kind = parts.last else { return nil }
    let inner = parts[3..<(parts.count - 1)]
    if let at = inner.firstIndex(of: "experts"), at + 2 < parts.count - 1, let expert = Int(parts[at + 1]), let stored = Self.experts[parts[at + 2]] {
      return ("blk.\(parts[2]).\(stored).\(kind)", expert)
    }
    return layer[inner.joined(separator: ".")].map { ("blk.\(parts[2]).\($0).\(kind)", nil) }
  }
}

/// A GGUF file's tensors under Hugging Face's names.
struct GGUFWeights: SafeTensorSource {
  let file: GGUFFile
  let map: GGUFNames

  var names: [String] { file.names }

  func contains(_ name: String) -> Bool { map.place(name).map { file.contains($0.name) } ?? false }

  /// Without the copy that rows in another order take.
  func blocks(of name: String) throws -> BlockFormat? { try file.blocks(of: map.place(name)?.name ?? name) }

  func tensor(_ name: String) throws -> SafeTensorView {
    guard let place = map.place(name) else {
      if file.contains(name) { return try file.tensor(name) }  // by its own name
      throw PlatformError(.invalidFile, "the file has no tensor '\(name)'", number: "PLT-5210", path: file.path)
    }
    let view = try file.tensor(place.name)
    if let slice = place.slice {
      guard let part = view.slice(slice) else {
        throw PlatformError(.invalidFile, "tensor '\(place.name)' of shape \(view.shape) has no expert \(slice)", number: "PLT-5210", path: file.path)
      }
      return part
    }
    guard map.pairsRows else { return view }
    let heads = place.name.contains(".attn_q.") ? map.heads : place.name.contains(".attn_k.") ? map.keyValueHeads : 0
    guard heads > 0, let rows = view.shape.first, rows % (2 * heads) == 0 else { return view }
    // Stored: the first number of each half of a head, then the second of each, .. Wanted: the first half, then the second.
    let half = rows / heads / 2
    return view.rows { row in
      let (head, within) = (row / (2 * half), row % (2 * half))
      return head * 2 * half + within % half * 2 + within / half
    }
  }
}
