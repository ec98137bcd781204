"""What an assistant learns to say "I don't know" from: names that do not exist, and real ones kept from it.

A made-up name recombines parts of real names, so that nothing but knowledge tells it from them. Whole modules are
kept out of training: their names are real, and as unknown to the model. From both come demonstrations for fine-tuning,
prompts to align on, rows to measure on, and comparisons for a reward model. Everything is a pure function of its
arguments and the seed.
"""

from __future__ import annotations

import builtins
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypedDict, TypeVar

from chatwright.data.questions import HELD_OUT, Chat, Question, language_of, one_turn, worded
from chatwright.errors import UserError

Kind = Literal["real", "made-up", "kept-out"]
Verdict = Literal["right", "wrong", "admitted", "garbled", "refused"]

_REFUSAL = "I don't know"
# What everybody asks about first stays in training, and so does what the help topic `debugger` tells of.
_NEVER_KEPT = frozenset({"itertools", "os", "textwrap", "pdb", *dir(builtins)})
# No module is so large a part of what is kept out that the rest hardly matters.
_LARGEST_SHARE = 0.2
_DOTTED = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)+")
# Where a word begins inside a part: `read_|line`, `Zip|File`, `get|Value`.
_WORD_START = re.compile(r"(?<=[^_]_)(?=[A-Za-z])|(?<=[a-z0-9])(?=[A-Z])")
# Of the made-up names with a dot: parts from there on swapped, the last part spliced; the rest have one inside swapped.
_SWAPPED, _SPLICED = 0.5, 0.35
# Of the prompts to align on, how many have random words around the name: enough to admit and answer in any phrasing.
_NOISY_SHARE = 0.5
# Of the rankings without a reply that went wrong by itself, how many get one that is hard to tell from the right one.
_HARD_SHARE = 0.3
# How many partners a name is tried with, and how many names in a row may find none.
_PARTNERS, _MOST_MISSES = 20, 200

Piece = str | tuple[str, str]
Named = TypeVar("Named", bound=Mapping[str, Any])


class PromptRow(TypedDict):
    """A question about a name, and the reply to be wished for."""

    prompt: str
    name: str
    kind: Kind
    language: str
    answer: str


class ComparisonRow(TypedDict):
    """Replies to one prompt, the better one first, and their ranks."""

    prompt: str
    replies: list[str]
    ranks: list[int]
    name: str
    kind: Kind


@dataclass(frozen=True)
class Division:
    """Questions in two: of the modules that are kept out of training, and the rest."""

    modules: tuple[str, ...]
    kept: tuple[Question, ...]
    rest: tuple[Question, ...]


def dont_know(name: str) -> str:
    """The one reply that admits not to know a name."""
    return f"{_REFUSAL} {name}."


def kept_out(asked: Sequence[Question], seed: int, share: float = 0.06) -> Division:
    """Keep whole modules, drawn by `seed`, out of training: together at most that share of the questions, and near it.

    A module is a first part of names, or where all have the same, the first two. Never kept are builtins and what the
    answers about other modules mention by a dotted name.
    """
    depth = 1 if len({_module(question.name, 1) for question in asked}) > 1 else 2
    sizes: dict[str, int] = {}
    mentioned: set[str] = set()
    for question in asked:
        own = _module(question.name, depth)
        sizes[own] = sizes.get(own, 0) + 1
        mentioned |= {_module(name, depth) for name in _DOTTED.findall(question.answer)} - {own}
    room = int(share * len(asked))
    largest = max(1, int(room * _LARGEST_SHARE))
    candidates = sorted(
        module
        for module, size in sizes.items()
        if size <= largest and module.count(".") == depth - 1 and module not in _NEVER_KEPT | mentioned
    )
    random.Random(f"chatwright-kept-out/{seed}").shuffle(candidates)
    modules: set[str] = set()
    for module in candidates:
        if sizes[module] <= room:
            modules.add(module)
            room -= sizes[module]
    kept = tuple(question for question in asked if _module(question.name, depth) in modules)
    rest = tuple(question for question in asked if _module(question.name, depth) not in modules)
    return Division(tuple(sorted(modules)), kept, rest)


