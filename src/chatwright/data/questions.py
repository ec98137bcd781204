"""A question maker: from documentation entries to chats that ask what a name does.

The answer to a question is the first sentence of the documentation, the same English sentence in
whatever language the question is put. Training goes in rounds: a round asks every question exactly once,
and from round to round each question comes back in another phrasing and language.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from chatwright.corpora.reading.python_docs import Entry

# A call as documentation writes it, up to its parenthesis: `chain(*iterables)`, `class Fraction(...)`.
_CALL = re.compile(r"(?:class |async |await )?[\w.*]+\(")
_ARROW = re.compile(r"\s*(?:-{1,2}>|=>|->>|→)\s*")
_DASH = re.compile(r"\s*(?:--?|:|—)\s+")
# What a call returns, and then prose: `-> None.  Remove all items.`, `-> v, remove the key.`
_VALUE_THEN_PROSE = re.compile(r"(?:[\w.\[\]()'\", |]{1,40}?)(?:[.,:;]| --?)\s+(?=\w+ \w+ \w+ \w+)")
# The way pdb writes its commands: `tbreak [([filename:]lineno | function) [, condition]]`.
_USAGE = re.compile(r"[a-z]+(?:\(\w+\))? \[.*(?:\n|$)")
_UNDERLINE = re.compile(r"\s*([=~^*#_-])\1{2,}\s*$")
_NOT_PROSE = re.compile(r"(?:>>> |\$Id|Copyright |[:@]param |\.\. |\*\*DEPRECATED\*\*|\w+ = \w+)")
_LIST = re.compile(
    r"\n\s*(?:>>>|[-*] |(?:Arg(?:ument)?s?|Parameters?|Returns?|Raises|Usage|Examples?|Note):\s)"
)
_SENTENCE_END = re.compile(r"[.!?]+[)\"'`\]*]*(?=\s|$)")
_WORD_BEFORE = r"(?:^|[\s(\[\"'`/])"
_NEVER_ENDS = re.compile(
    _WORD_BEFORE + r"(?:e\.g|i\.e|eg|ie|vs|cf|viz|resp|fig|sec|ch|St|Dr|Mr|Ms|Mrs|E\.g|I\.e)\.$"
)
# These end a sentence only when the next word has a capital: `..., etc. The ...` but `etc. are`, `v. 3`.
_MAY_END = re.compile(_WORD_BEFORE + r"(?:a\.k\.a|etc|approx|incl|esp|op|al|U\.S|[A-Za-z]|\d+|.*\.\.)\.\)?$")
_FALLBACK_WORDS = 4

# Steps through the phrasings, coprime to their numbers, so that neighbours do not get neighbouring phrasings.
_SPREAD = 37
_STRIDE = 29
# Of the training chats: fixed phrasings, patterns, halves of two phrasings, random words around the name. English gets
# more of the last: its words also stand in names and answers, so that only practice tells them from what is asked.
_SHARES = {"en": (0.12, 0.18, 0.05, 0.65), "zh": (0.25, 0.3, 0.1, 0.35)}
_QUIET_SHARES = (0.6, 0.4, 0.0, 0.0)
# English is asked more often, for the same reason.
_LANGUAGE_CYCLE = ("en", "zh", "en", "en")
_FRAGMENT_SHARE = 0.35
_CHOICE = re.compile(r"\[([^][]*)\]")
_STOPS = {"en": (",", ".", "?", "!", ":", ";"), "zh": ("，", "。", "？", "！", "：")}
_ENDINGS = ("s", "ed", "ing", "er", "ly", "ness", "y", "able")
_MARKS = (("`", "`"), ('"', '"'), ("'", "'"), ("", "()"), ("“", "”"))


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


class Chat(TypedDict):
    """A chat in OpenAI messages form."""

    messages: list[Message]


@dataclass(frozen=True)
class Question:
    """A public name and the sentence that answers what it does."""

    name: str
    answer: str


@dataclass(frozen=True)
class HeldOutChat:
    """An evaluation row: a question in a phrasing that training never sees."""

    language: str
    phrasing: int
    chat: Chat


class _Wording(TypedDict):
    openers: list[str]
    closers: list[str]
    noise: list[str]
    phrasings: list[str]
    patterns: list[str]
    held_out: list[str]


_WORDINGS: Final[dict[str, _Wording]] = json.loads(
    Path(__file__).with_name("questions_phrasings.json").read_text(encoding="utf-8")
)
LANGUAGES: Final[tuple[str, ...]] = tuple(_WORDINGS)
PHRASINGS: Final[dict[str, tuple[str, ...]]] = {lang: tuple(w["phrasings"]) for lang, w in _WORDINGS.items()}
_NOISE: Final = {lang: " ".join(w["noise"]).split() for lang, w in _WORDINGS.items()}
HELD_OUT: Final[dict[str, tuple[str, ...]]] = {lang: tuple(w["held_out"]) for lang, w in _WORDINGS.items()}


def questions(entries: Iterable[Entry]) -> list[Question]:
    """A question for every module, class, function and method whose documentation holds a sentence."""
    made: list[Question] = []
    for entry in entries:
        answer = None if entry.kind == "topic" else first_sentence(entry.doc)
        if answer is not None:
            made.append(Question(entry.name, answer))
    return made


def training_round(asked: Sequence[Question], seed: int, number: int) -> list[Chat]:
    """Every question of `asked` once, in the order and wording of round `number` (from 0) under `seed`.

    Over four rounds a question comes once in Chinese and three times in English, and no fixed phrasing returns
    before the others of its language were due. The same arguments give the same chats on every machine.
    """
    rng = random.Random(f"chatwright-questions/{seed}/{number}")
    order = list(range(len(asked)))
    rng.shuffle(order)
    return [
        one_turn(worded(asked[index].name, asked, index, number, rng), asked[index].answer) for index in order
    ]


def plain_round(asked: Sequence[Question], seed: int, number: int) -> list[Chat]:
    """Every question of `asked` once, asked by its name alone, in the order of round `number` under `seed`.

    Before the worded rounds, a few of these teach the facts in the fewest tokens.
    """
    order = list(range(len(asked)))
    random.Random(f"chatwright-plain/{seed}/{number}").shuffle(order)
    # Every other time the name follows a blank, as it does inside a sentence: it has other tokens there.
    blanks = (" " * ((index + number) % 2) for index in order)
    return [
        one_turn(blank + asked[index].name, asked[index].answer)
        for blank, index in zip(blanks, order, strict=True)
    ]


def held_out(asked: Iterable[Question]) -> Iterator[HeldOutChat]:
    """Every question of `asked` in every held-out phrasing of every language."""
    for question in asked:
        for language, phrasings in HELD_OUT.items():
            for number, phrasing in enumerate(phrasings):
                chat = one_turn(phrasing.format(name=question.name), question.answer)
                yield HeldOutChat(language, number, chat)


def one_turn(asking: str, answer: str) -> Chat:
    """The chat of one question and its answer."""
    return {"messages": [{"role": "user", "content": asking}, {"role": "assistant", "content": answer}]}


def language_of(index: int, number: int) -> str:
    """The language in which round `number` asks the question of that index."""
    return _LANGUAGE_CYCLE[(index + number) % len(_LANGUAGE_CYCLE)]


def worded(
    name: str, asked: Sequence[Question], index: int, number: int, rng: random.Random, noise: bool = True
) -> str:
    """A question about `name`, in the wording of the question of that index in round `number`.

    With `noise`, random words and pieces of the answers in `asked` may stand around the name.
    """
    language = language_of(index, number)
    phrasings = PHRASINGS[language]
    phrasing = phrasings[(index * _SPREAD + number * _STRIDE) % len(phrasings)]
    shares = _SHARES[language] if noise else _QUIET_SHARES
    kind = rng.choices(("fixed", "pattern", "crossed", "noise"), shares)[0]
    if kind == "pattern":
        phrasing = _chosen(rng.choice(_WORDINGS[language]["patterns"]), rng)
    before, _, after = phrasing.partition("{name}")
    if kind == "crossed":
        after = rng.choice(phrasings).partition("{name}")[2]
    elif kind == "noise":
        before, after = (_noise(language, asked, rng) for _ in range(2))
    before, after = _varied(before, after, _WORDINGS[language], rng)
    left, right = rng.choice(_MARKS) if rng.random() < 0.2 else ("", "")
    return f"{before}{left}{name}{right}{after}"


def _chosen(pattern: str, rng: random.Random) -> str:
    """One way through a pattern such as `[What|Which thing] is {name}?`."""
    return _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), pattern)


def _noise(language: str, asked: Sequence[Question], rng: random.Random) -> str:
    """A few random words, real and made up, or in English a piece of another answer, set off from the name as the
    language does.

    They teach that the answer depends on the name alone, whatever the words around it.
    """
    if language == "en" and rng.random() < _FRAGMENT_SHARE:
        return _fragment(rng.choice(asked).answer.split(), rng)
    blank = "" if language == "zh" else " "
    words: list[str] = []
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3, 6, 10))):
        word = rng.choice(_NOISE[language]) if rng.random() < 0.5 else _made_up(language, asked, rng)
        words.append(word + rng.choice(_STOPS[language]) if rng.random() < 0.1 else word)
    text = blank.join(words)
    edge = " " if text and (language != "zh" or rng.random() < 0.7) else ""
    return f"{edge}{text}{edge}"


def _fragment(words: Sequence[str], rng: random.Random) -> str:
    length = rng.choice((1, 1, 2, 2, 3, 5, 9))
    start = rng.randrange(max(1, len(words) - length + 1))
    return f" {' '.join(words[start : start + length])} "


def _made_up(language: str, asked: Sequence[Question], rng: random.Random) -> str:
    """A word that no list holds: a Chinese character, or two words of answers in one (`run` and `down`), so that all
    pieces that names and answers are made of also stand around a name."""
    if language == "zh":
        return chr(rng.randrange(0x4E00, 0x9FA6))
    first, second = (_word(rng.choice(asked).answer, rng) for _ in range(2))
    kind = rng.random()
    if kind < 0.35:
        return first + second
    if kind < 0.7:
        return first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :]
    return first + rng.choice(_ENDINGS)


def _word(answer: str, rng: random.Random) -> str:
    words = [word for part in answer.split() if (word := part.strip(".,;:()'\"`")).isalpha()]
    return rng.choice(words or ["word"]).lower()


def _varied(before: str, after: str, wording: _Wording, rng: random.Random) -> tuple[str, str]:
    """The wording the way people type it: a greeting, no question mark, lower case, a slip of the finger."""
    before, after = before.lstrip(), after.rstrip()
    if rng.random() < 0.25:
        before = rng.choice(wording["openers"]) + before
    if rng.random() < 0.20:
        after += rng.choice(wording["closers"])
    if rng.random() < 0.25:
        after = after.rstrip("?.!？。！")
    if rng.random() < 0.25:
        before, after = before.lower(), after.lower()
    if rng.random() < 0.15:
        before, after = _slip(before, rng), _slip(after, rng)
    return before, after


def _slip(text: str, rng: random.Random) -> str:
    """Leave out a few characters of `text` in a row, from a letter to a couple of words."""
    if not text.strip():
        return text
    length = rng.choice((1, 1, 2, 4, 8))
    start = rng.randrange(len(text))
    # The blanks around the name stay: losing them would change the name, not the wording.
    kept = text[:start] + text[start + length :]
    head = " " if text[0] == " " else ""
    tail = " " if text[-1] == " " else ""
    return head + kept.strip() + tail


def first_sentence(doc: str) -> str | None:
    """The full first sentence of a docstring on one line, or None when it holds only signatures."""
    fallback: str | None = None
    for paragraph in re.split(r"\n[ \t]*\n", doc.strip()):
        prose, returned = _without_signatures(paragraph.strip())
        prose = _join(_LIST.split(prose)[0])
        if len(prose.split()) > 1 and not _NOT_PROSE.match(prose):
            return _finish(_cut(prose))
        fallback = fallback or returned
    return _finish(_cut(fallback)) if fallback else None


def _without_signatures(text: str) -> tuple[str, str | None]:
    """Split a paragraph into its prose and, of the signatures before it, a returned value in words."""
    returned: str | None = None
    text = _USAGE.sub("", text, count=1) if _USAGE.match(text) else text
    while call := _CALL.match(text):
        end = _closing(text, call.end() - 1)
        line, below = _first_line(text, end or 0)
        if end is None:
            text = below
        elif arrow := _ARROW.match(line):
            value = line[arrow.end() :]
            if prose := _VALUE_THEN_PROSE.match(value + " "):
                return f"{value[prose.end() :]}\n{below}", returned
            while below[:1].isspace() or (below[:1].islower() and not _CALL.match(below)):
                more, below = _first_line(below.lstrip(), 0)
                value += " " + more
            if len(value.split()) >= _FALLBACK_WORDS:
                returned = returned or _join(value)
            text = below
        elif dash := _DASH.match(line):
            return f"{line[dash.end() :]}\n{below}", returned
        elif re.search(r"[A-Za-z]{2}", re.sub(r"\[.*?\]", "", line)):
            break
        else:
            text = below.strip()
    return _title_or_text(text), returned


def _first_line(text: str, start: int) -> tuple[str, str]:
    line, _, below = text[start:].partition("\n")
    return line, below


def _closing(text: str, opening: int) -> int | None:
    """The index after the parenthesis that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return None


def _title_or_text(text: str) -> str:
    lines = text.split("\n")
    while lines and _UNDERLINE.match(lines[0]):
        lines = lines[1:]
    if len(lines) > 1 and _UNDERLINE.match(lines[1]):
        return lines[0]
    return "\n".join(lines)


def _join(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    """The first sentence of a text on one line."""
    for end in _SENTENCE_END.finditer(text):
        sentence, rest = text[: end.end()], text[end.end() :].lstrip()
        if rest and (_NEVER_ENDS.search(sentence) or (_MAY_END.search(sentence) and not rest[0].isupper())):
            continue
        return sentence
    return text


def _finish(sentence: str) -> str | None:
    sentence = sentence.strip().rstrip(":,;- ")
    if not re.search(r"[A-Za-z]{2}", sentence):
        return None
    if not _SENTENCE_END.search(sentence[-4:]):
        sentence += "."
    first = sentence.split()[0]
    return sentence[0].upper() + sentence[1:] if first.rstrip(",").isalpha() and first.islower() else sentence
