"""Grammars over tokens: what may come next, and that nothing else gets through."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import torch

from chatwright.errors import UserError
from chatwright.generation.constrained import Grammar, Grammars
from chatwright.tokenization.tokenizer import Tokenizer

EXTRA = 7


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    """Of a model whose logits are longer than the vocabulary."""
    return Grammars(tokenizer, tokenizer.im_end, tokenizer.vocab_size + EXTRA)


def walk(grammar: Grammar, tokenizer: Tokenizer, seed: int, most: int = 400) -> str:
    """A text from tokens drawn among those allowed, until the end token."""
    generator, ids = torch.Generator().manual_seed(seed), list[int]()
    while len(ids) < most:
        free = grammar.allowed().nonzero().flatten()
        token = int(free[torch.randint(len(free), (1,), generator=generator)])
        grammar.accept(token)
        if token == tokenizer.im_end:
            return tokenizer.decode(ids)
        ids.append(token)
    raise AssertionError("no end")


PERSON = {
    "type": "object",
    "properties": {
        "名": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["名", "age", "tags"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_drawn_is_what_the_schema_says(
    grammars: Grammars, tokenizer: Tokenizer, seed: int
) -> None:
    jsonschema.validate(json.loads(walk(grammars.json_schema(PERSON), tokenizer, seed)), PERSON)


def test_the_mask(grammars: Grammars, tokenizer: Tokenizer) -> None:
    mask = grammars.json_object().allowed()
    assert mask.shape == (tokenizer.vocab_size + EXTRA,) and mask.dtype == torch.bool
    assert not mask[tokenizer.vocab_size :].any(), "tokens that no text has are never allowed"
    assert not mask[sorted(tokenizer.special_ids)].any()
    assert mask[tokenizer.encode("{")[0]] and not mask[tokenizer.encode("[")[0]]


def test_the_end_is_allowed_at_the_end_alone(grammars: Grammars, tokenizer: Tokenizer) -> None:
    grammar = grammars.json_schema({"const": 1})
    assert not grammar.allowed()[tokenizer.im_end]
    grammar.accept(tokenizer.encode("1")[0])
    assert grammar.allowed().nonzero().flatten().tolist() == [tokenizer.im_end]
    grammar.accept(tokenizer.im_end)


def test_a_copy_goes_its_own_way(grammars: Grammars, tokenizer: Tokenizer) -> None:
    grammar = grammars.json_object()
    other = grammar.copy()
    grammar.accept(tokenizer.encode("{")[0])
    assert other.allowed().equal(grammars.json_object().allowed())
    assert not grammar.allowed().equal(other.allowed())


@pytest.mark.parametrize(("first", "most"), [(" ", 0), ("\n", 12)])
@pytest.mark.parametrize("before", ["{", '{"a"', '{"a":', '{"a":1', '{"a":1,'])
def test_white_space_ends(
    grammars: Grammars, tokenizer: Tokenizer, before: str, first: str, most: int
) -> None:
    """One blank, or a line break and an indentation."""
    grammar, [line], [blank] = grammars.json_object(), tokenizer.encode("\n"), tokenizer.encode(" ")
    for token in tokenizer.encode(before) + tokenizer.encode(first):
        grammar.accept(token)
    for _ in range(most):
        assert not grammar.allowed()[line]
        grammar.accept(blank)
    assert not grammar.allowed()[[line, blank]].any()


@pytest.mark.parametrize(
    "form", [{"separators": (",", ":")}, {}, {"indent": 0}, {"indent": 2}, {"indent": 4}]
)
def test_json_may_be_written_as_people_write_it(
    grammars: Grammars, tokenizer: Tokenizer, form: dict[str, Any]
) -> None:
    grammar = grammars.json_object()
    for token in tokenizer.encode(json.dumps({"a": {"b": [1, {}, []]}, "c": "d e"}, **form)):
        grammar.accept(token)
    assert grammar.allowed()[tokenizer.im_end]


def test_rules_with_a_schema_in_them(grammars: Grammars, tokenizer: Tokenizer) -> None:
    rules = 'start: "<call>" call "</call>"\ncall: %json {"const": {"a": "</call>"}}'
    text = walk(grammars.lark(rules), tokenizer, 0)
    assert json.loads(text.removeprefix("<call>").removesuffix("</call>")) == {"a": "</call>"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": "string", "pattern": "("},
        {"$ref": "https://example.org/x.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/nowhere"},
        {"not": {"type": "string"}},
        {"enum": []},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_in_one_line(grammars: Grammars, schema: Any) -> None:
    with pytest.raises(UserError, match=r"the JSON schema cannot be used: .+") as refused:
        grammars.json_schema(schema)
    assert "\n" not in str(refused.value)


def test_a_grammar_without_measure_is_refused(grammars: Grammars) -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"enum": list(range(200))} for n in range(2000)}}
    with pytest.raises(UserError):
        grammars.json_schema(wide)
    with pytest.raises(UserError, match="grammar cannot be used"):
        grammars.lark("start: nothing")


def test_a_token_that_is_not_allowed_is_refused(grammars: Grammars, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="refuses"):
        grammars.json_object().accept(tokenizer.encode("[")[0])
