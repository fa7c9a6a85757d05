// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// `/v1/messages` through the unmodified `anthropic` package. Everything that comes is held to the package's own types, strictly.
  @Suite(.serialized, .enabled(if: Peers.has("anthropic"), "the peers have no anthropic package")) struct MessagesClientTests {
    @Test(.timeLimit(.minutes(5))) func everyFeatureThroughTheClient() throws {
      let cluster = try LocalCluster("messages")
      #expect(try cluster.start(workers: 1).status == 0)
      try OpenAIClientTests.importCaller(cluster, "main.demo.caller")
      let run = try cluster.submit(
        "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: e\n          deploy_task: { endpoint: caller, model: main.demo.caller }\n"
      )
      #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED", "\(run)")
      let answer = try LocalCluster.run(Peers.python ?? "", ["-c", Self.script], timeout: 240, environment: cluster.clientEnvironment)
      #expect(answer.status == 0 && answer.out.contains("all done"), "\(answer.all.suffix(4000))")
    }

    private static let script = #"""
      import anthropic, json, openai, os, pydantic, typing
      from anthropic.types import Message, RawMessageStreamEvent
      base = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
      client = anthropic.Anthropic(base_url=base, api_key=os.environ["OPENAI_API_KEY"], max_retries=0)
      other = openai.OpenAI(max_retries=0)
      events_of = pydantic.TypeAdapter(RawMessageStreamEvent)
      hello = [{"role": "user", "content": "hello"}]
      def hold(message):
          """To the package's types, every field."""
          Message.model_validate(message.to_dict())
          assert message.id.startswith("msg_") and message.role == "assistant" and message.model == "caller"
          return message
      def create(messages=hello, seed=1, **options):
          extra = options.pop("extra_body", {})
          return client.messages.create(model="caller", messages=messages, extra_body={"seed": seed, **extra}, **{"max_tokens": 300, **options})
      def shape(message): return [x.to_dict() | {"id": ""} for x in message.content], message.stop_reason, message.stop_sequence, message.usage.output_tokens
      def stream(messages=hello, seed=1, **options):
          """The message that the package makes of a stream, of which each event is held to its type and to the order."""
          extra = options.pop("extra_body", {})
          raw = list(create(messages, seed, stream=True, extra_body=extra, **options))
          for event in raw: events_of.validate_python(event.to_dict(), strict=False)
          assert raw[0].type == "message_start" and [x.type for x in raw[-2:]] == ["message_delta", "message_stop"], [x.type for x in raw]
          assert raw[0].message.content == [] and raw[0].message.stop_reason is None
          index, open_block = 0, False
          for event in raw[1:-2]:
              assert event.index == index
              if event.type == "content_block_start": open_block = not open_block; assert open_block
              elif event.type == "content_block_stop": assert open_block; open_block, index = False, index + 1
              else: assert open_block and event.type == "content_block_delta"
          assert not open_block
          with client.messages.stream(model="caller", messages=messages, extra_body={"seed": seed, **extra}, **{"max_tokens": 300, **options}) as s:
              return hold(s.get_final_message())
      def refused(name, call):
          try: call()
          except anthropic.BadRequestError as e:
              assert f"'{name}" in e.body["error"]["message"] and e.body["type"] == "error" and e.body["error"]["type"] == "invalid_request_error", (name, e.body)
              return
          raise AssertionError(f"{name} was not refused")
      free = {"ignore_eos": True}

      # The same conversation as a chat has the same prompt and answer, whole and streamed, and the same count.
      turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}]
      blocks = [{"role": t["role"], "content": [{"type": "text", "text": t["content"], **({"cache_control": {"type": "ephemeral"}} if i == 2 else {})}]} for i, t in enumerate(turns)]
      chat = other.chat.completions.create(model="caller", messages=[{"role": "system", "content": "s"}] + turns, seed=5, max_tokens=20, extra_body=free)
      for messages, system in ((turns, "s"), (blocks, [{"type": "text", "text": "s"}])):
          one = hold(create(messages, seed=5, max_tokens=20, system=system, extra_body=free))
          assert [x.type for x in one.content] == ["text"] and one.content[0].text == chat.choices[0].message.content
          assert one.stop_reason == "max_tokens" and one.usage.output_tokens == 20
          assert one.usage.input_tokens + one.usage.cache_read_input_tokens == chat.usage.prompt_tokens
          assert shape(stream(messages, seed=5, max_tokens=20, system=system, extra_body=free)) == shape(one)
          assert client.messages.count_tokens(model="caller", messages=messages, system=system).input_tokens == chat.usage.prompt_tokens
      known = create([{"role": "user", "content": "x" * 100}], max_tokens=1), create([{"role": "user", "content": "x" * 100}], max_tokens=1)
      assert known[1].usage.cache_read_input_tokens > known[0].usage.cache_read_input_tokens

      # What ended it.
      text = one.content[0].text
      stop = text[4:7]
      cut = hold(create(turns, seed=5, max_tokens=20, system="s", stop_sequences=["never seen", stop], extra_body=free))
      assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == stop and cut.content[0].text == text[:text.index(stop)]
      assert shape(stream(turns, seed=5, max_tokens=20, system="s", stop_sequences=["never seen", stop], extra_body=free)) == shape(cut)
      ended = create(max_tokens=50, extra_body={"logit_bias": {"256": 100}})
      assert ended.stop_reason == "end_turn" and ended.stop_sequence is None and ended.content == []
      assert create(max_tokens=10_000, extra_body=free).stop_reason == "model_context_window_exceeded"

      # Forms.
      class Person(pydantic.BaseModel):
          name: typing.Literal["Ann", "Bo"]  # the package leaves a length out of the schema
          colour: typing.Literal["red", "blue"]
      schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 9}, "a": {"enum": ["x"]}}, "required": ["age", "a"], "additionalProperties": False}
      for seed in range(3):
          value = json.loads(create(seed=seed, output_config={"format": {"type": "json_schema", "schema": schema}}).content[0].text)
          assert list(value) == ["age", "a"] and 0 <= value["age"] <= 9
      parsed = client.messages.parse(model="caller", messages=hello, max_tokens=300, output_format=Person, extra_body={"seed": 1})
      assert isinstance(parsed.parsed_output, Person)

      # Tools: a call, its answer, and the turn behind it.
      def tool(name, schema): return {"name": name, "description": "d", "input_schema": schema}
      tools = [tool("add", {"type": "object", "properties": {"b": {"type": "integer", "minimum": 0, "maximum": 99}, "a": {"enum": ["x", "y"]}}, "required": ["b", "a"], "additionalProperties": False}),
          tool("halt", {"type": "object", "properties": {}, "additionalProperties": False})]
      for seed in range(6):
          for choice in [{"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "add", "disable_parallel_tool_use": True}]:
              called = hold(create(tools=tools, tool_choice=choice, seed=seed))
              assert [x.type for x in called.content] == ["tool_use"] and called.stop_reason == "tool_use", called
              use = called.content[0]
              assert use.id.startswith("toolu_") and (use.input == {} if use.name == "halt" else sorted(use.input) == ["a", "b"] and 0 <= use.input["b"] <= 99)
              assert choice["type"] == "any" or use.name == "add"
              assert shape(stream(tools=tools, tool_choice=choice, seed=seed)) == shape(called)
      assert all(x.type == "tool_use" for x in hold(create(tools=tools, tool_choice={"type": "any"}, seed=3)).content)
      history = hello + [{"role": "assistant", "content": called.content}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "2"}]}]}]
      second = hold(create(history, tools=tools, max_tokens=8, extra_body=free))
      chat = other.chat.completions.create(model="caller", seed=1, max_tokens=8, extra_body=free, messages=hello + [
          {"role": "assistant", "content": None, "tool_calls": [{"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.input)}}]},
          {"role": "tool", "tool_call_id": use.id, "content": "2"}],
          tools=[{"type": "function", "function": {"name": t["name"], "description": "d", "parameters": t["input_schema"]}} for t in tools])
      assert second.usage.input_tokens + second.usage.cache_read_input_tokens == chat.usage.prompt_tokens
      assert second.content[0].text == chat.choices[0].message.content
      assert client.messages.count_tokens(model="caller", messages=history, tools=tools).input_tokens == chat.usage.prompt_tokens
      fewer = client.messages.count_tokens(model="caller", messages=hello, tools=tools, tool_choice={"type": "none"}).input_tokens
      assert fewer < client.messages.count_tokens(model="caller", messages=hello, tools=tools).input_tokens

      # Thinking is a block of its own, and may come back with the next turn.
      thinking = dict(seed=2, max_tokens=30, thinking={"type": "adaptive"}, extra_body=free)
      thought = hold(create(**thinking))
      assert [x.type for x in thought.content] == ["thinking"] and thought.content[0].thinking and thought.usage.output_tokens_details.thinking_tokens == 30
      assert shape(stream(**thinking)) == shape(thought)
      behind = create(hello + [{"role": "assistant", "content": thought.content}] + hello, max_tokens=3, thinking={"type": "disabled"}, output_config={"effort": "low"}, extra_body=free)
      assert [x.type for x in behind.content] == ["text"]

      # What cannot be is refused by its name, before a stream begins too.
      refused("temperature", lambda: create(extra_body={"temperature": 1.5}))
      refused("colour", lambda: create(extra_body={"colour": 1}))
      refused("thinking.budget_tokens", lambda: create(thinking={"type": "enabled", "budget_tokens": 1024}))
      refused("messages[0].content[0].type", lambda: create([{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}], stream=True))
      refused("messages", lambda: create(hello + [{"role": "assistant", "content": "I"}]))
      refused("messages[0].content[0].tool_use_id", lambda: create([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "y"}]}]))
      refused("tools[0].type", lambda: create(tools=[{"type": "web_search_20250305", "name": "web_search"}]))
      refused("tool_choice", lambda: create(tools=tools, tool_choice={"type": "tool", "name": "sub"}))
      refused("max_tokens", lambda: create(max_tokens=0))
      refused("container", lambda: create(extra_body={"container": "c"}))
      try: create([{"role": "user", "content": "x" * 5000}], stream=True); raise AssertionError("too long")
      except anthropic.BadRequestError as e: assert "context length" in str(e), e
      try: client.messages.create(model="nobody", messages=hello, max_tokens=1); raise AssertionError("found")
      except anthropic.NotFoundError as e: assert e.body["error"]["type"] == "not_found_error" and e.body["request_id"], e.body
      try: anthropic.Anthropic(base_url=base, api_key="wrong", max_retries=0).messages.create(model="caller", messages=hello, max_tokens=1); raise AssertionError("let in")
      except anthropic.AuthenticationError as e: assert e.body["error"]["type"] == "authentication_error", e.body
      assert anthropic.Anthropic(base_url=base, api_key=None, auth_token=os.environ["OPENAI_API_KEY"], max_retries=0).messages.create(model="caller", messages=hello, max_tokens=1).id
      models = client.models.list()
      assert [(m.id, m.type) for m in models] == [("caller", "model")] and client.models.retrieve("caller").created_at.year > 2000 and models.data[0].display_name == "caller"
      print("all done")
      """#
  }
}
