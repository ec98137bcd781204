"""Rewards that can be verified: 1 for a reply that is right, 0 for one that is not, by a rule and no model.

The right answer stands in the prompt's row, in a field that `answer_field` names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal

import regex

from chatwright.config import at_least, option
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.rewards.contract import row_name
from chatwright.rewards.numerals import final_number, same_number

_PATIENCE_SECONDS = 5.0
_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\r?\n(.*?)\r?\n?\s*```\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ExactOptions:
    """Compare the whole reply with the answer, letter by letter."""

    answer_field: str = option("answer", "field of the row that holds the answer, or a list of answers")
    strip: bool = option(True, "leave out white space around both")
    casefold: bool = option(False, "letters of either case are the same")
    any_space: bool = option(False, "any white space is the same as one space")


class Exact:
    """1 for a reply that equals the answer, or one of the answers, letter by letter; otherwise 0."""

    Options = ExactOptions

    def __init__(self, options: ExactOptions = ExactOptions()) -> None:
        self.options = options

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [
            float(self._plain(reply) in map(self._plain, self._answers(prompt)))
            for prompt, reply in zip(prompts, replies, strict=True)
        ]

    def _answers(self, prompt: Prompt) -> list[str]:
        answer = answer_of(prompt, self.options.answer_field)
        answers = answer if isinstance(answer, list | tuple) else [answer]
        wrong = next((a for a in answers if not isinstance(a, str | int | float)), None)
        if wrong is not None or not answers:
            kind = f"a {type(wrong).__name__} in it" if answers else "an empty list"
            field = f"the field {self.options.answer_field!r}"
            raise UserError(f"{row_name(prompt)}: {field} has {kind}; give a text or a list of texts")
        return list(map(str, answers))

    def _plain(self, text: str) -> str:
        if self.options.any_space:
            text = re.sub(r"\s+", " ", text)
        text = text.strip() if self.options.strip else text
        return text.casefold() if self.options.casefold else text


@dataclass(frozen=True)
class NumberOptions:
    """Compare the last number in the reply's last line with the answer's."""

    answer_field: str = option(
        "answer", "field of the row that holds the number, or a text that ends with it"
    )


class Number:
    """1 for a reply whose last number is the answer's, otherwise 0.

    It is the last one after `####` (GSM8K, Cobbe et al. 2021), or else in the last line that is not blank. Read are
    signs, decimals, 1,234, fractions, percent and the digits ０ to ９; 50%, 50 and 0.5 are right for 50%, and 50 and
    50% for 50.
    """

    Options = NumberOptions

    def __init__(self, options: NumberOptions = NumberOptions()) -> None:
        self.options = options

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [self._score(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]

    def _score(self, prompt: Prompt, reply: str) -> float:
        field = self.options.answer_field
        answer = answer_of(prompt, field)
        wanted = final_number(str(answer)) if isinstance(answer, str | int | float) else None
        if wanted is None:
            raise UserError(
                f"{row_name(prompt)}: there is no number in the end of the field {field!r}: {answer!r}"
            )
        found = final_number(reply)
        return float(found is not None and same_number(found, wanted))


@dataclass(frozen=True)
class RegexOptions:
    """Look for a regular expression."""

    pattern: str = option(
        MISSING,
        "regular expression of the package regex, which has all of Python's re; (?i) in front ignores case, (?s) lets . cross lines",
    )
    mode: Literal["search", "fullmatch"] = option("search", "found anywhere, or the whole reply")


class Regex:
    """1 for a reply that a regular expression matches, otherwise 0.

    A pattern that can match the same text in very many ways takes time that doubles with every letter, so the time for a
    reply is bounded. Raises UserError, with row and pattern, for one that takes longer.
    """

    Options = RegexOptions

    def __init__(self, options: RegexOptions) -> None:
        try:
            pattern = regex.compile(options.pattern)
        except (regex.error, RecursionError) as error:
            raise UserError(f"pattern={options.pattern} is not a regular expression: {error}") from None
        self._match = pattern.search if options.mode == "search" else pattern.fullmatch
        self._pattern = options.pattern

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [self._score(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]

    def _score(self, prompt: Prompt, reply: str) -> float:
        try:
            return float(self._match(reply, timeout=_PATIENCE_SECONDS) is not None)
        except TimeoutError:
            raise UserError(
                f"{row_name(prompt, reply)}: pattern={self._pattern} took more than {_PATIENCE_SECONDS:g} seconds; give one "
                "that can match a text in one way only, as a+ for (a|aa)+"
            ) from None


@dataclass(frozen=True)
class JsonSchemaOptions:
    """Check JSON against a schema."""

    schema: Any = option(MISSING, "JSON Schema: a .json file, or the schema itself")


class JsonSchema:
    """1 for a reply that is JSON and keeps to a JSON Schema, otherwise 0; a fence of ```json around it may stand.

    `$ref` leads to places in the schema alone: nothing is fetched.
    """

    Options = JsonSchemaOptions

    def __init__(self, options: JsonSchemaOptions) -> None:
        import jsonschema
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        schema = _schema(options.schema)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            where = "/".join(map(str, error.absolute_path)) or "its top"
            said = " ".join(error.message.split())
            raise UserError(f"schema={options.schema} is no JSON Schema: {said} (at {where})") from None
        self._validator = kind(schema, registry=Registry())
        self._unresolvable = Unresolvable
        self._place = options.schema

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [float(self._keeps(reply)) for reply in replies]

    def _keeps(self, reply: str) -> bool:
        fenced = _FENCED.fullmatch(reply)
        try:
            value = json.loads(fenced[1] if fenced else reply, parse_constant=_refuse)
            return bool(self._validator.is_valid(value))
        except (ValueError, RecursionError):
            return False
        except re.error as error:
            raise UserError(
                f"schema={self._place} has a pattern that is no regular expression: {error}"
            ) from None
        except self._unresolvable as error:
            said = f"schema={self._place} refers to {error.ref}, which is not in it"
            raise UserError(f"{said}; put what is referred to under $defs in the same schema") from None


def _schema(given: Any) -> Any:
    """A schema from a mapping, a text of JSON, or a file."""
    if isinstance(given, Mapping | bool):
        return given
    text, place = str(given), "schema"
    if not text.lstrip().startswith("{"):
        place = text
        try:
            text = Path(text).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UserError(f"cannot read the schema {place}: {why.lower()}; give a .json file") from None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from None
    if not isinstance(schema, Mapping | bool):
        raise UserError(
            f"{place} should hold a JSON Schema, which is an object, not a {type(schema).__name__}"
        )
    return schema


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


@dataclass(frozen=True)
class LengthOptions:
    """Prefer replies of a certain length."""

    shortest: int = option(0, "characters below which a reply loses")
    longest: int = option(0, "characters above which a reply loses")
    scale: int = option(1000, "characters too many or too few that cost 1, the most that is lost")

    def __post_init__(self) -> None:
        at_least(self, 0, "shortest", "longest")
        at_least(self, 1, "scale")
        if self.shortest > self.longest:
            raise UserError(f"shortest={self.shortest} must not be more than longest={self.longest}")


class Length:
    """0 for a reply of `shortest` to `longest` characters; others lose (characters beyond) / scale, at most 1.

    With the defaults every character costs a thousandth: a small weight in a mixture makes replies short.
    """

    Options = LengthOptions

    def __init__(self, options: LengthOptions = LengthOptions()) -> None:
        self.options = options

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [-min(1.0, self._beyond(len(reply)) / self.options.scale) for reply in replies]

    def _beyond(self, length: int) -> int:
        return max(self.options.shortest - length, length - self.options.longest, 0)


def answer_of(prompt: Prompt, field: str) -> Any:
    """What stands in a field of the prompt's row; raises UserError that names the row and its fields."""
    answer = prompt.facts.get(field)
    if answer is None:
        fields = ", ".join(map(str, prompt.facts)) or "none"
        state = "is empty" if field in prompt.facts else "is missing"
        mend = "give the answer there, or name another field as answer_field"
        raise UserError(f"{row_name(prompt)}: the field {field!r} {state} (its fields: {fields}); {mend}")
    return answer
