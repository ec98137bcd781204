"""Chat templates: ours, and the sandbox in which any template is rendered as `transformers` renders it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatwright.errors import UserError

# How our template tells of tools and writes calls, which is the public way of Hermes and Qwen. Plain text all of it, so
# that a vocabulary needs no token for it.
_TOOLS = """\
    {{- 'You may call these tools:\\n<tools>\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
        {{- '\\n' }}
    {%- endfor %}
    {{- '</tools>\\nTo call one, write:\\n<tool_call>\\n' }}
    {{- '{"name": <name>, "arguments": <object>}\\n</tool_call>' }}
"""

_CALLS = """\
                {{- message['content'] or '' }}
                {%- for call in message['tool_calls'] %}
                    {%- if not loop.first or (message['content'] and message['content'][-1:] != '\\n') %}
                        {{- '\\n' }}
                    {%- endif %}
                    {%- set function = call['function'] or call %}
                    {{- '<tool_call>\\n{"name": ' }}
                    {{- function['name'] | tojson }}
                    {%- set arguments = function['arguments'] or {} %}
                    {{- ', "arguments": ' }}
                    {{- arguments if arguments is string else arguments | tojson }}
                    {{- '}\\n</tool_call>' }}
                {%- endfor %}
"""

CHAT_TEMPLATE = (
    """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] + '\\n\\n' }}
    {%- endif %}
"""
    + _TOOLS
    + """\
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {%- if message['tool_calls'] %}
"""
    + _CALLS
    + """\
                {{- '<|im_end|>' }}
            {%- else %}
                {{- message['content'] + '<|im_end|>' }}
            {%- endif %}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- elif message['role'] == 'tool' %}
        {{- '<|im_start|>tool\\n<tool_response>\\n' + message['content'] + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif not (tools and loop.first and message['role'] == 'system') %}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
)

# For vocabularies of others that have no tokens for turns: words say who speaks, and the end of sequence ends a reply.
PLAIN_TEMPLATE = """\
{%- for message in messages %}
    {%- if message['role'] == 'assistant' %}
        {{- 'Assistant: ' }}
        {%- generation %}{{- message['content'] + eos_token }}{%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- message['role'] | capitalize + ': ' + message['content'] + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'Assistant: ' }}
{%- endif %}
"""

# Unicode promises that U+FDD0 to U+FDEF never become characters: texts hold them by accident or malice only.
GENERATION_START = "\ufdd0"
GENERATION_END = "\ufdd1"


class _GenerationMarks(Extension):
    """`{% generation %} … {% endgeneration %}`: what the model writes stands between, and is marked so."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{GENERATION_START}{caller()}{GENERATION_END}"


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes HTML, which a prompt does not want
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


@lru_cache(maxsize=16)
def compile_template(source: str) -> jinja2.Template:
    """A template ready to render, marks of generation included; errors in it are the user's."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationMarks, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        place = f"line {error.lineno} of the chat template"
        raise UserError(f"{place} is broken: {error.message}; mend chat_template.jinja") from error


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """What our template writes of tools (each as OpenAI defines one) at the end of the system message."""
    return compile_template(_TOOLS).render(tools=tools)


def calls_text(content: str, calls: Sequence[Mapping[str, Any]]) -> str:
    """What our template writes of a message with calls, each `{"name": …, "arguments": …}`; a text of arguments is
    written as it is."""
    return compile_template(_CALLS).render(message={"content": content, "tool_calls": calls})
