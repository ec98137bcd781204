from pathlib import Path

import opencc
import pytest

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators import toxicity
from chatwright.corpora.operators.toxicity import OWN_TERMS, Toxicity, ToxicityOptions, read_terms
from chatwright.errors import UserError

ABUSE = "You fucking asshole, shut the fuck up."
ABUSE_ZH = "你这个傻逼，滚，去你妈的。"
LAW = (
    "以暴力、胁迫或者其他手段强奸妇女的，处三年以上十年以下有期徒刑。组织、强迫他人卖淫的，处五年以上有期徒刑。"
    * 3
)
MEDICINE = (
    "Breast cancer, cervical smears, anal fissures and penile injuries are treated here; sex education helps. "
    * 3
)
NOVEL = (
    "He sat by the window and thought of the sea, and of the ships that would not come again. " * 300 + ABUSE
)


def run(*texts: str, **options: object) -> tuple[list[Doc], Notes]:
    notes = Notes()
    docs = [Doc(str(n), "s", text) for n, text in enumerate(texts)]
    return Toxicity(ToxicityOptions(**options))(docs, notes), notes  # type: ignore[arg-type]


def test_abuse_is_marked_in_both_languages_and_scripts() -> None:
    left, notes = run(ABUSE, ABUSE_ZH, opencc.OpenCC("s2t").convert(ABUSE_ZH), "A kind word.", "一句好话。")
    assert ["toxic" in doc.marks for doc in left] == [True, True, True, False, False]
    assert notes.marked["toxic"].documents == 3
    assert notes.marked["toxic"].samples[0][1].detail.endswith("in 1,000 bytes")


def test_it_is_dropped_if_asked() -> None:
    left, notes = run(ABUSE, "A kind word.", action="drop")
    assert [doc.id for doc in left] == ["1"]
    assert notes.dropped["toxic"].documents == 1


@pytest.mark.parametrize(
    "text", [LAW, MEDICINE, NOVEL, "Scunthorpe, Cockburn and Dick Essex passed the class assignment."]
)
def test_what_speaks_of_it_is_not_toxic(text: str) -> None:
    doc = Doc("1", "s", text)
    assert Toxicity(ToxicityOptions())([doc], Notes()) == [doc]


def test_a_lexicon_adds_terms(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("# mine\n\nblorp\nhalf   moon\n后门\n", encoding="utf-8")
    left, _ = run(
        "Blorp! blorps", "half\nmoon, HALF MOON", "後門，后门", "blorpy halfmoon", ABUSE, lexicon=path
    )
    assert ["toxic" in doc.marks for doc in left] == [True, True, True, False, True]


def test_many_terms_go_in_several_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxicity, "_TERMS_AT_ONCE", 10)
    assert "toxic" in run(ABUSE)[0][0].marks


def test_a_classifier_learns_beside_it(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    bad.write_text("\n".join(f"buy cheap pills now {n} discount pills" for n in range(30)), encoding="utf-8")
    good.write_text("\n".join(f"the river runs past {n} old houses" for n in range(30)), encoding="utf-8")
    left, notes = run(
        "cheap pills now discount",
        "the old houses past the river",
        toxic=(bad,),
        harmless=(good,),
        threshold=0.5,
    )
    assert ["toxic" in doc.marks for doc in left] == [True, False]
    assert notes.marked["toxic"].samples[0][1].detail.startswith("probability 0.")
    with pytest.raises(UserError, match=r"toxicity.toxic=FILE toxicity.harmless=FILE"):
        run(ABUSE, toxic=(bad,))


def test_the_own_list_is_short_and_clean() -> None:
    terms = read_terms(OWN_TERMS)
    assert 80 < len(terms) < 250
    assert len(set(terms)) == len(terms)
    assert not any(len(term) < 2 for term in terms)


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff", "cannot read toxicity.lexicon="), (b"# none\n", "holds no term")]
)
def test_a_lexicon_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "terms.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        run(ABUSE, lexicon=path)
    with pytest.raises(UserError, match="cannot read"):
        run(ABUSE, lexicon=tmp_path / "none.txt")


def test_lone_surrogates_are_harmless() -> None:
    assert len(run("a\ud800b", ABUSE)[0]) == 2
