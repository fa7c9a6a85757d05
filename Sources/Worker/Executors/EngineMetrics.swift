// SPDX-License-Identifier: Apache-2.0

import Foundation
import Inference
import Transport

/// What a replica of a language model tells of its engine, under vLLM's names (its version 1 engine), so that dashboards made for it work.
/// Names of ours are added where there is none: `platform_engine_...`.
enum EngineMetrics {
  /// - Parameters:
  ///   - maxLoras: adapters that may be in memory.
  ///   - cache: how keys and values are kept.
  static func frame(_ statistics: EngineStatistics, maxLoras: Int, cache: String) -> MetricFrame {
    var frame = MetricFrame()
    func add(_ kind: MetricFrame.Kind, _ name: String, _ help: String, _ value: Double, _ labels: [String: String] = [:]) {
      frame.families.append(.init(name, kind, help, [.init(labels, value)]))
    }
    func add(_ name: String, _ help: String, _ histogram: EngineHistogram) {
      frame.distributions.append(.init("vllm:" + name, help, bounds: histogram.bounds, counts: histogram.counts, sum: histogram.sum))
    }
    let s = statistics
    add(.gauge, "vllm:num_requests_running", "Requests in the batch.", Double(s.runningRequests))
    add(.gauge, "vllm:num_requests_waiting", "Requests that wait for room in the batch.", Double(s.waitingRequests))
    add(.gauge, "vllm:kv_cache_usage_perc", "Share of the cache's blocks that requests hold; 1 is all.", s.cacheUsage)
    add(
      .gauge, "vllm:cache_config_info", "The cache.", 1,
      [
        "block_size": "\(EngineStatistics.blockSize)", "num_gpu_blocks": "\(s.cacheBlocksTotal)", "enable_prefix_caching": "True", "cache_dtype": cache,
      ])
    add(
      .gauge, "vllm:lora_requests_info", "Adapters of requests; the value is the time.", Date().timeIntervalSince1970,
      [
        "max_lora": "\(maxLoras)", "running_lora_adapters": s.runningAdapters.sorted().joined(separator: ","),
        "waiting_lora_adapters": s.waitingAdapters.sorted().joined(separator: ","),
      ])
    add(.counter, "vllm:prefix_cache_queries_total", "Tokens that were looked up in the cache.", Double(s.prefixQueries))
    add(.counter, "vllm:prefix_cache_hits_total", "Tokens that were found in the cache.", Double(s.prefixHits))
    add(.counter, "vllm:num_preemptions_total", "Times that a request was pushed out of the cache.", Double(s.preemptions))
    add(.counter, "vllm:prompt_tokens_total", "Tokens of accepted prompts.", Double(s.promptTokens))
    add(.counter, "vllm:generation_tokens_total", "Tokens drawn.", Double(s.generatedTokens))
    frame.families.append(
      .init(
        "vllm:request_success_total", .counter, "Finished requests.",
        Set(s.finishedRequests.keys).union(["stop", "length", "abort", "error"]).sorted().map {
          .init(["finished_reason": $0], Double(s.finishedRequests[$0] ?? 0))
        }))
    add(.counter, "vllm:spec_decode_num_drafts_total", "Drafts of tokens that may follow.", Double(s.drafts))
    add(.counter, "vllm:spec_decode_num_draft_tokens_total", "Tokens of drafts.", Double(s.draftedTokens))
    add(.counter, "vllm:spec_decode_num_accepted_tokens_total", "Tokens of drafts that were drawn.", Double(s.acceptedTokens))
    frame.families.append(
      .init(
        "vllm:spec_decode_num_accepted_tokens_per_pos_total", .counter, "Tokens of drafts that were drawn, by their place in the draft.",
        s.acceptedTokensByPlace.enumerated().map { .init(["position": "\($0)"], Double($1)) }))
    add(.counter, "platform_engine_refused_requests_total", "Requests that were refused before the queue.", Double(s.refusedRequests))
    add(.counter, "platform_engine_computed_tokens_total", "Rows computed, those that are computed again too.", Double(s.computedTokens))
    add(.counter, "platform_engine_steps_total", "Steps.", Double(s.steps))
    add(.counter, "platform_engine_step_seconds_total", "Time in steps.", s.stepSeconds)
    add(.gauge, "platform_engine_current_step_seconds", "How long the step that runs now has been running.", s.currentStepSeconds)
    add("iteration_tokens_total", "Rows of a step.", s.stepTokens)
    add("time_to_first_token_seconds", "From acceptance to the first token.", s.timeToFirstToken)
    add("inter_token_latency_seconds", "Between a request's tokens.", s.interTokenLatency)
    add("request_time_per_output_token_seconds", "A request's mean time a token behind the first.", s.secondsPerToken)
    add("e2e_request_latency_seconds", "From acceptance to the end.", s.requestSeconds)
    add("request_queue_time_seconds", "From acceptance to the first step.", s.queueSeconds)
    add("request_inference_time_seconds", "From the first step to the end.", s.inferenceSeconds)
    add("request_prefill_time_seconds", "From the first step to the first token.", s.prefillSeconds)
    add("request_decode_time_seconds", "From the first token to the last.", s.decodeSeconds)
    add("request_prompt_tokens", "Tokens of a request's prompt.", s.requestPromptTokens)
    add("request_generation_tokens", "Tokens that a request made.", s.requestGeneratedTokens)
    add("request_params_max_tokens", "Tokens that a request was allowed to make.", s.requestMaxTokens)
    return frame
  }
}
