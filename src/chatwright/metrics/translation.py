"""How near translations come to reference translations: BLEU and chrF, as sacrebleu counts them (Post 2018)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Words = Literal["13a", "zh", "char"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Kana, Thai, Lao, Burmese and Khmer are written without spaces, too, and `zh` does not cut them.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_LETTER = re.compile(r"\w")
_SHARE = 0.3


@dataclass(frozen=True)
class Score:
    """A score from 0 to 100, and the signature that says how it was counted."""

    value: float
    signature: str


def words_of(texts: Sequence[str]) -> Words:
    """How texts are cut into words for BLEU, by their script: `zh` for Chinese, `char` for others that are written
    without spaces, `13a` else. On Chinese, 13a takes a whole sentence for a word and finds nothing right."""
    whole = "".join(texts)
    han, unspaced = len(_HAN.findall(whole)), len(_UNSPACED.findall(whole))
    if han + unspaced <= _SHARE * len(_LETTER.findall(whole)):
        return "13a"
    # Japanese is Han and kana together
    return "zh" if han > 9 * unspaced else "char"


def bleu(hypotheses: Sequence[str], references: Sequence[str], words: Words | None = None) -> Score:
    """BLEU of a whole collection (Papineni et al. 2002). words: how it is cut; by default, by the references' script."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=words or words_of(references))
    found = metric.corpus_score(_checked(hypotheses, references), [list(references)])
    return Score(float(found.score), str(metric.get_signature()))


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """chrF of a whole collection (Popović 2015): the F2 of runs of up to six characters, for any script."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    found = metric.corpus_score(_checked(hypotheses, references), [list(references)])
    return Score(float(found.score), str(metric.get_signature()))


def _checked(hypotheses: Sequence[str], references: Sequence[str]) -> list[str]:
    assert len(hypotheses) == len(references) > 0, (len(hypotheses), len(references))
    return list(hypotheses)
