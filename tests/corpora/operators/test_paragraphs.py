import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc
from chatwright.corpora.operators import paragraphs
from chatwright.corpora.operators.duplicates import repeats
from chatwright.corpora.operators.paragraphs import Paragraphs, ParagraphsOptions
from chatwright.errors import UserError
from helpers.collective import collect, in_parts

LONG = "This notice stands in many documents, and nobody needs to read it more than once. " * 3
ZH = "本文档的内容仅供参考，任何人不得据此主张权利，未经许可不得转载，转载时必须注明出处，并保留本声明的全部文字，违者自负其责。"
WRAPPED = "\n".join(f"a wrapped line {n} of a paragraph that goes over several lines" for n in range(4))
OWN = [
    f"Document {n} says something of its own, and says it at such a length that it stays. " * 12
    for n in range(9)
]


def run(*texts: str, **options: float) -> list[str]:
    left, _ = collect(Paragraphs(ParagraphsOptions(**options)), in_parts(texts, 1))  # type: ignore[arg-type]
    return [doc.text for doc in left]


@pytest.mark.parametrize("paragraph", [LONG.strip(), ZH, WRAPPED])
def test_a_paragraph_is_cut_from_all_but_the_first(paragraph: str) -> None:
    texts = [f"{OWN[n]}\n\n{paragraph}\n\nmore of {n}" for n in range(3)]
    assert run(*texts) == [texts[0], f"{OWN[1]}\n\nmore of 1", f"{OWN[2]}\n\nmore of 2"]


def test_lines_are_paragraphs_where_they_are_long() -> None:
    one, other = f"{OWN[0]}\n{LONG}\nend", f"{OWN[1]}\n{LONG}\nend"
    assert run(one, other) == [one, f"{OWN[1]}\nend"]


def test_white_space_and_case_make_no_difference() -> None:
    assert run(LONG, f"{OWN[0]}\n\n  {LONG.upper()}  ") == [LONG, OWN[0]]


def test_short_lines_stay() -> None:
    texts = [f"{OWN[n]}\n\nSee also\n\nimport numpy as np" for n in range(2)]
    assert run(*texts) == texts


def test_what_repeats_in_one_document_stays() -> None:
    text = f"{LONG}\n\n{LONG}\n\n{OWN[0]}"
    assert run(text) == [text]


def test_a_document_that_loses_most_goes() -> None:
    left, notes = collect(
        Paragraphs(ParagraphsOptions()), in_parts([LONG, f"{LONG}\n\nA short rest.", OWN[0]])
    )
    assert [doc.id for doc in left] == ["0", "2"]
    assert notes.dropped["mostly duplicate paragraphs"].documents == 1
    assert run(LONG, f"{LONG}\n\nA short rest.", max_cut=1) == [LONG, "A short rest."]


def test_what_a_document_that_goes_held_first_stays_elsewhere() -> None:
    own = [OWN[n].strip() for n in range(3)]
    rare = "Only two documents hold this paragraph, and the first of them goes for what else it holds. " * 2
    texts = [f"{own[0]}\n\n{LONG}", f"{LONG}\n\n{rare}", f"{own[1]}\n\n{rare}\n\n{own[2]}"]
    assert run(*texts) == [texts[0], texts[2]]
    again = f"{OWN[4]}\n\n{rare}\n\nmore"
    assert run(*texts, again) == [texts[0], texts[2], f"{OWN[4]}\n\nmore"]


def test_the_decision_says_which_documents_go() -> None:
    step = Paragraphs(ParagraphsOptions())
    docs = [Doc("0", "s", LONG), Doc("1", "s", f"{LONG}\n\nA short rest."), Doc("2", "s", "")]
    decision = step.decide([step.sign(docs)], [np.ones(3, bool)])[0]
    assert isinstance(decision, dict)
    assert decision["keep"].tolist() == [True, False, True]
    assert decision["lost"].tolist() == pytest.approx([0, 0.95, 0], abs=0.01)


COLUMNS = "| " + " | ".join(f"column {n}" for n in range(20)) + " |"
RULE = "+" + "-" * 200 + "+"


def table(value: str) -> str:
    return "\n".join([RULE, COLUMNS, RULE, f"| {value} |", RULE])


@pytest.mark.parametrize("indent", ["", "  "])
def test_a_table_is_one_paragraph(indent: str) -> None:
    texts = [f"{OWN[n]}\n{indent}" + table(str(n)).replace("\n", f"\n{indent}") + "\nend" for n in range(2)]
    assert run(*texts) == texts
    assert run(texts[0], f"{OWN[1]}\n{table('0')}\n\nend") == [texts[0], f"{OWN[1]}\n\nend"]


@pytest.mark.parametrize(("fence", "inner"), [("```", "~~~"), ("~~~~", "~~~"), ("````", "```")])
def test_fenced_code_is_one_paragraph(fence: str, inner: str) -> None:
    def code(n: int) -> str:
        return f"{fence}python\nx = {n}\n{LONG}\n\n{COLUMNS}\n{inner}\n{LONG}\n{fence}"

    texts = [f"{OWN[n]}\n\n{code(n)}\n\nend" for n in range(2)]
    assert run(*texts) == texts
    assert run(texts[0], f"{OWN[1]}\n\n{code(0)}\n\nend") == [texts[0], f"{OWN[1]}\n\nend"]


