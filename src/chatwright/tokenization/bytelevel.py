"""The printable alphabet in which byte-level vocabularies are written (GPT-2, Radford et al. 2019)."""

from __future__ import annotations

from functools import cache


@cache
def character_bytes() -> dict[str, int]:
    """The byte that each of the 256 characters of the alphabet stands for."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    table = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(hidden)}


def bytes_of(token: str) -> bytes | None:
    """The bytes of a token as the vocabulary spells it; None where a character is not of the alphabet."""
    table = character_bytes()
    try:
        return bytes(table[character] for character in token)
    except KeyError:
        return None
