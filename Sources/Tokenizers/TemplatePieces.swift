// SPDX-License-Identifier: Apache-2.0

/// What a `post_processor` puts around a single text.
struct TemplatePieces {
  var prefix: [Int32] = []
  var suffix: [Int32] = []
  var pair: PairTemplate?

  /// nil when the processor is of an unknown kind.
  init?(_ processor: ByteJSON?) {
    pair = PairTemplate(processor)
    guard let processor, !processor.isNull else { return }
    switch processor["type"]?.text {
    case "ByteLevel": break
    case "Sequence":
      for part in processor["processors"]?.items ?? [] {
        guard let pieces = TemplatePieces(part) else { return nil }
        prefix = pieces.prefix + prefix
        suffix += pieces.suffix
      }
    case "BertProcessing", "RobertaProcessing":
      guard let start = processor["cls"]?.items?.last?.id, let end = processor["sep"]?.items?.last?.id else { return nil }
      (prefix, suffix) = ([start], [end])
    case "TemplateProcessing":
      var afterText = false
      for piece in processor["single"]?.items ?? [] {
        if piece["Sequence"] != nil {
          afterText = true
        } else if let name = piece["SpecialToken"]?["id"]?.text {
          let ids = processor["special_tokens"]?[name]?["ids"]?.items?.compactMap(\.id) ?? []
          if afterText { suffix += ids } else { prefix += ids }
        }
      }
    default: return nil
    }
  }
}