def _module(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def made_up(
    asked: Sequence[Question], count: int, seed: int | str, taken: Callable[[str], bool]
) -> list[str]:
    """So many different names that nobody documented, made of parts of the names in `asked`, as deep and as cased.

    Modules, classes and last parts are swapped between names, and words inside a part. A real class's real method stands
    under no other module: who knows it has an answer. `taken(name)` says what may not be given, besides the names of
    `asked`. Raises UserError when the names do not recombine to so many.
    """
    rng = random.Random(f"chatwright-made-up/{seed}")
    names = [question.name.split(".") for question in asked]
    alike: dict[tuple[bool, ...], list[list[str]]] = {}
    for parts in names:
        alike.setdefault(_shape(parts), []).append(parts)
    used = {question.name for question in asked}
    ends = {tuple(parts[-2:]) for parts in names if len(parts) > 2}
    made: list[str] = []
    misses = 0
    while len(made) < count and misses < _MOST_MISSES:
        parts = rng.choice(names)
        partners = alike[_shape(parts)]
        tries = (_recombined(parts, rng.choice(partners), rng) for _ in range(_PARTNERS))
        name = next(
            (name for name in tries if name not in used and _end(name) not in ends and not taken(name)), None
        )
        misses = misses + 1 if name is None else 0
        if name is not None:
            used.add(name)
            made.append(name)
    if len(made) < count:
        raise UserError(
            f"{len(asked):,} names recombine to {len(made):,} others, not to {count:,}; ask for fewer prompts, "
            "rows or demonstrations, or take a larger package"
        )
    return made


def _end(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")[-2:])


def _shape(parts: Sequence[str]) -> tuple[bool, ...]:
    """Which parts have a capital: module, class and function keep their places when names of one shape recombine."""
    return tuple(part[0].isupper() for part in parts)


def _recombined(first: Sequence[str], second: Sequence[str], rng: random.Random) -> str:
    """A name of parts of two that have the same number of them."""
    last, kind = len(first) - 1, rng.random()
    if last == 0:
        return _spliced(first[0], second[0], rng)
    if kind < _SWAPPED or (last == 1 and kind >= _SWAPPED + _SPLICED):
        cut = rng.randint(1, last)
        return ".".join([*first[:cut], *second[cut:]])
    place = last if kind < _SWAPPED + _SPLICED else rng.randrange(1, last)
    new = second[place] if place < last and rng.random() < 0.5 else _spliced(first[place], second[place], rng)
    return ".".join([*first[:place], new, *first[place + 1 :]])


def _spliced(first: str, second: str, rng: random.Random) -> str:
    """The beginning of one part and the end of another: `read_line` and `get_bytes` give `read_bytes`.

    Where neither has words to part, each gives about half of its letters.
    """
    heads = [found.start() for found in _WORD_START.finditer(first)]
    tails = [found.start() for found in _WORD_START.finditer(second)]
    if not heads and not tails:
        return first[: _middle(first, rng)] + second[_middle(second, rng) :]
    end = rng.choice(heads) if heads else len(first)
    start = rng.choice(tails) if tails else 0
    joint = "_" if not heads and second[start - 1] == "_" else ""
    in_camel_case = bool(heads) and first[end - 1] != "_"
    return (
        first[:end]
        + joint
        + (second[start].upper() if in_camel_case else second[start])
        + second[start + 1 :]
    )


def _middle(part: str, rng: random.Random) -> int:
    return rng.randint(max(1, len(part) // 3), max(1, 2 * len(part) // 3))


def pieces(name: str) -> set[Piece]:
    """What a name is recognised by: its parts, and every two neighbours."""
    parts = name.split(".")
    return {*parts, *pairwise(parts)}


def new_pieces(names: Iterable[str], asked: Iterable[Question]) -> set[Piece]:
    """The parts and neighbours in `names` that no real name has.

    Names for testing that share none of these with the names for training show more than memory of the latter.
    """
    made = {piece for name in names for piece in pieces(name)}
    return made - {piece for question in asked for piece in pieces(question.name)}


@dataclass(frozen=True)
class Unknown:
    """What one source gives to learn and to measure "I don't know" with."""

    division: Division
    demonstrated: tuple[str, ...]
    prompts: list[PromptRow]
    validation: list[PromptRow]
    test: list[PromptRow]


def unknown(
    asked: Sequence[Question],
    taken: Callable[[str], bool],
    seed: int,
    *,
    share: float,
    demonstrations: int,
    prompted: int,
    rows: tuple[int, int],
    first_round: int,
) -> Unknown:
    """Keep out modules of that share, make names up, and ask: `prompted` prompts, and `rows` to choose by and to test.

    No made-up name serves two uses, and those of `rows` share no new part and no new pair of parts with the others.
    `demonstrations` is how many more names to make; the prompts use wordings from `first_round` on.
    """
    division = kept_out(asked, seed, share)
    if share and not division.kept:
        raise UserError(
            f"kept_out={share:g} of {len(asked):,} questions is less than a module; give more, or kept_out=0"
        )
    trained = made_up(division.rest, demonstrations + prompted // 2, f"{seed}/training", taken)
    seen = new_pieces(trained, asked)
    apart = made_up(
        division.rest,
        sum(rows),
        f"{seed}/held out",
        lambda name: taken(name) or not seen.isdisjoint(pieces(name)),
    )
    shown, asking = trained[:demonstrations], trained[demonstrations:]
    return Unknown(
        division,
        tuple(shown),
        prompts(division.rest, asking, seed, first_round),
        *held_out_prompts(division.rest, division.kept, apart, rows, seed),
    )


def with_demonstrations(
    chats: Sequence[Chat], asked: Sequence[Question], names: Iterable[str], seed: int, number: int
) -> list[Chat]:
    """Round `number` of training, with one chat more for each of `names`, at random places: "I don't know NAME."."""
    rng = random.Random(f"chatwright-demonstrations/{seed}/{number}")
    mixed = list(chats)
    for index, name in enumerate(names):
        chat = one_turn(worded(name, asked, index, number, rng), dont_know(name))
        mixed.insert(rng.randint(0, len(mixed)), chat)
    return mixed


def prompts(asked: Sequence[Question], names: Sequence[str], seed: int, number: int) -> list[PromptRow]:
    """Prompts in training phrasings, shuffled: one for each made-up name, and as many for the real ones of `asked`.

    Real names come equally often. `number` is that of the first round whose wordings are used.
    """
    rng = random.Random(f"chatwright-prompts/{seed}")
    order = list(range(len(asked)))
    rng.shuffle(order)
    rows: list[PromptRow] = []
    for place, name in enumerate(names):
        index, turn = order[place % len(order)], number + place // len(order)
        real = asked[index]
        noise = rng.random() < _NOISY_SHARE
        text = worded(real.name, asked, index, turn, rng, noise)
        rows.append(_row(text, real, "real", language_of(index, turn)))
        text = worded(name, asked, place, number, rng, noise)
        rows.append(_row(text, Question(name, dont_know(name)), "made-up", language_of(place, number)))
    rng.shuffle(rows)
    return rows


def _row(text: str, question: Question, kind: Kind, language: str) -> PromptRow:
    return {
        "prompt": text,
        "name": question.name,
        "kind": kind,
        "language": language,
        "answer": question.answer,
    }


def held_out_prompts(
    known: Sequence[Question],
    kept: Iterable[Question],
    names: Iterable[str],
    counts: tuple[int, int],
    seed: int,
) -> tuple[list[PromptRow], list[PromptRow]]:
    """Rows to choose by and rows to test with, so many of each kind and language, in held-out phrasings.

    The two share no name and no phrasing. Real names are spread evenly over `known`; a kind with fewer names than
    rows asks them in several phrasings, and has fewer rows where these run out as well.
    """
    rng = random.Random(f"chatwright-held-out-prompts/{seed}")
    pools: dict[Kind, list[Question]] = {
        "real": list(known),
        "made-up": [Question(name, dont_know(name)) for name in names],
        "kept-out": [Question(question.name, dont_know(question.name)) for question in kept],
    }
    sides: tuple[list[PromptRow], list[PromptRow]] = ([], [])
    for kind, pool in pools.items():
        wanted = min(len(pool), sum(counts))
        chosen = [pool[place * len(pool) // wanted] for place in range(wanted)]
        rng.shuffle(chosen)
        cut = round(wanted * counts[0] / sum(counts))
        for side, part in enumerate((chosen[:cut], chosen[cut:])):
            sides[side].extend(_asked_in_held_out(part, kind, counts[side], side))
    return sides


def _asked_in_held_out(part: Sequence[Question], kind: Kind, count: int, side: int) -> Iterator[PromptRow]:
    for language, all_phrasings in HELD_OUT.items():
        phrasings = all_phrasings[side::2]
        for place in range(min(count, len(part) * len(phrasings))):
            turn, index = divmod(place, len(part))
            question = part[index]
            text = phrasings[(index + turn) % len(phrasings)].format(name=question.name)
            yield _row(text, question, kind, language)


def verdict(kind: Kind, name: str, answer: str, reply: str) -> Verdict:
    """What a reply is worth. Of a real name: right to the letter, refused, or wrong; of others: admitted to the letter,
    admitted with another name or more words (garbled), or wrong."""
    if kind != "real" and reply.startswith(_REFUSAL):
        return "admitted" if reply == dont_know(name) else "garbled"
    if kind != "real":
        return "wrong"
    if reply == answer:
        return "right"
    return "refused" if reply.startswith(_REFUSAL) else "wrong"


def gold(prompt: str, reply: str, kind: Kind, name: str, answer: str) -> float:
    """What alignment is to reach, as a reward: 1 for right or admitted, half for garbled, −1 for a real name refused."""
    return {"right": 1.0, "admitted": 1.0, "garbled": 0.5, "wrong": 0.0, "refused": -1.0}[
        verdict(kind, name, answer, reply)
    ]


def comparisons(
    rows: Sequence[PromptRow], replies: Sequence[Sequence[str]], seed: int
) -> Iterator[ComparisonRow]:
    """One ranking a prompt, from the rows of `prompts` and the replies that the policy sampled to each.

    Real name: the answer over "I don't know NAME.", and over a wrong reply, or sometimes over another name's answer or its
    own in decay. Made-up name: "I don't know NAME." over an invented answer, and over a garbled admission, or sometimes
    over the same of another name or itself in decay. Nothing is ranked over itself, nor over an empty reply.
    """
    rng = random.Random(f"chatwright-comparisons/{seed}")
    answers = [row["answer"] for row in rows if row["kind"] == "real"]
    names = [row["name"] for row in rows if row["kind"] != "real"]
    for row, sampled in zip(rows, replies, strict=True):
        judged = [(verdict(row["kind"], row["name"], row["answer"], reply), reply) for reply in sampled]
        wrong = _one([reply for found, reply in judged if found == "wrong" and reply.strip()], rng)
        if row["kind"] == "real":
            hard = [rng.choice(answers), _decayed(row["answer"], rng)]
            worse = [dont_know(row["name"]), *(wrong or _sometimes(hard, rng))]
        else:
            garbled = _one([reply for found, reply in judged if found == "garbled"], rng)
            hard = [dont_know(_misnamed(row["name"], names, rng)), _decayed(row["answer"], rng)]
            worse = [*(wrong or _one(answers, rng)), *(garbled or _sometimes(hard, rng))]
        worse = [reply for reply in dict.fromkeys(worse) if reply.strip() != row["answer"].strip()]
        if worse:
            yield {
                "prompt": row["prompt"],
                "replies": [row["answer"], *worse],
                "ranks": [0] + [1] * len(worse),
                "name": row["name"],
                "kind": row["kind"],
            }


def _sometimes(texts: Sequence[str], rng: random.Random) -> list[str]:
    return [rng.choice(texts)] if rng.random() < _HARD_SHARE else []


def _one(texts: Sequence[str], rng: random.Random) -> list[str]:
    return [rng.choice(texts)] if texts else []


def _misnamed(name: str, names: Sequence[str], rng: random.Random) -> str:
    """Another name, or this one with a part lost, exchanged or doubled."""
    parts, other = name.split("."), rng.choice(names)
    kind = rng.choice(("other", "lost", "exchanged", "doubled"))
    wrong = other
    if len(parts) > 1 and kind == "lost":
        lost = rng.randrange(len(parts))
        wrong = ".".join(part for place, part in enumerate(parts) if place != lost)
    elif len(parts) > 1 and kind == "exchanged":
        wrong = ".".join([*parts[:-1], other.split(".")[-1]])
    return f"{name}.{parts[-1]}" if kind == "doubled" or wrong == name else wrong


def _decayed(sentence: str, rng: random.Random) -> str:
    """A sentence that does not end where it should: said twice, its end said twice, or cut off."""
    kind = rng.choice(("sentence", "word", "letters", "cut"))
    if kind == "sentence":
        return f"{sentence} {sentence}"
    if kind == "word":
        return f"{sentence} {sentence.split()[-1]}"
    if kind == "letters":
        return sentence + sentence[-rng.randint(2, 8) :]
    return sentence[: rng.randint(1 + len(sentence) // 2, len(sentence) - 1)].rstrip()


def split_by_name(rows: Sequence[Named], share: float, seed: int) -> tuple[list[Named], list[Named]]:
    """Rows to train with and rows held out: the latter have that share of the names, and all rows of these."""
    names = sorted({str(row["name"]) for row in rows})
    random.Random(f"chatwright-split-by-name/{seed}").shuffle(names)
    apart = set(names[: round(share * len(names))])
    training = [row for row in rows if row["name"] not in apart]
    return training, [row for row in rows if row["name"] in apart]
