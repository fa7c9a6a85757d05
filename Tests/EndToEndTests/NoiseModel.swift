// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport

/// A small language model with random weights that can be imported and served.
enum NoiseModel {
  /// A Llama of one layer over all bytes; token 256 ends a text.
  static func write(_ folder: TemporaryDirectory) throws {
    func put(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(name))) }
    let (width, vocabulary, inner) = (32, 257, 64)
    try put(
      "config.json",
      #"{"model_type":"llama","vocab_size":257,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":2048,"eos_token_id":256}"#
    )
    var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [vocabulary, width]), ("lm_head.weight", [vocabulary, width])]
    for (name, shape) in [
      ("self_attn.q_proj", [width, width]), ("self_attn.k_proj", [width / 2, width]), ("self_attn.v_proj", [width / 2, width]),
      ("self_attn.o_proj", [width, width]), ("mlp.gate_proj", [inner, width]), ("mlp.up_proj", [inner, width]), ("mlp.down_proj", [width, inner]),
    ] { shapes.append(("model.layers.0.\(name).weight", shape)) }
    for name in ["norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm"] { shapes.append(("model.\(name).weight", [width])) }
    var random = SplitMix64(seed: 1)
    var header: [String: JSONValue] = [:]
    var data = Data()
    for (name, shape) in shapes {
      let values = (0..<shape.reduce(1, *)).map { _ in shape.count == 1 ? Float(1) : Float(random.nextUnit() * 0.6 - 0.3) }
      let bytes = values.withUnsafeBytes { Data($0) }
      header[name] = [
        "dtype": "F32", "shape": .array(shape.map { .integer(Int64($0)) }),
        "data_offsets": [.integer(Int64(data.count)), .integer(Int64(data.count + bytes.count))],
      ]
      data += bytes
    }
    let text = Data(JSONValue.object(header).sortedText.utf8)
    let length = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) }
    try (length + text + data).write(to: URL(fileURLWithPath: folder.file("model.safetensors")))
    // All bytes in GPT-2's spelling.
    let plain = (33...126).map { UInt32($0) } + (161...172).map { UInt32($0) } + (174...255).map { UInt32($0) }
    let spellings = (plain + (256..<324).map { UInt32($0) }).compactMap { Unicode.Scalar($0).map { String(Character($0)) } }
    var entries = Dictionary(uniqueKeysWithValues: spellings.enumerated().map { ($1, JSONValue.integer(Int64($0))) })
    entries["<eos>"] = 256
    let tokenizer: JSONValue = [
      "added_tokens": [
        ["id": 256, "content": "<eos>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false]
      ], "normalizer": .null, "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false], "post_processor": .null,
      "decoder": ["type": "ByteLevel"], "model": ["type": "BPE", "vocab": .object(entries), "merges": []],
    ]
    try put("tokenizer.json", tokenizer.sortedText)
  }
}
