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
      let run = try cluster.submit(
        "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: d\n          deploy_task: { endpoint: noise, model: main.demo.noise }\n"
      )
      #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED", "\(run)")
      let answer = try LocalCluster.run(Peers.python ?? "", ["-c", Self.script], timeout: 240, environment: cluster.clientEnvironment)
      #expect(answer.status == 0 && answer.out.contains("all done"), "\(answer.all.suffix(4000))")
    }

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
      assert usage[-1] == three.usage and not any(usage[:-1]), usage
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
