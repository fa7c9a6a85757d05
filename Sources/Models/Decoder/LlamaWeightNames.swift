// SPDX-License-Identifier: Apache-2.0

/// The tensor names of `LlamaForCausalLM` checkpoints and the shape that each must have.
public enum LlamaWeightNames {
  /// [vocabulary, hidden]
  public static let embedding = "model.embed_tokens.weight"
  /// [hidden]
  public static let finalNorm = "model.norm.weight"
  /// [vocabulary, hidden]; absent when `tie_word_embeddings` is set.
  public static let head = "lm_head.weight"

  /// The tensors of layer `index` (from 0). Matrices are [out, in].
  public static func layer(_ index: Int) -> Layer { Layer(prefix: "model.layers.\(index).") }

  public struct Layer: Sendable {
    let prefix: String
    public var inputNorm: String { prefix + "input_layernorm.weight" }
    public var attentionNorm: String { prefix + "post_attention_layernorm.weight" }
    public var query: String { prefix + "self_attn.q_proj.weight" }
    public var key: String { prefix + "self_attn.k_proj.weight" }
    public var value: String { prefix + "self_attn.v_proj.weight" }
    public var output: String { prefix + "self_attn.o_proj.weight" }
    public var gate: String { prefix + "mlp.gate_proj.weight" }
    public var up: String { prefix + "mlp.up_proj.weight" }
    public var down: String { prefix + "mlp.down_proj.weight" }
    /// The bias beside a weight: `...q_proj.weight` has `...q_proj.bias`.
    public static func bias(of weight: String) -> String { weight.dropLast("weight".count) + "bias" }
  }

  /// Every tensor that a checkpoint of `configuration` must hold, in the order of the computation.
  public static func shapes(_ c: LlamaConfiguration) -> [(name: String, shape: [Int])] {
    var all: [(name: String, shape: [Int])] = [(embedding, [c.vocabularySize, c.hiddenSize])]
    for index in 0..<c.layerCount {
      let names = layer(index)
      func matrix(_ name: String, _ rows: Int, _ columns: Int, bias: Bool) {
        all.append((name, [rows, columns]))
        if bias { all.append((Layer.bias(of: name), [rows])) }
      }
      all.append((names.inputNorm, [c.hiddenSize]))
      matrix(names.query, c.queryWidth, c.hiddenSize, bias: c.attentionBias)
      matrix(names.key, c.keyValueWidth, c.hiddenSize, bias: c.attentionBias)
      matrix(names.value, c.keyValueWidth, c.hiddenSize, bias: c.attentionBias)
      matrix(names.output, c.hiddenSize, c.queryWidth, bias: c.attentionBias)
      all.append((names.attentionNorm, [c.hiddenSize]))
      matrix(names.gate, c.intermediateSize, c.hiddenSize, bias: c.mlpBias)
      matrix(names.up, c.intermediateSize, c.hiddenSize, bias: c.mlpBias)
      matrix(names.down, c.hiddenSize, c.intermediateSize, bias: c.mlpBias)
    }
    all.append((finalNorm, [c.hiddenSize]))
    if !c.tieWordEmbeddings { all.append((head, [c.vocabularySize, c.hiddenSize])) }
    return all
  }
}
