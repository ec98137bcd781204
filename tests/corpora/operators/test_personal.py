from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.personal import KINDS, Personal, PersonalOptions, find
from chatwright.errors import UserError
from helpers.scripts import load_script

BENCHMARK = load_script(Path(__file__).parents[3] / "benchmarks" / "personal.py")
STEP = Personal(PersonalOptions())


def masked(text: str, **options: object) -> str:
    (doc,) = Personal(PersonalOptions(**options))([Doc("1", "s", text)], Notes())  # type: ignore[arg-type]
    return doc.text


def test_recall_and_precision_on_labelled_sentences() -> None:
    result = BENCHMARK.measure(seed=5, rounds=10)
    assert result["recall"] >= 0.98, result["missed"]
    assert result["precision"] >= 0.95, result["false"]
    assert all(found >= 0.95 * there for found, there in result["kinds"].values()), result["kinds"]
    assert set(result["kinds"]) == set(KINDS)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("邮箱zhangsan@163.com，手机13812345678。", "邮箱<email>，手机<phone>。"),
        ("Call (212) 555-0123 or mail a.b@c.org.", "Call <phone> or mail <email>."),
        ("身份证11010519491231002X", "身份证<id>"),
        ("身份证110105194912310021", "身份证110105194912310021"),
        ("4111 1111 1111 1111, 4111 1111 1111 1112", "<card>, 4111 1111 1111 1112"),
        ("SSN 078-05-1120", "SSN <ssn>"),
        ("at 93.184.216.34 and 192.168.0.1", "at <ip> and 192.168.0.1"),
        ("2606:2800:220:1:248:1893:25c8:1946 but not fe80::1", "<ip> but not fe80::1"),
        ("key sk-abcDEF0123456789abcDEF0123456789", "key <key>"),
        ("手机１３８１２３４５６７８", "手机<phone>"),
        ("订单号13812345678，13812345678元", "订单号13812345678，13812345678元"),
    ],
)
def test_known_answers(text: str, after: str) -> None:
    assert masked(text) == after


def test_a_key_block_of_several_lines_is_one_mask() -> None:
    block = (
        "-----BEGIN EC PRIVATE KEY-----\n" + "MHcCAQEEIB9x0ezP\nab12\n" * 40 + "-----END EC PRIVATE KEY-----"
    )
    assert masked(f"before\n{block}\nafter") == "before\n<key>\nafter"


def test_counts_are_by_kind_and_samples_tell_nothing() -> None:
    notes = Notes()
    text = "a.person@example.org and b@example.org and 13812345678"
    (doc,) = STEP([Doc("1", "s", text)], notes)
    assert doc.text == "<email> and <email> and <phone>"
    assert {kind: (found.documents, found.count) for kind, found in notes.changed.items()} == {
        "email": (1, 2),
        "phone": (1, 1),
    }
    shown = [part for found in notes.changed.values() for _, s in found.samples for part in (s.text, s.after)]
    assert not any(secret in part for part in shown for secret in ("person", "example", "138123"))
    assert notes.changed["phone"].bytes == len("13812345678") - len("<phone>")


def test_kinds_and_placeholder_are_chosen() -> None:
    text = "x@example.org 13812345678"
    assert masked(text, kinds=("phone",)) == "x@example.org <phone>"
    assert masked(text, placeholder="[kind]") == "[email] [phone]"
    with pytest.raises(
        UserError, match=r"personal.kinds=mail is no kind of personal data; did you mean 'email'"
    ):
        Personal(PersonalOptions(kinds=("mail",)))


def test_what_holds_nothing_is_the_same_object() -> None:
    doc = Doc("1", "s", "nothing here, version 1.2.3.4")
    assert STEP([doc], Notes())[0] is doc


def test_long_lines_and_many_finds() -> None:
    text = " ".join(f"user{n}@example.org" for n in range(3000)) + " " + "x" * 5000 + " 13812345678"
    assert masked(text) == " ".join(["<email>"] * 3000) + " " + "x" * 5000 + " <phone>"


PIECES = st.sampled_from(
    [
        "a@b.com",
        "13812345678",
        "8.8.8.8",
        "1.2.3.4",
        "sk-abcDEF0123456789abcDEF",
        " at ",
        "@",
        "-",
        " ",
        "\n",
        "０",
        "中",
        "\ud800",
    ]
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(PIECES | st.characters(), max_size=12).map("".join), max_size=4))
def test_spans_are_in_order_and_masking_twice_changes_nothing(texts: list[str]) -> None:
    for text, spans in zip(texts, find(texts), strict=True):
        ends = [0, *(end for span in spans for end in span[:2]), len(text)]
        assert ends == sorted(ends)
        assert all(span[0] < span[1] for span in spans)
    docs = [Doc(str(n), "s", text) for n, text in enumerate(texts)]
    once = STEP(docs, Notes())
    assert [doc.text for doc in STEP(once, Notes())] == [doc.text for doc in once]
    assert find(texts) == [find([text])[0] for text in texts]
