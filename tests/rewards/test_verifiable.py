"""Rewards that can be verified: known answers, and rows and options that are refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatwright.config import build
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.rewards import verifiable
from chatwright.rewards.contract import scores_of
from chatwright.rewards.function import Function
from chatwright.rewards.verifiable import Exact, JsonSchema, Length, Number, Regex

GSM8K = "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18 a day.\n#### 18"


def score(cls: Any, reply: str, /, answer: Any = None, **options: Any) -> float:
    facts = {} if answer is None else {"answer": answer}
    prompt = Prompt((Message("user", "How many?"),), facts, "p.jsonl:7")
    (value,) = scores_of(cls(build(cls.Options, options)), [prompt], [reply])
    return value


@pytest.fixture(autouse=True)
def _path_as_it_was() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.mark.parametrize(
    ("reply", "answer", "options", "wanted"),
    [
        ("Paris", "Paris", {}, 1),
        (" Paris\n", "Paris", {}, 1),
        ("Paris", " Paris ", {}, 1),
        (" Paris", "Paris", {"strip": "no"}, 0),
        ("paris", "Paris", {}, 0),
        ("paris", "Paris", {"casefold": "yes"}, 1),
        ("STRASSE", "straße", {"casefold": "yes"}, 1),
        ("a  b", "a b", {}, 0),
        ("a \n b", "a\tb", {"any_space": "yes"}, 1),
        ("ab", "a b", {"any_space": "yes"}, 0),
        (" a", "a", {"any_space": "yes", "strip": "no"}, 0),
        ("Paris, France", "Paris", {}, 0),
        ("巴黎", ["Paris", "巴黎"], {}, 1),
        ("Rome", ["Paris", "巴黎"], {}, 0),
        ("42", 42, {}, 1),
        ("", "", {}, 1),
    ],
)
def test_exact(reply: str, answer: Any, options: dict[str, str], wanted: float) -> None:
    assert score(Exact, reply, answer, **options) == wanted


@pytest.mark.parametrize("cls", [Exact, Number])
@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"level": 1, "gold": "x"}, r"p\.jsonl:7: the field 'answer' is missing \(its fields: level, gold\)"),
        ({}, r"the field 'answer' is missing \(its fields: none\)"),
        ({"answer": None}, r"the field 'answer' is empty \(its fields: answer\); .* answer_field"),
    ],
)
def test_a_row_without_an_answer_is_named(cls: Any, facts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        scores_of(cls(), [Prompt((Message("user", "q"),), facts, "p.jsonl:7")], ["x"])


@pytest.mark.parametrize("cls", [Exact, Number])
def test_the_field_of_the_answer_can_be_named(cls: Any) -> None:
    rows = [Prompt((), {"gold": "3", "answer": "4"})]
    assert scores_of(cls(build(cls.Options, {"answer_field": "gold"})), rows, ["3"]) == [1.0]


@pytest.mark.parametrize(
    ("answer", "said"), [({"a": 1}, "a dict in it"), ([["x"]], "a list in it"), ([], "an empty list")]
)
def test_an_answer_that_is_no_text_is_refused(answer: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"p\.jsonl:7: the field 'answer' has {said}; give a text"):
        score(Exact, "x", answer)


@pytest.mark.parametrize(
    ("reply", "answer", "wanted"),
    [
        ("18", GSM8K, 1),
        ("9 * 2 = <<9*2=18>>18\n#### 18", GSM8K, 1),
        ("The answer is $18.00.", GSM8K, 1),
        ("It is 18, not 19.", GSM8K, 0),
        ("It is not 19, but 18.\n\n", GSM8K, 1),
        ("18\nThat was easy.", GSM8K, 0),
        ("#### 18\nThat was easy: 5 steps.", GSM8K, 1),
        ("#### 17\nno, wait\n#### 18\nDone with 2 tries.", GSM8K, 1),
        ("#### 1. Count\nSo many.\n#### 2) Multiply\nIt is 18", GSM8K, 1),
        ("#### Answer\n18", GSM8K, 1),
        ("", GSM8K, 0),
        ("eighteen", GSM8K, 0),
        ("1,234", "1234", 1),
        ("1,234,567.5", 1234567.5, 1),
        ("1,2", "2", 1),
        ("12,34", "1234", 0),
        ("1{,}234", "1234", 1),
        ("１，２３４", "1234", 1),
        ("答案是４２。", "42", 1),
        ("答案是－４２．５元", "-42.5", 1),
        ("得到3，456", "456", 1),
        ("共１８个", 18, 1),
        ("结果是负5", "-5", 1),
        ("-5", "-5", 1),
        ("5", "-5", 0),
        ("x = −5", -5, 1),
        ("3 - 8 = - 5", "-5", 1),
        ("- 5 apples", "5", 1),
        ("10-5", "5", 1),
        ("-$5", "-5", 1),
        ("$-5", "-5", 1),
        ("3.", "3", 1),
        ("3.0", "3", 1),
        (".5", "0.5", 1),
        ("0.1", 0.1, 1),
        ("0.30000000000000004", "0.3", 0),
        ("3/4", "0.75", 1),
        ("3/4", "4", 0),
        ("6/8", "3/4", 1),
        ("3/0", "3", 0),
        ("1e3", "1000", 1),
        ("1e999999999", "1", 0),
        ("5 m2", "5", 1),
        ("5 m^2", "5", 1),
        ("$\\boxed{42}$", "42", 1),
        ("**42**", "42", 1),
        ("50%", "50%", 1),
        ("50％", "50", 1),
        ("50", "50%", 1),
        ("0.5", "50%", 1),
        ("50\\%", "0.5", 1),
        ("0.5", "50", 0),
        ("5000", "50%", 0),
        ("9" * 5000, "9", 0),
    ],
)
def test_number(reply: str, answer: Any, wanted: float) -> None:
    assert score(Number, reply, answer) == wanted


@pytest.mark.parametrize("answer", ["none", "#### ", "4\nfour", True, [4], "9" * 200])
def test_an_answer_without_a_number_is_refused(answer: Any) -> None:
    with pytest.raises(UserError, match=r"p\.jsonl:7: there is no number in the end of the field 'answer'"):
        score(Number, "4", answer)


@pytest.mark.parametrize(
    ("pattern", "mode", "reply", "wanted"),
    [
        (r"\d+", "search", "about 12", 1),
        (r"\d+", "fullmatch", "about 12", 0),
        (r"\d+", "fullmatch", "12", 1),
        (r"\d+", "fullmatch", "12\n", 0),
        ("yes", "search", "YES", 0),
        ("(?i)yes", "search", "YES", 1),
        ("猫.*狗", "search", "猫和狗", 1),
    ],
)
def test_regex(pattern: str, mode: str, reply: str, wanted: float) -> None:
    assert score(Regex, reply, pattern=pattern, mode=mode) == wanted


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pattern": "(a"}, r"pattern=\(a is not a regular expression: missing \)"),
        ({}, "needs the option 'pattern'"),
        ({"pattern": "a", "mode": "match"}, "mode=match is not one of search, fullmatch"),
    ],
)
def test_a_pattern_that_is_none_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        score(Regex, "x", **options)


def test_a_pattern_that_takes_for_ever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiable, "_PATIENCE_SECONDS", 0.05)
    endless, reply = "(a|aa)+$", "a" * 60 + "b"
    said = (
        r"^p\.jsonl:7 \(reply 'aaaa.*'\): pattern=\(a\|aa\)\+\$ took more than 0\.05 seconds; give one that can match a "
        r"text in one way only, as a\+ for \(a\|aa\)\+$"
    )
    for mode in ("search", "fullmatch"):
        with pytest.raises(UserError, match=said):
            score(Regex, reply, pattern=endless, mode=mode)
    assert score(Regex, reply, pattern="a+$") == 0
    assert score(Regex, reply[:20], pattern=endless) == 1


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize("given", ["mapping", "text", "file"])
@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ('{"name": "猫", "age": 3}', 1),
        (' {"name": "x"}\n', 1),
        ('```json\n{"name": "x"}\n```', 1),
        ('```\n{"name": "x"}\n```\n', 1),
        ('```JSON\r\n{"name": "x"}\r\n```', 1),
        ('Here: ```json\n{"name": "x"}\n```', 0),
        ('```json\n{"name": "x"}', 0),
        ('{"age": 3}', 0),
        ('{"name": "x", "age": -1}', 0),
        ('{"name": "x", "age": 1.5}', 0),
        ('{"name": "x", "age": NaN}', 0),
        ('{"name": "x", "other": 1}', 0),
        ("{'name': 'x'}", 0),
        ("[]", 0),
        ("", 0),
        ("[" * 100_000, 0),
        ('{"name": "x", "age": ' + "1" * 5000 + "}", 0),
    ],
)
def test_json_schema(given: str, reply: str, wanted: float, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")
    schema = {"mapping": SCHEMA, "text": json.dumps(SCHEMA), "file": str(file)}[given]
    assert score(JsonSchema, reply, schema=schema) == wanted


@pytest.mark.parametrize("reply", ["NaN", "Infinity", "-Infinity", "[NaN]"])
def test_what_only_python_calls_json_is_none(reply: str) -> None:
    assert score(JsonSchema, "1", schema={}) == 1
    assert score(JsonSchema, reply, schema={}) == 0


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("missing.json", r"cannot read the schema missing\.json: no such file or directory"),
        ("{broken", "schema is not JSON"),
        ({"type": "objekt"}, "is no JSON Schema: .*objekt.* \\(at type\\)"),
        ({"$ref": "other.json"}, r"refers to other\.json, which is not in it; put .* \$defs"),
        ({"$ref": "https://example.com/x.json"}, "refers to https://example.com/x.json"),
        ({"pattern": "(a"}, "is no JSON Schema|no regular expression"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        score(JsonSchema, '"x"', schema=schema)


def test_a_schema_file_that_holds_no_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(UserError, match=r"a\.json should hold a JSON Schema, which is an object, not a list"):
        score(JsonSchema, "1", schema=str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match=r"cannot read the schema .*b\.json: .*; give a \.json file"):
        score(JsonSchema, "1", schema=str(tmp_path / "b.json"))


@pytest.mark.parametrize(
    ("reply", "options", "wanted"),
    [
        ("", {}, 0.0),
        ("x" * 500, {}, -0.5),
        ("x" * 5000, {}, -1.0),
        ("猫" * 10, {"longest": 5, "scale": 10}, -0.5),
        ("x" * 5, {"longest": 5}, 0.0),
        ("x" * 3, {"shortest": 5, "longest": 8, "scale": 10}, -0.2),
        ("x" * 6, {"shortest": 5, "longest": 8, "scale": 10}, 0.0),
        ("x" * 8, {"shortest": 5, "longest": 8, "scale": 10}, 0.0),
    ],
)
def test_length(reply: str, options: dict[str, int], wanted: float) -> None:
    assert score(Length, reply, **options) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shortest": 5, "longest": 4}, "shortest=5 must not be more than longest=4"),
        ({"scale": 0}, "scale=0 must be at least 1"),
        ({"shortest": -1}, "shortest=-1 must be at least 0"),
    ],
)
def test_a_length_that_cannot_be_is_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        score(Length, "x", **options)


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


ROWS = [
    Prompt(
        (Message("system", "s"), Message("user", "abc")), {"answer": "x", "level": 2, "prompt": "?"}, "p:1"
    ),
    Prompt((Message("user", "de"),), {"answer": "y"}, "p:2"),
]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("def f(prompt, reply): return len(prompt) + 10 * len(reply)", [13.0, 22.0]),
        ("def f(prompt, reply, **facts): return len(facts) + (facts['answer'] == reply)", [3.0, 1.0]),
        ("def f(prompt, reply, answer): return answer == reply", [1.0, 0.0]),
        ("def f(prompt, reply, *, level=7, answer): return level", [2.0, 7.0]),
        ("f = lambda p, r: r.count('y')", [0.0, 2.0]),
        ("class F:\n    def __call__(self, p, r, answer): return 3\nf = F()", [3.0, 3.0]),
        (
            "from dataclasses import dataclass\n@dataclass\nclass D:\n    x: 'int' = 4\ndef f(p, r): return D().x",
            [4.0, 4.0],
        ),
    ],
)
def test_a_function_of_the_users(body: str, wanted: list[float], tmp_path: Path) -> None:
    reward = Function(build(Function.Options, {"path": f"{write(tmp_path, body)}:f"}))
    assert scores_of(reward, ROWS, ["x", "yy"]) == wanted


def test_a_function_in_a_module_and_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pack_of_rewards").mkdir()
    write(tmp_path / "pack_of_rewards", "def f(p, r): return 5", "inner.py")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pack_of_rewards" / "__init__.py").touch()
    assert Function(Function.Options("pack_of_rewards.inner:f"))(ROWS, ["", ""]) == [5, 5]
    write(tmp_path, "VALUE = 6", "beside_the_reward.py")
    file = write(tmp_path, "from beside_the_reward import VALUE\ndef f(p, r): return VALUE")
    assert Function(Function.Options(f"{file}:f"))(ROWS, ["", ""]) == [6, 6]


def test_a_file_never_stands_in_for_a_library(tmp_path: Path) -> None:
    file = write(tmp_path, "def f(p, r): return 1", "json.py")
    assert Function(Function.Options(f"{file}:f"))(ROWS, ["", ""]) == [1, 1]
    assert sys.modules["json"] is json


def test_a_row_without_a_fact_that_the_function_takes_is_named(tmp_path: Path) -> None:
    reward = Function(Function.Options(write(tmp_path, "def f(p, r, level): return 1") + ":f"))
    said = r"p:2: .*mine\.py:f takes 'level', a field that this row has not \(its fields: answer\)"
    with pytest.raises(UserError, match=said):
        scores_of(reward, ROWS, ["x", "y"])


def test_a_function_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    reward = Function(Function.Options(write(tmp_path, "def f(p, r):\n    return 1 / (r != 'y')") + ":f"))
    with pytest.raises(
        UserError, match=r"mine\.py:f failed on p:2 \(reply 'y'\): Zero.* \(.*mine\.py:2\); mend"
    ):
        scores_of(reward, ROWS, ["x", "y"])


@pytest.mark.parametrize(
    ("body", "name", "said"),
    [
        ("x = 1", ":f", "has no function 'f'"),
        ("def score(p, r): return 1", ":scor", "has no function 'scor'; did you mean 'score'?"),
        ("f = 3", ":f", "is a int, not a function; write def f"),
        ("def f(p): return 1", ":f", r"mine\.py:f\(p\) should take a prompt and a reply first"),
        ("def f(*, prompt, reply): return 1", ":f", "should take a prompt and a reply first"),
        ("def f(*all): return 1", ":f", "should take a prompt and a reply first"),
        ("def f(p, r, a, /): return 1", ":f", "only prompt and reply may stand before /"),
        ("async def f(p, r): return 1", ":f", "is async; a reward is a plain function"),
        ("class f: pass", ":f", "is a class; a reward is a plain function"),
        ("def f(:", ":f", r"cannot load .*mine\.py: SyntaxError: .*line 1"),
        ("x = 1\n1 / 0", ":f", r"cannot load .*mine\.py: ZeroDivisionError: .*\(.*mine\.py:2\); mend it"),
        (
            "import no_such_library",
            ":f",
            "cannot load .*ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("raise SystemExit(3)", ":f", "cannot load .*SystemExit: 3"),
        ("x = 1", "", r"should be file\.py:name or package\.module:name"),
        ("x = 1", ":", r"should be file\.py:name or package\.module:name"),
    ],
)
def test_a_function_that_cannot_be_is_refused(body: str, name: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, body) + name
    with pytest.raises(UserError, match=said) as refused:
        Function(Function.Options(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_file.py:f", r"there is no file no_such_file\.py"),
        ("no_such_module:f", r"there is no module 'no_such_module'.* or give file\.py:name"),
        ("json.no_such:f", r"there is no module 'json\.no_such'"),
        ("json:dump_s", "json has no function 'dump_s'; did you mean 'dumps'"),
        ("just_a_name", re.escape("path=just_a_name should be file.py:name")),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Function(Function.Options(path))
