import pytest

from chatwright.errors import UserError
from chatwright.tokenization.template import GENERATION_END, GENERATION_START, compile_template


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
