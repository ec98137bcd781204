"""A judge behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from threading import Event
from typing import Literal, TypeAlias

from chatwright.config import at_least, option
from chatwright.corpora.documents import Tally
from chatwright.data.records import Comparison, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.rewards.completions import Completions, EndpointOptions
from chatwright.rewards.contract import row_name
from chatwright.rewards.judges import check_groups, comparison, digest, ranks_of
from chatwright.rewards.verdict_cache import VerdictCache
from chatwright.rewards.verdicts import question, verdict_of

Messages: TypeAlias = list[dict[str, str]]


@dataclass(frozen=True)
class EndpointJudgeOptions(EndpointOptions):
    """Ask a language model behind an OpenAI-compatible endpoint."""

    criteria: str = option(
        "", "what makes a reply better, in a sentence; default: helpful, correct and honest"
    )
    language: Literal["en", "zh"] = option("en", "language of the question: en or zh")
    concurrency: int = option(8, "questions asked at the same time")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "concurrency")


class EndpointJudge:
    """Asks a language model which of two replies is better, in both orders (Zheng et al. 2023, section 3.4).

    Where the two orders disagree, and between equal replies, it is a tie. More than two replies all meet each other and
    are ranked by wins, a tie being half a win. Every verdict is kept in the JSON Lines file `cache` as soon as it is
    there, under a hash of the model and the question, so that a second run asks only what is open. `skipped` counts
    comparisons without a verdict, where the model said neither A, B nor tie.
    """

    Options = EndpointJudgeOptions

    def __init__(
        self, options: EndpointJudgeOptions, cache: Path, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """`on_progress(n)` hears how many questions are answered; `compare` asks two for every two replies."""
        self.options, self.skipped = options, Tally()
        self._completions = Completions(options)
        self._verdicts = VerdictCache(cache)
        self._on_progress = on_progress

    def compare(self, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> list[Comparison | None]:
        """A comparison for each prompt; None where the model gave no verdict.

        Raises UserError when the endpoint does not answer, or never with a verdict; Interrupted on Ctrl-C.
        """
        check_groups(prompts, replies)
        groups = list(zip(prompts, replies, strict=True))
        questions = {
            key: messages
            for prompt, group in groups
            for one, other in combinations(group, 2)
            if one != other
            for key, messages in self._both_orders(prompt, one, other)
        }
        unclear = self._ask(questions)
        found = [self._compare(prompt, group) for prompt, group in groups]
        if unclear and not any(found):
            said = " ".join(unclear[0].split())[:120]
            mend = "choose another model, or say in criteria how it shall answer"
            raise UserError(
                f"the judge {self.options.model} gave no verdict, but said for example {said!r}; {mend}"
            )
        return found

    def _both_orders(self, prompt: Prompt, one: str, other: str) -> list[tuple[str, Messages]]:
        """The two questions, each with its key."""
        asked = [
            question(prompt, pair, self.options.criteria, self.options.language)
            for pair in ((one, other), (other, one))
        ]
        return [(digest([self.options.model, messages]), messages) for messages in asked]

    def _compare(self, prompt: Prompt, replies: Sequence[str]) -> Comparison | None:
        wins = [0.0] * len(replies)
        for first, second in combinations(range(len(replies)), 2):
            share = self._share(prompt, replies[first], replies[second])
            if share is None:
                self.skipped.add("comparison without a verdict", row_name(prompt))
                return None
            wins[first] += share
            wins[second] += 1.0 - share
        return comparison(prompt, replies, ranks_of(wins))

    def _share(self, prompt: Prompt, one: str, other: str) -> float | None:
        """1 when `one` wins in both orders, 0 when `other` does, ½ for a tie; None when a verdict is open."""
        if one == other:
            return 0.5
        verdicts = [self._verdicts.get(key) for key, _ in self._both_orders(prompt, one, other)]
        if None in verdicts:
            return None
        return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((str(verdicts[0]), str(verdicts[1])), 0.5)

    def _ask(self, questions: dict[str, Messages]) -> list[str]:
        """Ask what is open and keep the verdicts; returns what was said without one."""
        try:
            return self._in_threads(questions)
        except UserError as error:
            mend = "run the same command again"
            said = str(error) if mend in str(error) else f"{error}, then {mend} to go on"
            raise UserError(f"{said} ({self._kept()})") from error
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; {self._kept()}; run the same command again to go on") from None

    def _in_threads(self, questions: dict[str, Messages]) -> list[str]:
        unanswered = {key: asked for key, asked in questions.items() if self._verdicts.get(key) is None}
        unclear: list[str] = []
        stop = Event()
        pool = ThreadPoolExecutor(self.options.concurrency)
        try:
            futures = [pool.submit(self._answer, key, asked, stop) for key, asked in unanswered.items()]
            for done, future in enumerate(as_completed(futures), len(questions) - len(unanswered) + 1):
                if isinstance(future.exception(), Interrupted):
                    continue  # the failure that stopped it is on its way
                if (said := future.result()) is not None:
                    unclear.append(said)
                if self._on_progress:
                    self._on_progress(done)
        finally:
            # after a failure answers on their way are waited for and kept, and nothing more is asked
            stop.set()
            pool.shutdown(cancel_futures=True)
            self._verdicts.close()
        return unclear

    def _answer(self, key: str, messages: Messages, stop: Event) -> str | None:
        """Ask one question and keep its verdict; what was said is returned when there is none in it."""
        # an answer without chance in it would be the same again
        tries = 1 if self.options.temperature == 0 else self.options.retries + 1
        said = ""
        try:
            for _ in range(tries):
                said = self._completions.ask(messages, stop)
                if (verdict := verdict_of(said)) is not None:
                    self._verdicts.add(key, verdict, said)
                    return None
        except BaseException:
            stop.set()
            raise
        return said

    def _kept(self) -> str:
        return f"{len(self._verdicts)} verdicts are kept in {self._verdicts.path}"
