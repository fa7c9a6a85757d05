// SPDX-License-Identifier: Apache-2.0

/// Templates that are rendered by us and by the reference.
extension ChatTemplateTests {
  static let pieces: [String] = [
    "{{ n }} {{ x }} {{ t }} {{ no }} {{ s }} {{ u }} {{ l }} {{ d }} {{ missing }}", "{{ [1, 2.0, 'a', none, true, (1,), {}] }}",
    "{{ 1e100 }} {{ 1e-7 }} {{ 123456789.123 }} {{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 5 / 2 }} {{ 4 / 2 }} {{ 1_000 }} {{ 0x1f }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ 1 + 2 * 3 - 4 }} {{ 'a' ~ 1 ~ none ~ x }} {{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ [1] + [2] }} {{ [0] * 3 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}",
    "{{ '%s is %d' % ('x', 5) }} {{ '%5.2f|%-5s|%05d' % (x, 'a', 42) }}", "{{ '%s' % 'one' }}",
    "{{ 'A' < 'B' }} {{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 1 }} {{ [1, 2] < [1, 3] }}", "{{ 'a' < 1 }}",
    "{{ 2 in l }} {{ 'b' in d }} {{ 'World' in s }} {{ 9 not in l }} {{ '' in s }} {{ none in l }}", "{{ 1 in s }}", "{{ 1 in missing }}",
    "{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ l[1:] }} {{ l[-1] }} {{ u[0] }} {{ u[:2] }} {{ l[5] }} {{ l['a'] }} {{ s[50] }}",
    "{{ d.b }} {{ d['b'] }} {{ d.a[3] }} {{ d['items'] }} {{ d.items() | list }} {{ d.zzz }} {{ d['zzz'] }} {{ d.get('zzz', 'x') }}", "{{ missing.x }}",
    "{{ missing['x'] }}", "{{ d.zzz.y }}", "{{ no.x }}", "{{ no.x.y }}", "{{ s.foo }}", "{{ s.foo() }}", "{{ missing() }}", "{{ n() }}",
    "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('b') }}", "{{ s.__class__ }}", "{{ s.__class__.x }}", "{{ ''.join(w) }} {{ ', '.join(w) }}",
    "{{ ','.join(l) }}",
    "{{ s | upper | lower | title | capitalize }}", "{{ 'foo bar-baz (qux' | title }} {{ \"they're\" | title }} {{ \"they're\".title() }}",
    "{{ '  a ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ ' a '.strip() }}|{{ 'abca'.strip('a') }}|{{ 'aab'.lstrip('a') }}",
    "{{ u | upper }} {{ u | length }} {{ u.split() }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a\nb\r\nc'.splitlines() }}",
    "{{ 'a'.split('') }}",
    "{{ s.startswith('He') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('ld') }} {{ s.find('World') }} {{ s.find('zz') }} {{ s.count('l') }} {{ s.index('W') }}",
    "{{ s.index('zz') }}",
    "{{ s.replace('l', 'L', 1) }} {{ s | replace('l', 'L') }} {{ 'abc'.replace('', '-') }} {{ s.partition(', ') }} {{ 'a'.zfill(3) }} {{ '-4'.zfill(4) }}",
    "{{ 'ab'.center(5, '*') }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3) }}|{{ 'a b'.isalpha() }} {{ '12'.isdigit() }} {{ ''.isdigit() }} {{ 'Ab'.isupper() }} {{ 'aB'.swapcase() }}",
    "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ '{} {1} {k}'.format('a', k=1) }}",
    "{{ '{} and {}'.format('a', 1) }} {{ '{0}{0}'.format('z') }} {{ '{{}}'.format() }}",
    "{{ l | sort }} {{ w | sort }} {{ w | sort(case_sensitive=true) }} {{ w | sort(reverse=true) }} {{ rows | sort(attribute='v') | map(attribute='v') | list }}",
    "{{ l | join }} {{ l | join(', ') }} {{ rows | join('-', attribute='v') }} {{ l | sum }} {{ rows | sum(attribute='v') }} {{ l | sum(start=10) }}",
    "{{ l | min }} {{ l | max }} {{ w | max }} {{ [] | max }} {{ rows | max(attribute='v') }} {{ l | first }} {{ l | last }} {{ [] | first }} {{ e | first }}",
    "{{ l | length }} {{ d | length }} {{ s | length }} {{ missing | length }} {{ l | select('odd') | list }} {{ l | reject('odd') | list }}",
    "{{ n | length }}",
    "{{ l | map('string') | list }} {{ w | map('upper') | join }} {{ rows | map(attribute='k') | list }} {{ rows | map(attribute='k', default='?') | list }} {{ rows | map(attribute='c.0.k') | list }}",
    "{{ rows | selectattr('k', 'defined') | list | length }} {{ rows | selectattr('v', 'gt', 1) | map(attribute='v') | list }} {{ rows | rejectattr('k', 'equalto', 'x') | list }}",
    "{{ rows | groupby('v') | list }}", "{% for k, g in w | groupby('0') %}{{ k }}={{ g }};{% endfor %}",
    "{{ ['a', 'A', 'b'] | unique | list }} {{ l | reverse | list }} {{ s | reverse }}",
    "{{ d | items | list }} {{ missing | items | list }} {{ d | dictsort | length }} {{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }}",
    "{{ l | items | list }}",
    "{{ d | tojson }} {{ u | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ {'z': 1, 'a': {}} | tojson(sort_keys=true) }} {{ u | tojson(ensure_ascii=true) }}",
    "{{ d | tojson(separators=(',', ':')) }} {{ d | tojson(indent=4, separators=(',', ': ')) }} {{ '</x>&' | tojson }} {{ 1e16 | tojson }} {{ '\u{7f}' | tojson }}",
    "{{ missing | tojson }}",
    "{{ missing | default('d') }} {{ e | default('d') }} {{ e | default('d', true) }} {{ no | default('d') }} {{ missing | d }}",
    "{{ '3' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ '3.9' | int }} {{ '1f' | int(base=16) }}",
    "{{ '3.5' | float }} {{ 'x' | float }} {{ 2.675 | round(2) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 42 | round }} {{ 2.1 | round(method='ceil') }} {{ -2.1 | abs }}",
    "{{ n | string ~ 'x' }} {{ l | string }}",
    "{{ 'a\nb\n\nc' | indent }} {{ 'a\nb' | indent(2, true) }} {{ 'a\n\nb' | indent(2, blank=true) }} {{ 'a\nb' | indent('> ') }}",
    "{{ '<a href=\"x\">\\'&' | e }} {{ '<b>' | safe }}",
    "{{ s | wordcount }} {{ 'a-b c_d' | wordcount }} {{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'a b' | urlencode }} {{ '<p>a  <b>b</b></p>' | striptags }}",
    "{{ [1,2,3,4,5] | batch(2, 0) | list }} {{ [1,2,3,4,5] | slice(3) | list }} {{ [1,2,3,4,5] | slice(3, 'x') | list }} {{ '%s-%s' | format('a', 1) }}",
    "{{ d | attr('items') is callable }} {{ rows[0] | attr('k') }}",
    "{{ missing is defined }} {{ n is defined }} {{ no is none }} {{ t is boolean }} {{ n is integer }} {{ x is float }} {{ t is number }} {{ t is integer }} {{ s is string }} {{ d is mapping }} {{ l is sequence }} {{ s is iterable }} {{ n is iterable }}",
    "{{ 4 is even }} {{ 4 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ no is sameas none }} {{ 1 is sameas true }} {{ 'A' is upper }} {{ 3 is in l }} {{ 3 is eq 3 }} {{ 3 is not none }} {{ 3 is gt 2 }} {{ 'x' is equalto 'x' }}",
    "{{ 'abc' is filter }} {{ 'trim' is filter }} {{ 'odd' is test }} {{ range is callable }} {{ true is true }} {{ 1 is true }} {{ false is false }}",
    "{{ 'a' if t else 'b' }} {{ 'a' if e }} {{ ('a' if e) is undefined }} {{ 1 if no else 2 if t else 3 }}",
    "{{ not t }} {{ not e }} {{ t and s }} {{ e or 'x' }} {{ no or missing }} {{ missing and 1 }} {{ not missing }}",
    "{% if n == 7 %}a{% elif t %}b{% else %}c{% endif %}", "{% if missing %}a{% elif e %}b{% else %}c{% endif %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in l if i > 1 %}{{ i }}:{{ loop.length }} {% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in u %}[{{ c }}]{% endfor %}", "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}", "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for i in n %}{% endfor %}", "{% for i in missing %}x{% endfor %}ok",
    "{% for i in no %}{% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for r in rows recursive %}{{ loop.depth }}{{ r.k }}{% if r.c %}({{ loop(r.c) }}){% endif %}{% endfor %}",
    "{% set a = 1 %}{% for i in l %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}",
    "{% set ns = namespace(a=1) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }} {{ ns.b }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set (c, d2) = (3, 4) %}{{ c }}{{ d2 }}",
    "{% set a.b = 1 %}", "{% set x2 %}a{{ n }}b{% endset %}{{ x2 }}|{{ x2 | length }}", "{% set x2 | upper | trim %} abc {% endset %}[{{ x2 }}]",
    "{% if t %}{% set q = 5 %}{% endif %}{{ q }}", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=1, a=0) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, z=2) }}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}body{% endcall %}",
    "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a + b }}{% endcall %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro m(x) %}{{ x | upper }}{% endmacro %}{{ m('a') + 'b' }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter trim | upper %} a {% endfilter %}", "{% raw %}{{ not }} {% if %}{% endraw %}",
    "{# comment {{ x }} #}a", "{% do l %}", "{{ raise_exception('no way: ' ~ n) }}",
    "{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }}", "{{ range(1000000) | list }}", "{{ dict(a=1, b=2) }} {{ dict() }}",
    "{{ namespace(a=1).a }} {{ [l, [4]] | map('sum') | list }} {{ 'a' 'b' \"c\" }}",
    "{{ 'it\\'s' }} {{ \"a\\nb\" }} {{ 'caf\\u00e9' }} {{ '\\x41' }} {{ 'a\\qb' }} {{ '\\\\' }}",
    "{{ {'a': 1, 'b': [1, 2]}['b'][1] }} {{ {1: 'x'}[1] }} {{ {'a': 1}.a }}", "{{ (1, 2)[0] }} {{ () }} {{ (1,) }} {{ 1, 2 }}",
    "{{ 'x' is defined and n is defined }}", "{{ n is defined and n > 3 or false }}", "{{ 3 - -2 }} {{ +3 }} {{ -x }} {{ -'a' }}",
    "{{ l is string or d is mapping }}",
    "{{ messages[0].content | trim }} {{ messages[1:] | length }} {{ messages[-1]['role'] }} {{ messages | map(attribute='role') | join(',') }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}",
    "{{ messages | selectattr('role', 'in', ['user', 'assistant']) | list | length }}",
    "{% set m = messages | first %}{{ m.role }} {{ (messages | last).content }}", "{{ l | select('odd') | length }}",
    "{{ l | tojson | length }}",
    "{{ d.keys() | list }} {{ d.values() | list | length }} {{ d | list }}", "{{ 'b' in d.keys() }}",
    "{{ x | string | length }} {{ true | string }} {{ none | string }}", "{{ '' ~ [1, 'a'] ~ {'a': 'b'} }}",
    "{{ 'a\\'b' | list }} {{ ['\\n', '\\t', '\\\\', '\u{e9}', '\u{200b}'] }}",
    "{%- if t -%}  a  {%- endif -%}  b", "a\n  {% if t %}\n  b\n  {% endif %}\nc\n", "  {{ n }}  \n", "{% if t %}\n\n{% endif %}", "a {#- c -#} b",
    "x\n{# c #}\ny", "x\n   {%+ if t %}y{% endif %}", "{% if t +%}\nx{% endif %}", "{% for i in l -%}\n  {{ i }}\n{%- endfor %}\n\nend\n\n",
    "\n\n{% set a = 1 %}\n\n{{ a }}\n",
    "{{ foo bar }}", "{% if %}{% endif %}", "{% endif %}", "{% for i in l %}", "{{ n", "{% unknown %}", "{{ n | nofilter }}", "{{ n is notest }}", "{{ 'abc }}",
    "{{ (1 }}", "{{ ] }}", "{% set 1 = 2 %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ a..b }}", "{{ @ }}", "{# open", "{% raw %}x", "{% break %}", "",
    "plain", "{{ '{{' }} {{ '}}' }} {{ '%}' }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': {}} }}",
    "{{ 10 // 3 * 3 }} {{ 2 ** 3 ** 2 }} {{ 1 - 1 - 1 }} {{ 8 / 2 / 2 }} {{ not 1 == 2 }} {{ 'a' ~ 1 + 2 }} {{ 1 + 2 ~ 3 }}",
    "{{ 5 is odd and 4 is even }} {{ -1 | abs }} {{ (-1) | abs }} {{ 'a' | upper ~ 'b' }} {{ 3 > 2 | int }}", "{{ 7 / 0 }}", "{{ 7 % 0 }}", "{{ missing + 1 }}",
    "{{ missing ~ 1 }}", "{{ missing == none }} {{ missing == missing2 }} {{ missing < 1 }}",
    "{{ bos_token + 'x' }} {{ bos_token ~ eos_token }}", "{{ bos_token + eos_token }}", "{{ [1, [2, [3]]] }} {{ [1.0, 1e20, 100000000000000000000.0] }}",
    "{{ true + true }} {{ true ~ 1 }} {{ [true] }} {{ 1.0 }} {{ 100.0 }} {{ 1.10 }} {{ 3.0 * 2 }}",
  ].filter { !$0.isEmpty }

  static let contexts: [String] = [
    #"{"messages": [{"role": "user", "content": "Hi <there> & \"you\""}], "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"}"#,
    #"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One?"}, {"role": "assistant", "content": "  Two.  "}, {"role": "user", "content": "Three?"}], "add_generation_prompt": false, "bos_token": "<s>", "eos_token": "</s>"}"#,
    #"{"messages": [{"role": "assistant", "content": "wrong start"}], "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"}"#,
    #"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "what?"}]}], "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"}"#,
    #"{"messages": [{"role": "user", "content": "Weather in Zürich?"}, {"role": "assistant", "content": "<think>call it</think>", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2, "exact": true}}}]}, {"role": "tool", "tool_call_id": "c1", "content": "{\"t\": 21.5}"}], "tools": [{"type": "function", "function": {"name": "weather", "description": "Tells \"it\"", "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["a", "b"]}, "days": {"type": "integer", "default": 1}}, "required": ["place"]}}}], "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"}"#,
  ]

  static let conversations: [String] = [
    // turns between marks, with a default system message and tools as JSON lines
    """
    {%- if tools %}
        {{- '<|begin|>system\\n' }}
        {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
        {{- "# Functions\\n<tools>" }}
        {%- for tool in tools %}
            {{- "\\n" }}
            {{- tool | tojson }}
        {%- endfor %}
        {{- "\\n</tools><|end|>\\n" }}
    {%- elif messages[0]['role'] == 'system' %}
        {{- '<|begin|>system\\n' + messages[0]['content'] + '<|end|>\\n' }}
    {%- else %}
        {{- '<|begin|>system\\nYou help.<|end|>\\n' }}
    {%- endif %}
    {%- set ns = namespace(last=messages | length - 1, seen=false) %}
    {%- for message in messages[::-1] %}
        {%- set index = (messages | length - 1) - loop.index0 %}
        {%- if not ns.seen and message.role == "user" and message.content is string %}
            {%- set ns.seen = true %}
            {%- set ns.last = index %}
        {%- endif %}
    {%- endfor %}
    {%- for message in messages %}
        {%- if message.content is string %}
            {%- set content = message.content %}
        {%- else %}
            {%- set content = message.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join %}
        {%- endif %}
        {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
            {{- '<|begin|>' + message.role + '\\n' + content + '<|end|>' + '\\n' }}
        {%- elif message.role == "assistant" %}
            {%- set thought = '' %}
            {%- if '</think>' in content %}
                {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
            {%- if loop.index0 > ns.last and thought %}
                {{- '<|begin|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content }}
            {%- else %}
                {{- '<|begin|>assistant\\n' + content }}
            {%- endif %}
            {%- if message.tool_calls %}
                {%- for tool_call in message.tool_calls %}
                    {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                    {{- '\\n<call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                    {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                    {{- '}\\n</call>' }}
                {%- endfor %}
            {%- endif %}
            {{- '<|end|>\\n' }}
        {%- elif message.role == "tool" %}
            {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|begin|>user' }}{%- endif %}
            {{- '\\n<result>\\n' }}{{- content }}{{- '\\n</result>' }}
            {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|end|>\\n' }}{%- endif %}
        {%- endif %}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|begin|>assistant\\n' }}
        {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
    {%- endif %}
    """,
    // strictly alternating turns, refusals by raise_exception, the older style without white space control
    """
    {{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'].strip() + '\\n\\n' %}\
    {% else %}{% set loop_messages = messages %}{% set system_message = '' %}{% endif %}{% for message in loop_messages %}\
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
    {% if loop.index0 == 0 %}{% set content = system_message + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}\
    {% if message['role'] == 'user' %}{{ '[ASK] ' + content.strip() + ' [/ASK]' }}{% elif message['role'] == 'assistant' %}\
    {{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}
    """,
    // macros that print types, dates, blocks of text, and a mapping of roles
    """
    {%- macro kind(p) -%}
      {%- if p.type == "string" and p.enum -%}{{ p.enum | map('tojson') | join(" | ") }}
      {%- elif p.type is iterable and p.type is not string -%}{{ p.type | join(" | ") }}
      {%- elif p.type == "integer" -%}int{% if p.default is defined %} = {{ p.default }}{% endif %}
      {%- else -%}{{ p.type | default("any") | upper }}{%- endif -%}
    {%- endmacro -%}
    {%- set names = {"user": "U", "assistant": "A", "system": "S"} %}
    {%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
    Today: {{ date_string }}
    {% for tool in tools or [] %}
    {%- set f = tool.function %}
    // {{ f.description }}
    type {{ f.name }} = (_: {
    {%- for name, p in f.parameters.properties.items() %}
      {{ name }}{{ "" if name in f.parameters.required else "?" }}: {{ kind(p) }}{{ "," if not loop.last }}
    {%- endfor %}
    });
    {% endfor %}
    {%- for m in messages %}
    <{{ names[m.role] | default(m.role | title) }}>
    {%- if m.content is string %}{{ m.content | trim }}
    {%- elif m.content is iterable %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% else %}<{{ part['type'] }}>{% endif %}{% endfor %}
    {%- endif %}
    {%- for call in m.tool_calls or [] %}
    [{{ call.function.name }}({% for k, v in call.function.arguments | items %}{{ k }}={{ v | tojson }}{% if not loop.last %}, {% endif %}{% endfor %})]
    {%- endfor %}
    </>
    {%- endfor %}
    {% if add_generation_prompt %}<A>{% endif %}
    """,
  ]
}
