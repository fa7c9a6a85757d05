// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// `/v1/responses` through the unmodified `openai` package. Everything that comes is held to the package's own types, strictly.
  @Suite(.serialized, .enabled(if: Peers.python != nil, "no peer environment")) struct ResponsesClientTests {
    @Test(.timeLimit(.minutes(5))) func everyFeatureThroughTheClient() throws {
      let cluster = try LocalCluster("responses")
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
      import json, openai, pydantic, typing
      from openai.types.responses import Response, ResponseStreamEvent
      client = openai.OpenAI(max_retries=0)
      events_of = pydantic.TypeAdapter(ResponseStreamEvent)
      free = {"ignore_eos": True, "guided_regex": "[a-p]{12,40}"}
      def hold(response):
          """To the package's types, every field."""
          Response.model_validate(response.to_dict())
          u = response.usage
          assert u.total_tokens == u.input_tokens + u.output_tokens and u.output_tokens_details.reasoning_tokens <= u.output_tokens
          return response
      def create(input="hello", seed=1, **options):
          extra = options.pop("extra_body", {})
          return client.responses.create(model="caller", input=input, extra_body={"seed": seed, **extra}, **{"max_output_tokens": 400, **options})
      def stream(**options):
          """The last event's response, and all events, of which each is held to its type and to the order."""
          got = list(create(stream=True, **options))
          for number, event in enumerate(got):
              events_of.validate_python(event.to_dict(), strict=False)
              assert event.sequence_number == number, event
          types = [x.type for x in got]
          assert types[:2] == ["response.created", "response.in_progress"] and types[-1] in ("response.completed", "response.incomplete"), types
          assert all(x.response.status == "in_progress" and x.response.output == [] and x.response.usage is None for x in got[:2])
          assert len({x.response.id for x in got if hasattr(x, "response")}) == 1
          final = hold(got[-1].response)
          open_items, index = {}, 0
          for x in got[2:-1]:
              if x.type == "response.output_item.added":
                  assert not open_items and x.output_index == index and x.item.status == "in_progress"
                  open_items[x.item.id] = x.item.type
              else:
                  assert x.output_index == index
                  if x.type == "response.output_item.done":
                      assert open_items.pop(x.item.id) == x.item.type and x.item == final.output[index]
                      index += 1
                  else: assert x.item_id in open_items
          assert index == len(final.output) >= 1
          for i, item in enumerate(final.output):
              mine = [x for x in got if getattr(x, "output_index", None) == i]
              text = item.arguments if item.type == "function_call" else item.content[0].text
              assert "".join(x.delta for x in mine if x.type.endswith(".delta")) == text
              inner = [x.type.removeprefix("response.") for x in mine if not x.type.endswith(".delta")]
              assert inner == {"message": ["output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done"],
                  "reasoning": ["output_item.added", "content_part.added", "reasoning_text.done", "content_part.done", "output_item.done"],
                  "function_call": ["output_item.added", "function_call_arguments.done", "output_item.done"]}[item.type], inner
          return final, got
      def refused(parameter, call):
          try: call()
          except openai.BadRequestError as e:
              assert e.param == parameter, (parameter, e.param, e.body)
              return
          raise AssertionError(f"{parameter} was not refused")
      def same(a, b): return [x.to_dict() | {"id": "", "call_id": ""} for x in a.output] == [x.to_dict() | {"id": "", "call_id": ""} for x in b.output]

      # Whole and streamed answers are the same; what was asked is repeated.
      one = hold(create(extra_body=free, metadata={"a": "b"}, temperature=0.5, user="u", instructions="be brief"))
      assert one.id.startswith("resp_") and one.object == "response" and one.model == "caller" and one.status == "completed" and one.error is None
      assert one.metadata == {"a": "b"} and one.temperature == 0.5 and one.top_p == 1 and one.instructions == "be brief" and one.user == "u"
      assert one.tools == [] and one.tool_choice == "auto" and one.parallel_tool_calls is True and one.max_output_tokens == 400 and one.truncation == "disabled"
      assert len(one.output) == 1 and one.output[0].role == "assistant" and 12 <= len(one.output_text) <= 40
      two, events = stream(extra_body=free, metadata={"a": "b"}, temperature=0.5, user="u", instructions="be brief")
      assert same(one, two) and two.output_text == one.output_text and sum(x.type == "response.output_text.delta" for x in events) > 3
      # The same conversation as a chat has the same prompt and answer.
      turns = [{"role": "developer", "content": "d"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}]
      items = [{**t, "content": [{"type": "output_text" if t["role"] == "assistant" else "input_text", "text": t["content"]}]} for t in turns]
      chat = client.chat.completions.create(model="caller", messages=turns, seed=5, max_tokens=20, extra_body={"ignore_eos": True})
      for input in (turns, items):
          again = hold(create(input, seed=5, max_output_tokens=20, extra_body={"ignore_eos": True}))
          assert again.output_text == chat.choices[0].message.content and again.usage.input_tokens == chat.usage.prompt_tokens
          assert again.usage.output_tokens == 20 == chat.usage.completion_tokens and again.status == "incomplete"
          assert again.incomplete_details.reason == "max_output_tokens" and again.output[-1].status == "incomplete"
      assert stream(input=turns, seed=5, max_output_tokens=20, extra_body={"ignore_eos": True})[1][-1].type == "response.incomplete"
      known = create("x" * 100, max_output_tokens=1), create("x" * 100, max_output_tokens=1)
      assert known[1].usage.input_tokens_details.cached_tokens > known[0].usage.input_tokens_details.cached_tokens, [k.usage for k in known]

      # Log-probabilities.
      told = hold(create(extra_body=free, include=["message.output_text.logprobs"], top_logprobs=2))
      logprobs = told.output[0].content[0].logprobs
      assert "".join(x.token for x in logprobs).startswith(told.output_text) and all(len(x.top_logprobs) == 2 for x in logprobs)
      streamed, events = stream(extra_body=free, include=["message.output_text.logprobs"], top_logprobs=2)
      assert [x.token for e in events if e.type == "response.output_text.delta" for x in e.logprobs] == [x.token for x in logprobs]

      # Forms, by hand and by a model of pydantic.
      class Person(pydantic.BaseModel):
          name: str = pydantic.Field(max_length=5)
          age: int = pydantic.Field(ge=0, le=99)
          colours: list[typing.Literal["red", "blue"]] = pydantic.Field(max_length=2)
      for seed in range(5):
          parsed = client.responses.parse(model="caller", input="who?", text_format=Person, max_output_tokens=300, extra_body={"seed": seed})
          assert isinstance(parsed.output_parsed, Person) and list(json.loads(parsed.output_text)) == ["name", "age", "colours"]
          with client.responses.stream(model="caller", input="who?", text_format=Person, max_output_tokens=300, extra_body={"seed": seed}) as s:
              assert s.get_final_response().output_parsed == parsed.output_parsed
      assert parsed.text.format.type == "json_schema" and parsed.text.format.name == "Person"
      plain = create(text={"format": {"type": "json_schema", "name": "n", "schema": {"enum": ["yes", "no"]}}})
      assert json.loads(plain.output_text) in ("yes", "no")
      assert isinstance(json.loads(create(text={"format": {"type": "json_object"}}, max_output_tokens=1500, extra_body={"logit_bias": {"1": 8, "92": 8}}).output_text), dict)

      # Tools: a call, its answer, and the turn behind it.
      def tool(name, schema): return {"type": "function", "name": name, "description": "d", "parameters": schema, "strict": True}
      tools = [tool("add", {"type": "object", "properties": {"b": {"type": "integer", "minimum": 0, "maximum": 99}, "a": {"enum": ["x", "y"]}}, "required": ["b", "a"], "additionalProperties": False}),
          tool("halt", {"type": "object", "properties": {}, "additionalProperties": False})]
      for seed in range(6):
          for choice in ["required", {"type": "function", "name": "add"}, {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]}]:
              called = hold(create(tools=tools, tool_choice=choice, seed=seed, parallel_tool_calls=False))
              assert [x.type for x in called.output] == ["function_call"] and called.status == "completed" and called.output_text == ""
              call = called.output[0]
              value = json.loads(call.arguments)
              assert call.call_id.startswith("call_") and call.id.startswith("fc_") and (value == {} if call.name == "halt" else list(value) == ["b", "a"])
              assert choice == "required" or call.name == "add"
              assert same(stream(tools=tools, tool_choice=choice, seed=seed, parallel_tool_calls=False)[0], called)
      several = hold(create(tools=tools, tool_choice="required", seed=3))
      assert same(stream(tools=tools, tool_choice="required", seed=3)[0], several)
      conversation = [{"role": "user", "content": "hello"}] + called.output + [{"type": "function_call_output", "call_id": call.call_id, "output": "2"}]
      second = hold(create(conversation, tools=tools, extra_body={**free, "guided_regex": None}, max_output_tokens=8))
      history = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "", "tool_calls": [{"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}]},
          {"role": "tool", "tool_call_id": call.call_id, "content": "2"}]
      chat_tools = [{"type": "function", "function": {k: v for k, v in t.items() if k not in ("type", "strict")}} for t in tools]
      chat = client.chat.completions.create(model="caller", messages=history, tools=chat_tools, seed=1, max_tokens=8, extra_body={"ignore_eos": True})
      assert second.usage.input_tokens == chat.usage.prompt_tokens and second.output_text == chat.choices[0].message.content
      class Add(pydantic.BaseModel):
          b: typing.Literal[1, 2]
      parsed = client.responses.parse(model="caller", input="x", tools=[openai.pydantic_function_tool(Add)], tool_choice="required", parallel_tool_calls=False, extra_body={"seed": 1}, max_output_tokens=200)
      assert isinstance(parsed.output[0].parsed_arguments, Add) and parsed.output[0].parsed_arguments.b == json.loads(parsed.output[0].arguments)["b"]

      # Reasoning is an item of its own, and may come back with the next turn.
      thinking = dict(seed=2, max_output_tokens=30, extra_body={"chat_template_kwargs": {"enable_thinking": True}, "ignore_eos": True})
      thought = hold(create(**thinking))
      assert [x.type for x in thought.output] == ["reasoning"] and thought.output[0].content[0].text and thought.usage.output_tokens_details.reasoning_tokens == 30
      assert same(stream(**thinking)[0], thought)
      behind = create([{"role": "user", "content": "a"}] + thought.output + [{"role": "user", "content": "b"}], max_output_tokens=3, reasoning={"effort": "none", "summary": "auto"})
      assert behind.output[0].type == "message" and behind.reasoning.effort == "none"

      # What cannot be is refused by its name, before a stream begins too.
      refused("previous_response_id", lambda: create(previous_response_id=one.id))
      refused("store", lambda: create(store=True))
      refused("background", lambda: create(background=True))
      refused("colour", lambda: create(extra_body={"colour": 1}))
      refused("temperature", lambda: create(temperature=3))
      refused("tools[0].type", lambda: create(tools=[{"type": "web_search"}]))
      refused("input[0].content", lambda: create([{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}], stream=True))
      assert create(store=False, max_output_tokens=1).to_dict()["store"] is False
      for call in (lambda: client.responses.retrieve(one.id), lambda: client.responses.delete(one.id), lambda: client.responses.create(model="nobody", input="x"),
          lambda: client.responses.create(model="nobody", input="x", stream=True)):
          try: call(); raise AssertionError("found")
          except openai.NotFoundError as e: assert e.code in ("response_not_found", "model_not_found"), e.body
      for streams in (False, True):
          try: create("x" * 5000, stream=streams); raise AssertionError("too long")
          except openai.BadRequestError as e: assert "context length" in str(e), e
      print("all done")
      """#
  }
}
