// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// The unmodified `openai` package against an endpoint, feature by feature. The model has random weights: what it says follows from what was
  /// asked for alone.
  @Suite(.serialized, .enabled(if: Peers.python != nil, "no peer environment")) struct OpenAIClientTests {
    @Test(.timeLimit(.minutes(5))) func everyFeatureThroughTheClient() throws {
      let folder = TemporaryDirectory("openai")
      try NoiseModel.write(folder)
      let cluster = try LocalCluster("openai")
      #expect(try cluster.start(workers: 1).status == 0)
      let imported = try cluster.cli(["models", "import", "main.demo.noise", folder.path])
      #expect(imported.status == 0, "\(imported)")
      try Self.importCaller(cluster, "main.demo.caller")
      let run = try cluster.submit(
        "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: d\n          deploy_task: { endpoint: noise, model: main.demo.noise }\n        - task_key: e\n          deploy_task: { endpoint: caller, model: main.demo.caller }\n        - task_key: s\n          deploy_task: { endpoint: ahead, model: main.demo.noise, speculate: 6 }\n"
      )
      #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED", "\(run)")
      let answer = try LocalCluster.run(Peers.python ?? "", ["-c", Self.script], timeout: 240, environment: cluster.clientEnvironment)
      #expect(answer.status == 0 && answer.out.contains("all done"), "\(answer.all.suffix(4000))")
    }

    /// Registers a model of random weights whose chat template knows tools and reasoning.
    static func importCaller(_ cluster: LocalCluster, _ name: String) throws {
      let folder = TemporaryDirectory("openai-tools")
      try NoiseModel.write(folder)
      try Data(JSONValue.object(["chat_template": .string(template)]).sortedText.utf8).write(
        to: URL(fileURLWithPath: folder.file("tokenizer_config.json")))
      let imported = try cluster.cli(["models", "import", name, folder.path])
      #expect(imported.status == 0, "\(imported)")
    }

    /// In Qwen's way: tools in the prompt, calls in tags, reasoning on demand.
    private static let template = #"""
      {%- if tools %}T {{ tools | tojson }} <tool_call></tool_call>{% endif %}
      {%- for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}
      {% endfor %}assistant:{% if enable_thinking %}<think>
      {% else %}<think></think>{% endif %}
      """#

    private static let script = #"""
      import json, math, openai, re
      client = openai.OpenAI(max_retries=0)
      hello = [{"role": "user", "content": "hello"}]
      def chat(messages=hello, **options):
          return client.chat.completions.create(model="noise", messages=messages, **{"seed": 1, "max_tokens": 24, **options})
      def refused(parameter, call):
          try:
              call()
          except openai.BadRequestError as e:
              assert e.param == parameter, (parameter, e.param, e.body)
              return
          raise AssertionError(f"{parameter} was not refused")

      # What the engines tell of themselves, to the last token: four requests of 40 tokens, of which two blocks of 16 are known from the second on.
      import os, urllib.error, urllib.request
      def scrape(model="noise"):
          page = urllib.request.Request(os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + "/metrics", headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
          values, types = {}, {}
          for line in urllib.request.urlopen(page, timeout=60).read().decode().splitlines():
              if line.startswith("# TYPE"): types[line.split()[2]] = line.split()[3]
              elif line.startswith("vllm:") and f'model_name="{model}"' in line:
                  name, value = line.rsplit(" ", 1)
                  values[name.replace(f'engine="0",', "").replace(f'model_name="{model}"', "").replace(",}", "}").replace("{}", "")] = float(value)
          return types, values
      known = dict(model="noise", prompt=list(range(40)), max_tokens=5, extra_body={"ignore_eos": True})
      for count in (1, 1, 2): client.completions.create(**known, n=count)
      types, told = scrape()
      expected = {"num_requests_running": 0, "num_requests_waiting": 0, "kv_cache_usage_perc": 0, "num_preemptions_total": 0, "prompt_tokens_total": 160,
          "generation_tokens_total": 20, "prefix_cache_queries_total": 160, "prefix_cache_hits_total": 96, 'request_success_total{finished_reason="length"}': 4,
          'request_success_total{finished_reason="stop"}': 0, "time_to_first_token_seconds_count": 4, "inter_token_latency_seconds_count": 16,
          'request_prompt_tokens_bucket{le="20.0"}': 0, 'request_prompt_tokens_bucket{le="50.0"}': 4, 'request_prompt_tokens_bucket{le="+Inf"}': 4,
          "request_prompt_tokens_sum": 160, "request_generation_tokens_sum": 20, "request_params_max_tokens_sum": 20, "e2e_request_latency_seconds_count": 4,
          "request_queue_time_seconds_count": 4, "request_prefill_time_seconds_count": 4, "request_decode_time_seconds_count": 4,
          "iteration_tokens_total_sum": 40 + 3 * 8 + 16, "spec_decode_num_drafts_total": 0}
      for name, value in expected.items(): assert told["vllm:" + name] == value, (name, value, told["vllm:" + name])
      assert types["vllm:num_requests_running"] == "gauge" and types["vllm:prompt_tokens_total"] == "counter"
      assert types["vllm:time_to_first_token_seconds"] == "histogram" and told['vllm:time_to_first_token_seconds_bucket{le="+Inf"}'] == 4

      # An endpoint that supposes what follows says the same.
      for seed in range(6):
          pair = [client.completions.create(**{**known, "model": model, "max_tokens": 60}, seed=seed, temperature=seed / 5).choices[0].text for model in ("noise", "ahead")]
          assert pair[0] == pair[1], pair
      ahead = scrape("ahead")[1]
      assert ahead["vllm:generation_tokens_total"] == 360 and ahead["vllm:spec_decode_num_draft_tokens_total"] >= ahead["vllm:spec_decode_num_accepted_tokens_total"] > 0, ahead

      # Seeds, n, usage.
      a, b, c = chat(), chat(), chat(seed=2)
      assert a.choices[0].message.content == b.choices[0].message.content != c.choices[0].message.content
      three = chat(n=3, max_tokens=7, extra_body={"ignore_eos": True})
      assert [x.index for x in three.choices] == [0, 1, 2] and len({x.message.content for x in three.choices}) == 3
      assert three.usage.completion_tokens == 21 and three.usage.prompt_tokens == a.usage.prompt_tokens
      assert three.usage.total_tokens == three.usage.prompt_tokens + 21 and three.choices[0].finish_reason == "length"

      # Streams give the same, with one usage at the end when it is asked for.
      texts, usage = ["", "", ""], []
      for chunk in chat(n=3, max_tokens=7, stream=True, stream_options={"include_usage": True}, extra_body={"ignore_eos": True}):
          for x in chunk.choices: texts[x.index] += x.delta.content or ""
          usage.append(chunk.usage)
      assert texts == [x.message.content for x in three.choices]
      assert not any(usage[:-1]) and all(getattr(usage[-1], x) == getattr(three.usage, x) for x in ("prompt_tokens", "completion_tokens", "total_tokens")), usage
      # What was computed before is said: whole blocks of 16 tokens, never the last token.
      ids = [3 + x * 7 % 90 for x in range(80)]
      cached = [client.completions.create(model="noise", prompt=ids, max_tokens=1).usage.prompt_tokens_details.cached_tokens for _ in range(2)]
      assert cached == [0, 64], cached
      assert all(x.usage is None for x in chat(stream=True))

      # Sampling parameters do what they say.
      only = chat(logit_bias={"64": 100}, max_tokens=5, extra_body={"ignore_eos": True}).choices[0].message.content
      assert only == only[0] * 5
      greedy = chat(temperature=0).choices[0].message.content
      assert greedy == chat(temperature=1.5, extra_body={"top_k": 1}).choices[0].message.content
      assert greedy == chat(extra_body={"min_p": 1}).choices[0].message.content == chat(top_p=1e-6).choices[0].message.content
      long = chat(temperature=0, max_tokens=40, presence_penalty=2, frequency_penalty=2, extra_body={"ignore_eos": True}).choices[0].message.content
      assert len(set(long)) > len(set(chat(temperature=0, max_tokens=40, extra_body={"ignore_eos": True}).choices[0].message.content))
      free = client.completions.create(model="noise", prompt="ab", max_tokens=20, seed=4, extra_body={"ignore_eos": True, "guided_regex": "[a-p]{20}"}).choices[0]
      assert re.fullmatch("[a-p]{20}", free.text) and free.finish_reason in ("stop", "length")
      stop = free.text[3:5]
      cut = lambda **o: client.completions.create(model="noise", prompt="ab", max_tokens=20, seed=4, stop=[stop], extra_body={"ignore_eos": True, "guided_regex": "[a-p]{20}", **o}).choices[0]
      place = free.text.index(stop)
      assert cut().text == free.text[:place] and cut().finish_reason == "stop"
      assert cut(include_stop_str_in_output=True).text == free.text[:place + 2]
      assert len(client.completions.create(model="noise", prompt="ab", max_tokens=9, extra_body={"min_tokens": 9}).choices) == 1
      token = 64
      first = client.completions.create(model="noise", prompt="x", max_tokens=9, logit_bias={str(token): 100}, extra_body={"stop_token_ids": [token]})
      assert first.usage.completion_tokens == 1 and first.choices[0].finish_reason == "stop"

      # Log-probabilities, of prompts too.
      top = chat(logprobs=True, top_logprobs=3, temperature=0, max_tokens=4).choices[0].logprobs.content
      assert len(top) == 4 and all(len(t.top_logprobs) == 3 and t.top_logprobs[0].logprob == t.logprob for t in top)
      echo = client.completions.create(model="noise", prompt="abc", max_tokens=2, logprobs=1, echo=True, temperature=0).choices[0]
      assert echo.text.startswith("abc") and echo.logprobs.token_logprobs[0] is None and len(echo.logprobs.tokens) == 5
      assert echo.logprobs.text_offset[:4] == [0, 1, 2, 3]
      none = client.completions.create(model="noise", prompt="abc", max_tokens=0, logprobs=1, echo=True).choices[0]
      assert none.text == "abc" and none.logprobs.token_logprobs == echo.logprobs.token_logprobs[:3]
      batch = client.completions.create(model="noise", prompt=["a", [65, 66]], max_tokens=3, n=2)
      assert len(batch.choices) == 4

      # Answers that follow a schema, an expression, a choice, a grammar.
      schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0, "maximum": 99},
          "tags": {"type": "array", "items": {"enum": ["red", "blue"]}, "maxItems": 2}}, "required": ["name", "age", "tags"], "additionalProperties": False}
      form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
      for seed in range(12):
          whole = chat(response_format=form, max_tokens=200, seed=seed).choices[0]
          value = json.loads(whole.message.content)
          assert whole.finish_reason == "stop" and list(value) == ["name", "age", "tags"] and 0 <= value["age"] <= 99 and len(value["name"]) <= 5
      streamed = "".join(x.choices[0].delta.content or "" for x in chat(response_format=form, max_tokens=200, seed=11, stream=True) if x.choices)
      assert streamed == whole.message.content
      value = json.loads(chat(response_format={"type": "json_object"}, max_tokens=1500, logit_bias={str(t): 8 for t in (1, 92)}).choices[0].message.content)
      assert isinstance(value, dict)
      for options, pattern in [({"guided_choice": ["yes", "no"]}, "yes|no"), ({"guided_regex": r"\d{3}-[xy]"}, r"\d{3}-[xy]"),
          ({"structured_outputs": {"regex": "(ab){2}"}}, "(ab){2}"), ({"guided_grammar": 'root ::= "<" [0-9]{2} ">"'}, "<[0-9]{2}>"),
          ({"guided_json": {"const": [1, "a"]}}, r'\[1,"a"\]')]:
          got = chat(extra_body=options).choices[0].message.content
          assert re.fullmatch(pattern, got), (options, got)

      # Tools: what has to be a call is one, whole and streamed alike.
      def tool(name, schema): return {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}
      tools = [tool("add", {"type": "object", "properties": {"b": {"type": "integer", "minimum": 0, "maximum": 99}, "a": {"enum": ["x", "y"]}}, "required": ["b", "a"], "additionalProperties": False}),
          tool("stop", {"type": "object", "properties": {}, "additionalProperties": False})]
      def ask(**options):
          return client.chat.completions.create(model="caller", messages=options.pop("messages", hello), **{"tools": tools, "max_tokens": 400, **options})
      def streamed_calls(stream):
          calls, content, finish = [], "", []
          for chunk in stream:
              for x in chunk.choices:
                  content += x.delta.content or ""
                  if x.finish_reason: finish.append(x.finish_reason)
                  for c in x.delta.tool_calls or []:
                      if c.index == len(calls):
                          assert c.id.startswith("call_") and c.type == "function" and c.function.name and c.function.arguments == ""
                          calls.append([c.function.name, ""])
                      else: assert c.id is None and c.function.name is None and c.index == len(calls) - 1
                      calls[c.index][1] += c.function.arguments
          return calls, content, finish
      for seed in range(10):
          named = {"type": "function", "function": {"name": "add"}}
          for choice in ["required", named]:
              whole = ask(tool_choice=choice, seed=seed, parallel_tool_calls=False).choices[0]
              assert whole.finish_reason == "tool_calls" and whole.message.content is None and len(whole.message.tool_calls) == 1, whole
              call = whole.message.tool_calls[0]
              value = json.loads(call.function.arguments)
              assert call.id.startswith("call_") and (value == {} if call.function.name == "stop" else list(value) == ["b", "a"] and 0 <= value["b"] <= 99)
              assert choice == "required" or call.function.name == "add"
              calls, content, finish = streamed_calls(ask(tool_choice=choice, seed=seed, parallel_tool_calls=False, stream=True))
              assert calls == [[call.function.name, call.function.arguments]] and content == "" and finish == ["tool_calls"], (calls, content, finish)
      several = ask(tool_choice="required", seed=3).choices[0]
      assert all(c.function.name in ("add", "stop") for c in several.message.tool_calls)
      history = hello + [{"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b": 1, "a": "x"}'}}]},
          {"role": "tool", "tool_call_id": "c1", "content": "2"}]
      plain, longer = ask(seed=1, max_tokens=5), ask(messages=history, seed=1, max_tokens=5)
      assert plain.choices[0].message.tool_calls is None and plain.choices[0].finish_reason in ("stop", "length")
      assert longer.usage.prompt_tokens > plain.usage.prompt_tokens > ask(seed=1, max_tokens=5, tool_choice="none").usage.prompt_tokens
      allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "stop"}}]}}
      assert ask(tool_choice=allowed, seed=4, parallel_tool_calls=False).choices[0].message.tool_calls[0].function.name == "stop"
      refused("tools", lambda: chat(tools=tools))
      refused("tool_choice", lambda: chat(tool_choice="required"))
      refused("tool_choice", lambda: ask(tool_choice={"type": "function", "function": {"name": "sub"}}))

      # Reasoning is told apart, and a form holds behind it.
      thinking = dict(tools=openai.omit, max_tokens=30, seed=2, extra_body={"chat_template_kwargs": {"enable_thinking": True}, "ignore_eos": True})
      thought = ask(**thinking).choices[0].message
      assert thought.content == "" and thought.reasoning_content and ask(**thinking).usage.completion_tokens_details.reasoning_tokens == 30
      parts = [x.choices[0].delta for x in ask(**thinking, stream=True)]
      assert "".join(getattr(x, "reasoning_content", None) or "" for x in parts) == thought.reasoning_content and not any(x.content for x in parts)
      calm = ask(tools=openai.omit, max_tokens=30, seed=2, reasoning_effort="none").choices[0].message
      assert calm.content and not hasattr(calm, "reasoning_content")

      # Token ids of texts and conversations, and back.
      def post(path, body, status=200):
          request = urllib.request.Request(os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + path, json.dumps(body).encode(),
              headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"})
          try: answer = urllib.request.urlopen(request, timeout=60)
          except urllib.error.HTTPError as e: answer = e
          assert answer.status == status, (path, body, answer.status, answer.read())
          return json.loads(answer.read())
      for prefix in ("", "/v1"):
          ids = post(prefix + "/tokenize", {"model": "noise", "prompt": "hé <x>", "return_token_strs": True})
          assert ids["count"] == len(ids["tokens"]) == len(ids["token_strs"]) > 0 and ids["max_model_len"] > 100, ids
          assert post(prefix + "/detokenize", {"model": "noise", "tokens": ids["tokens"]}) == {"prompt": "hé <x>"}
      assert ids["count"] == client.completions.create(model="noise", prompt="hé <x>", max_tokens=1).usage.prompt_tokens
      for options in ({}, {"tools": tools}, {"chat_template_kwargs": {"enable_thinking": True}}):
          body = {"model": "caller", "messages": hello, **options}
          count = post("/tokenize", body)["count"]
          assert count == ask(tools=options.get("tools", openai.omit), max_tokens=1, extra_body={k: v for k, v in options.items() if k != "tools"}).usage.prompt_tokens
      open_turn, closed_turn = (post("/tokenize", {"model": "noise", "messages": hello, "add_generation_prompt": x})["tokens"] for x in (True, False))
      assert open_turn[:len(closed_turn)] == closed_turn and len(open_turn) > len(closed_turn)
      assert post("/tokenize", {"prompt": "a"}, 400)["error"]["code"] == "missing_model"
      assert post("/tokenize", {"model": "noise"}, 400)["error"]["param"] == "prompt"
      assert post("/tokenize", {"model": "noise", "prompt": "a", "add_generation_prompt": True}, 400)["error"]["param"] == "add_generation_prompt"
      assert post("/tokenize", {"model": "nobody", "prompt": "a"}, 404)["error"]["code"] == "model_not_found"
      for bad in ([99999], [-1], "a", [1.5], None): assert post("/detokenize", {"model": "noise", "tokens": bad}, 400)["error"]["param"] == "tokens", bad
      assert post("/detokenize", {"model": "noise", "tokens": []}) == {"prompt": ""}

      # What is not known, or cannot be, is refused by its name.
      refused("temperature", lambda: chat(temperature=3))
      refused("colour", lambda: chat(extra_body={"colour": 1}))
      refused("audio", lambda: chat(extra_body={"audio": {"voice": "a", "format": "wav"}}))
      refused("top_logprobs", lambda: chat(top_logprobs=2))
      refused("stream_options", lambda: chat(stream_options={"include_usage": True}))
      refused("logit_bias", lambda: chat(logit_bias={"99999": 1}))
      for bad in [{"guided_regex": "("}, {"guided_json": {"not": {}}}, {"guided_grammar": "root ::= root"}]:
          try:
              chat(extra_body=bad); raise AssertionError(bad)
          except openai.BadRequestError as e: assert "PLT-524" in str(e.body), e.body
      try:
          chat([{"role": "user", "content": "x" * 5000}]); raise AssertionError("too long")
      except openai.BadRequestError as e: assert "context length" in str(e), e
      print("all done")
      """#
  }
}