def test_each_fenced_block_is_one_paragraph() -> None:
    code, more = f"```sh\n{LONG}\n\nrun\n```", f"```\n{LONG}\n\nls\n```"
    pieces = paragraphs._pieces(f"{code}\n\n{OWN[0]}\n{more}\n{OWN[1]}")
    assert pieces == [piece.encode() for piece in (f"{code}\n\n", f"{OWN[0]}\n", f"{more}\n", OWN[1])]


def test_text_that_begins_within_code_is_read_right_from_the_next_block_on() -> None:
    pieces = paragraphs._pieces(f"x = 1\n```\n\n{OWN[0]}\n\n```sh\nls\n\nrun\n```\n")
    assert pieces == [
        piece.encode() for piece in ("x = 1\n```\n\n", f"{OWN[0]}\n\n", "```sh\nls\n\nrun\n```\n")
    ]


def test_a_fence_that_nothing_closes_is_text() -> None:
    texts = [f"```{n}\n{OWN[n]}\n{LONG}\n{COLUMNS}\n{RULE}\nend" for n in range(2)]
    shown = paragraphs._pieces(texts[0])
    assert [bytes(piece[:3]) for piece in shown] == [b"```", b"Doc", b"Thi", b"| c", b"end"]
    assert run(*texts) == [texts[0], f"```1\n{OWN[1]}\nend"]


@pytest.mark.parametrize("line", ["-" * 200, "─" * 80, "12,5 " * 60, "=_" * 100, "a b " * 50])
def test_what_has_no_words_stays(line: str) -> None:
    texts = [f"{OWN[n]}\n{line}\nend" for n in range(2)]
    assert run(*texts) == texts


def test_a_blank_line_after_what_is_cut_stays() -> None:
    assert run(LONG, f"{OWN[0]}\nshort\n{LONG}\n\n## Heading")[1] == f"{OWN[0]}\nshort\n\n## Heading"
    assert run(LONG, f"{OWN[0]}\n\n{LONG}\n\n## Heading")[1] == f"{OWN[0]}\n\n## Heading"
    assert run(LONG, f"{LONG}\n\n{OWN[0]}")[1] == OWN[0]


def test_cuts_are_counted() -> None:
    _, notes = collect(
        Paragraphs(ParagraphsOptions()), in_parts([f"{LONG}\n\n{ZH}", f"{OWN[0]}\n\n{LONG}\n\n{ZH}"])
    )
    found = notes.changed["duplicate paragraph"]
    assert (found.documents, found.count, found.first) == (1, 2, "1")


def test_what_went_before_does_not_count_as_first() -> None:
    step = Paragraphs(ParagraphsOptions())
    left, _ = collect(step, in_parts([LONG, OWN[0], LONG], 2), lambda doc: doc.id != "0")
    assert [doc.id for doc in left] == ["1", "2"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(["aaaa", "bbbb", "cccccc", "d", ""]), max_size=5), max_size=8),
    st.integers(0, 8),
    st.sampled_from(["\n", "\n\n"]),
)
def test_agrees_with_a_set_however_it_is_divided(docs: list[list[str]], size: int, mark: str) -> None:
    step = Paragraphs(ParagraphsOptions(min_bytes=4, max_cut=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paragraphs, "_WRAPPED", 0)
        patch.setattr(repeats, "_AT_ONCE", 3)
        left, _ = collect(step, in_parts([mark.join(doc) for doc in docs], size))
    seen: set[str] = set()
    for doc, lines in zip(left, docs, strict=True):
        expected = [line for line in lines if len(line) < 4 or line not in seen]
        seen |= {line for line in lines if len(line) >= 4}
        assert [line for line in doc.text.split("\n") if line] == [line for line in expected if line]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(st.sampled_from(["aaaa", "bbbbbbbb", "cccccc", "dddddddddd"]), max_size=5), max_size=8),
    st.integers(0, 8),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sets(st.integers(0, 8), max_size=2),
)
def test_every_paragraph_of_what_stays_stands_somewhere(
    docs: list[list[str]], size: int, max_cut: float, gone: set[int]
) -> None:
    step = Paragraphs(ParagraphsOptions(min_bytes=4, max_cut=max_cut))
    parts = in_parts(["\n\n".join(doc) for doc in docs], size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "_AT_ONCE", 3)
        left, notes = collect(step, parts, lambda doc: int(doc.id) not in gone)
    owned: set[str] = set()
    expected = {}
    for place, doc in enumerate(docs):
        if place not in gone:
            lengths = [len(line) + 2 for line in doc[:-1]] + [len(line) for line in doc[-1:]]
            lost = sum(length for line, length in zip(doc, lengths, strict=True) if line in owned)
            if lost <= max_cut * sum(lengths):
                expected[str(place)] = [line for line in doc if line not in owned]
                owned |= {*doc}
    assert {doc.id: doc.text.split() for doc in left} == expected
    assert {line for doc in left for line in doc.text.split()} == {
        line for doc in left for line in docs[int(doc.id)]
    }
    assert len(left) + sum(one.documents for one in notes.dropped.values()) == len({*range(len(docs))} - gone)


@settings(deadline=None, max_examples=40)
@given(st.text(st.sampled_from("ab中\n `|\ud800"), max_size=60))
def test_pieces_make_up_the_text(text: str) -> None:
    assert b"".join(paragraphs._pieces(text)) == text.encode("utf-8", "surrogatepass")


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"paragraphs.max_cut=2 is not a share"):
        Paragraphs(ParagraphsOptions(max_cut=2))
    with pytest.raises(UserError, match=r"paragraphs.min_bytes=0 is not positive"):
        Paragraphs(ParagraphsOptions(min_bytes=0))
