from typing import Any

import pytest

from chatwright.errors import UserError
from chatwright.tokenization.template import (
    CHAT_TEMPLATE,
    GENERATION_END,
    GENERATION_START,
    calls_text,
    compile_template,
    tools_text,
)


def test_generation_blocks_are_marked() -> None:
    template = compile_template("a{% generation %}b{{ x }}{% endgeneration %}c")
    assert template.render(x=1) == f"a{GENERATION_START}b1{GENERATION_END}c"


def test_json_is_not_escaped_for_html() -> None:
    assert compile_template("{{ x | tojson }}").render(x={"k": "<你>"}) == '{"k": "<你>"}'


def test_a_broken_template_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match="line 2 of the chat template"):
        compile_template("ok\n{% if %}")


def test_the_sandbox_holds() -> None:
    template = compile_template("{{ x.__class__.__mro__ }}")
    with pytest.raises(Exception, match="unsafe"):
        template.render(x="")


TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "天气", "description": "<b>"}},
    {"name": "clock"},
]
TOLD = (
    "You may call these tools:\n<tools>\n"
    '{"type": "function", "function": {"name": "天气", "description": "<b>"}}\n{"name": "clock"}\n'
    "</tools>\nTo call one, write:\n"
    '<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call>'
)


@pytest.mark.parametrize("system", [None, "", "Be kind."])
def test_our_template_tells_of_tools_in_the_system_message(system: str | None) -> None:
    first = [] if system is None else [{"role": "system", "content": system}]
    asked = [{"role": "user", "content": "?"}, {"role": "system", "content": "later"}]
    rendered = compile_template(CHAT_TEMPLATE).render(messages=[*first, *asked], tools=TOOLS)
    before = "" if system is None else f"{system}\n\n"
    assert rendered == (
        f"<|im_start|>system\n{before}{TOLD}<|im_end|>\n"
        "<|im_start|>user\n?<|im_end|>\n<|im_start|>system\nlater<|im_end|>\n"
    )


def test_texts_of_tools_and_calls_are_those_of_our_template() -> None:
    assert tools_text(TOOLS) == TOLD
    call = {"name": "天气", "arguments": {"城市": ["<北京>", 1.5, None]}}
    written = '<tool_call>\n{"name": "天气", "arguments": {"城市": ["<北京>", 1.5, null]}}\n</tool_call>'
    assert calls_text("", [call]) == written
    assert calls_text("So.", [call, call]) == f"So.\n{written}\n{written}"
