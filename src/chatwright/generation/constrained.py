"""Replies that follow a grammar: JSON, a JSON schema, or rules in Lark's notation, through llguidance.

Shape suffix: V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from torch import Tensor

from chatwright.errors import UserError
from chatwright.tokenization.tokenizer import Tokenizer

# Between two signs of JSON one blank, as in {"a": 1}, or a line break and an indentation of up to 12: three levels of four
# blanks, six of two. Deeper ones are cut, which harms no value; without a bound a weak model would never stop.
_WHITE_SPACE = r" |\n {0,12}"
_JSON: Any = {"whitespace_pattern": _WHITE_SPACE, "coerce_one_of": True}
_LARGEST_GRAMMAR = 50_000


class Grammars:
    """Makes the constraints of one model. Building it walks the whole vocabulary, so it is kept.

    `end` is the token that may follow a whole reply; `vocab_size` is that of the model's logits.
    """

    def __init__(self, tokenizer: Tokenizer, end: int, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._tokenizer = LLTokenizer(
            TokenizerWrapper(_Words(tokenizer, end, vocab_size)), n_vocab=vocab_size, eos_token=end
        )
        self._limits = LLParserLimits(max_grammar_size=_LARGEST_GRAMMAR, verbose_errors=False)

    def json_object(self) -> Grammar:
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON that a schema admits. Raises UserError for a schema that is broken or asks for what is not known."""
        try:
            text = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_JSON)
        except (ValueError, RecursionError) as error:
            raise UserError(f"the JSON schema cannot be used: {_first_line(error)}") from None
        return self._made(text, "JSON schema")

    def lark(self, rules: str) -> Grammar:
        """A text that the rule `start` admits; `%json {…}` in it is a JSON schema."""
        return self._made(LLMatcher.grammar_from_lark(rules), "grammar")

    def _made(self, text: str, what: str) -> Grammar:
        matcher = LLMatcher(self._tokenizer, text, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise UserError(f"the {what} cannot be used: {_first_line(matcher.get_error())}")
        return Grammar(matcher, self._vocab_size)


class Grammar:
    """A grammar on its way through one reply; the engine's `Constraint`."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size

    def copy(self) -> Grammar:
        """The same, as far as it has come, for another reply."""
        return Grammar(self._matcher.deep_copy(), self._vocab_size)

    def allowed(self) -> Tensor:
        """Which tokens may come next, bool [V]; after the last one that the grammar knows, the end alone."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask_V = np.unpackbits(bits, bitorder="little")[: self._vocab_size]
        if self._matcher.is_error():
            # a limit of the parser; it is the request's own doing
            raise UserError(
                f"the reply cannot be held to the grammar: {_first_line(self._matcher.get_error())}"
            )
        return torch.from_numpy(mask_V.astype(np.bool_))

    def accept(self, token: int) -> None:
        """Take the token that was chosen, which must be an allowed one."""
        if not self._matcher.consume_token(token):
            raise UserError(f"the grammar refuses a token: {_first_line(self._matcher.get_error())}")


class _Words:
    """A vocabulary as llguidance reads it: the bytes of each token."""

    def __init__(self, tokenizer: Tokenizer, end: int, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = end, None
        known = tokenizer.vocab_size
        self.tokens = [
            tokenizer.decode_bytes([index], skip_special=False) if index < known else b""
            for index in range(vocab_size)
        ]
        self.special_token_ids = sorted(tokenizer.special_ids)

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode(text.decode("utf-8", "replace"))


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")[:300]
