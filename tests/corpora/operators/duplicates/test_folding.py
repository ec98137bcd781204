import pytest

from chatwright.corpora.operators.duplicates.folding import ALONE, folding


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("é", "É"),
        ("ａ", "a"),
        ("７", "7"),
        ("发", "發"),
        ("发", "髮"),
        ("后", "後"),
        ("里", "裏"),
        ("里", "裡"),
        ("着", "著"),
    ],
)
def test_forms_of_one_character_are_the_same(one: str, other: str) -> None:
    assert folding()[ord(one)] == folding()[ord(other)] != 0


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("e", "é"), ("人", "入"), ("1", "l")])
def test_other_characters_stay_apart(one: str, other: str) -> None:
    assert folding()[ord(one)] != folding()[ord(other)]


def test_signs_and_white_space_are_nothing() -> None:
    assert not folding()[
        [ord(sign) for sign in " \n\t\0\u3000.,;!?-_'\"()[]{}<>|/\\$%&*+=^~`@#，。！？「」《》…—·"]
    ].any()


def test_only_scripts_without_spaces_stand_alone() -> None:
    alone = [bool(folding()[ord(character)] & ALONE) for character in "字𠀀ひカไa1éж한"]
    assert alone == [True] * 5 + [False] * 5
