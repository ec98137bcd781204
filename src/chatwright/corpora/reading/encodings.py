"""Bytes to text: UTF-8, else the encoding in which the bytes read most like a language, else nothing at all.

A wrong guess costs more than a file left out, and nearly any bytes decode without an error as Latin-1, many as
GB18030. So each encoding is tried with what its languages are made of (frequent characters, common ones, the accented
letters of one language at a time), and the likeliest wins. The rivals that are not read, as Shift-JIS, KOI8-R or
the code page of Polish, take part: where one of them wins, the file is refused with its name.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from chatwright.corpora.reading.raw import FileError

CHINESE = "gb18030"
TAIWANESE = "cp950"
HONG_KONG = "big5hkscs"
WESTERN = "cp1252"

# Two thirds of the characters of running modern Chinese, simplified or traditional, are among these.
_FREQUENT = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
    "日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政"
    "美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员"
    "解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件"
    "计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象"
    "這個們來為國說時會對於過發後裡種經麼學現當沒動還進樣實軍長機關點業間問無與將兩應戰東爲義書產從體兒內決"
    "幾則別務區卻變聽員場聲處頭爾並開強總報數權條氣電結給統見計認許論話資達裏門隊難題馬"
    "風雲花春秋雨夜江城君歸酒詩客故舊葉聞誰愁處落飛歌啼寒"
)
_MOST_FREQUENT = frozenset(_FREQUENT)
# The share of the frequent characters that settles it. Of other encodings misread as these it is a tenth at most.
_PLAINLY = 0.4
_ENOUGH = 20
_PUNCTUATION = "，。、：；？！（）《》“”·—…「」『』\u3000"
_SIGNS = "【】〔〕〈〉～－．／＋＝％□■○●◎★☆①②③④⑤⑥─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬×÷→←↑↓℃‘’"
_SAMPLE = 6000
_ROWS = 50
_KNOWN = 0.8
_ASCII, _CONTROL = -3.5, -9.0
# What a byte above 127 costs in a text of no language: all such bytes are equally likely.
_NO_LANGUAGE = -4.85
# What an encoding that is only recognised is less likely from the start than one that is read.
_RARER = -4.0
# A letter with an accent stands between plain ones, a letter of another alphabet beside its like: what breaks
# these rules is a sign of another encoding.
_ODD_NEIGHBOURS = -2.0
_ACCENTS_IN_A_ROW = re.compile("(?<=[\x80-\U0010ffff])[\x80-\U0010ffff]")
_ALPHABETS_IN_A_WORD = re.compile("(?<=[A-Za-z])[\x80-\U0010ffff]|[\x80-\U0010ffff](?=[A-Za-z])")
_CONTROLS = frozenset(map(chr, (*range(9), 11, *range(14, 32), 127)))

# Accented letters by language; whatever is not among them is unlikely in that language.
_LATIN = {
    "French": "éèêàçùûôîâëïœ«»",
    "German": "äöüßÄÖÜ„“»«",
    "Spanish": "áéíóúñü¿¡Ñ«»",
    "Portuguese": "ãõçáéíóúâêôàªº",
    "Italian": "àèéìòù«»",
    "Swedish": "åäöÅÄÖé",
    "Danish": "æøåÆØÅé",
    "Dutch": "éëïöüèá",
    "Icelandic": "ðþýæöáíúóÞÆ",
    "English": "’“”‘–—éï",
    "Catalan": "àèéíòóúçüï·",
    "Estonian": "äõöü",
    "Finnish": "äöåšž",
}
_WESTERN_SIGNS = "’‘“”–—…•€£§°©®±·½²³µ«»\u00a0"
_CENTRAL = {
    "Polish": "ąćęłńóśźżŁŚŻ",
    "Czech": "áčďéěíňóřšťúůýžČŠŽŘ",
    "Slovak": "áäčďéíľňóôšťúýžČŠŽ",
    "Hungarian": "áéíóöőúüűÁÉÖŐ",
    "Romanian": "ăâîşţ",
    "Croatian": "čćđšžČŠŽ",
}
_BALTIC = {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äõöüšž"}
_CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"


@dataclass(frozen=True)
class _Reading:
    """What bytes say in one encoding: the text, and how often each character above 127 stands in it."""

    text: str
    high: Mapping[str, int]
    plain_cost: float

    @classmethod
    def of(cls, text: str) -> _Reading:
        counts = Counter(text)
        high = {character: count for character, count in counts.items() if character > "\x7f"}
        controls = sum(counts[character] for character in _CONTROLS if character in counts)
        plain = len(text) - sum(high.values()) - controls
        return cls(text, high, controls * _CONTROL + plain * _ASCII)

    def is_plainly_chinese(self) -> bool:
        """Whether so many characters are frequent Chinese ones that nothing else needs to be tried."""
        known = sum(count for character, count in self.high.items() if character in _MOST_FREQUENT)
        return known > max(_ENOUGH, _PLAINLY * sum(self.high.values()))


@dataclass(frozen=True)
class _Profile:
    """How likely each character above 127 is in one language, as a logarithm; `rest` for all others.

    `odd` finds characters whose neighbours speak against the language.
    """

    chances: Mapping[str, float]
    rest: float
    odd: re.Pattern[str] | None = None

    def score(self, reading: _Reading) -> float:
        """The logarithm of the likelihood of the characters above 127."""
        get, rest = self.chances.get, self.rest
        high = sum(count * get(character, rest) for character, count in reading.high.items())
        return high + _ODD_NEIGHBOURS * len(self.odd.findall(reading.text)) if self.odd else high


def _block(encoding: str, first: range, second: range) -> str:
    rows = (bytes((high, low)) for high in first for low in second)
    return "".join(row.decode(encoding, "ignore") for row in rows)


@cache
def _profiles() -> dict[str, list[_Profile]]:
    """Profiles of languages by encoding. Levels of the national standards tell common characters from rare ones."""
    full = range(0xA1, 0xFF)
    simplified = _block("gb2312", range(0xB0, 0xD8), full)
    traditional = _block("big5", range(0xA4, 0xC7), range(0x40, 0xFF))
    kana, kanji = _block("euc-jp", range(0xA4, 0xA6), full), _block("euc-jp", range(0xB0, 0xD0), full)
    hangul = _block("euc-kr", range(0xB0, 0xC9), full)
    chinese = [_hanzi(simplified), _hanzi(traditional)]
    japanese = [_Profile({**_even(kanji, -8.3), **_even(_PUNCTUATION, -6.5), **_even(kana, -5.0)}, -13)]
    korean = [_Profile({**_even(_PUNCTUATION, -8.0), **_even(hangul, -7.0)}, -13)]
    western, central, baltic = (
        [_accents(letters) for letters in of.values()] for of in (_LATIN, _CENTRAL, _BALTIC)
    )
    return {
        CHINESE: chinese,
        TAIWANESE: [_hanzi(traditional)],
        HONG_KONG: [_hanzi(traditional)],
        WESTERN: western,
        "utf-16-le": [*chinese, *western, *japanese, *korean, *_cyrillic()],
        "utf-16-be": [*chinese, *western, *japanese, *korean, *_cyrillic()],
        "euc-jp": japanese,
        "shift-jis": japanese,
        "euc-kr": korean,
        "cp1251": _cyrillic(),
        "koi8-r": _cyrillic(),
        "cp1250": central,
        "iso8859-2": central,
        "cp1257": baltic,
        "cp1258": [_accents("ăâđêôơưáàéíóúùĐ\u0300\u0301\u0303\u0309\u0323")],
        "cp1254": [_accents("çğıöşüİÇÖŞÜ")],
    }


READ = (CHINESE, TAIWANESE, HONG_KONG, WESTERN, "utf-16-le", "utf-16-be")
"""The encodings that are read beside UTF-8; all others are only recognised."""


def _even(characters: str, chance: float) -> dict[str, float]:
    return dict.fromkeys(characters, chance)


def _hanzi(common: str) -> _Profile:
    signs = {**_even(_SIGNS, -7.5), **_even(_PUNCTUATION, -5.5)}
    return _Profile({**_even(common, -9.0), **_even(_FREQUENT, -6.8), **signs}, -13)


def _accents(letters: str) -> _Profile:
    others = {**_even("".join(_LATIN.values()), -6.0), **_even(_WESTERN_SIGNS, -4.5)}
    return _Profile({**others, **_even(letters.upper(), -4.5), **_even(letters, -2.9)}, -9, _ACCENTS_IN_A_ROW)


def _cyrillic() -> list[_Profile]:
    chances = {**_even(_CYRILLIC, -3.1), **_even(_CYRILLIC.upper(), -5.5)}
    return [_Profile(chances, -9, _ALPHABETS_IN_A_WORD)]


def encoding_of(read: Callable[[], Iterable[bytes]], path: Path) -> str:
    """The encoding of the chunks that `read()` gives (anew at each call): `utf-8` or one of `READ`.

    A last character that is cut off does not count against an encoding: half-written files end so. Raises
    `FileError` for bytes that are no text, or text of another encoding.
    """
    bad_byte, has_zeros = _first_bad_byte(read())
    if bad_byte is None and not has_zeros:
        return "utf-8"
    guess = guess_encoding(_sample(read()))
    for encoding in (guess, HONG_KONG) if guess == TAIWANESE else (guess,):
        if encoding in READ and _decodes(read(), encoding):
            return encoding
    if has_zeros:
        raise FileError(path, "binary file", "leave it out, or convert it to UTF-8 text")
    looks = f" and looks like {guess}" if guess else ""
    mend = (
        f"byte {bad_byte} is not{looks}; convert it (iconv -f {guess or 'ENCODING'} -t UTF-8) or leave it out"
    )
    raise FileError(path, "not UTF-8", mend)


def guess_encoding(sample: bytes) -> str | None:
    """The likeliest encoding of bytes that are not UTF-8, of those read and those only recognised; None for no text."""
    zeros = b"\0" in sample
    best, most = None, _no_language(sample)
    for encoding, profiles in _profiles().items():
        # Text in UTF-16 has zero bytes (in line breaks, spaces, digits), text in the others has none.
        if zeros != encoding.startswith("utf-16"):
            continue
        text = _decoded(sample, encoding)
        if text is None:
            continue
        reading = _Reading.of(text)
        if encoding in (CHINESE, TAIWANESE) and reading.is_plainly_chinese():
            return encoding
        if zeros and not _is_plausible(reading, profiles):
            continue
        score = reading.plain_cost + max(profile.score(reading) for profile in profiles)
        score += 0 if encoding in READ else _RARER
        if score > most:
            best, most = encoding, score
    return best


def _is_plausible(reading: _Reading, profiles: Sequence[_Profile]) -> bool:
    """Whether nearly all characters are plain or belong to a language, as in text, and not in other bytes."""
    strange = sum(
        count
        for character, count in reading.high.items()
        if not any(character in profile.chances for profile in profiles)
    )
    controls = any(character in _CONTROLS for character in reading.text)
    return strange <= (1 - _KNOWN) * len(reading.text) and bool(reading.text) and not controls


def _no_language(sample: bytes) -> float:
    counts = Counter(sample)
    high = sum(count for byte, count in counts.items() if byte > 0x7F)
    controls = sum(counts[ord(character)] for character in _CONTROLS)
    return high * _NO_LANGUAGE + controls * _CONTROL + (len(sample) - high - controls) * _ASCII


def _decoded(sample: bytes, encoding: str) -> str | None:
    """The text, without a last character that is cut off; None where the bytes are not of this encoding."""
    if encoding.startswith("utf-16") and len(sample) % 2:
        return None
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(sample)
    except UnicodeDecodeError:
        return None


def _sample(chunks: Iterable[bytes]) -> bytes:
    """The beginning of what is of interest: lines with bytes above 127, or all of what begins with zero bytes."""
    taken, pending = bytearray(), b""
    for chunk in chunks:
        pending += chunk
        if not taken and b"\0" in pending[:_SAMPLE]:
            return pending[:_SAMPLE]
        end = len(pending) if len(pending) > 4 * _SAMPLE else pending.rfind(b"\n") + 1
        taken += b"".join(line for line in pending[:end].splitlines(keepends=True) if not line.isascii())
        pending = pending[end:]
        if len(taken) >= _SAMPLE:
            return _cut(bytes(taken))
    return _cut(bytes(taken + pending))


def _cut(sample: bytes) -> bytes:
    """At most the sample size, ending after a line or a space where there is one, so that no character is split."""
    if len(sample) <= _SAMPLE:
        return sample
    end = max(sample.rfind(b"\n", 0, _SAMPLE), sample.rfind(b" ", 0, _SAMPLE))
    return sample[: end + 1] if end > _SAMPLE // 2 else sample[:_SAMPLE]


def _first_bad_byte(chunks: Iterable[bytes]) -> tuple[int | None, bool]:
    """The place of the first byte that is not UTF-8, and whether a zero byte stands before or in its chunk."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    offset = 0
    for chunk in chunks:
        zeros = b"\0" in chunk
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return offset - pending + error.start, zeros
        if zeros:
            return None, True
        offset += len(chunk)
    return None, False


def _decodes(chunks: Iterable[bytes], encoding: str) -> bool:
    try:
        for _ in decode_stream(chunks, encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True


def decode_stream(
    chunks: Iterable[bytes], encoding: str, on_cut: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """The text of each chunk. A character cut off by the end of the chunks is left out, and `on_cut` told."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for chunk in chunks:
        yield decoder.decode(chunk)
    if decoder.getstate()[0]:
        on_cut()


def as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Rows as UTF-8, whatever they were written in; the first chunk that is not ASCII decides.

    Bytes that are wrong in that encoding stay as they are, so that the rows they stand in are found broken.
    """
    for chunk in chunks:
        if chunk.isascii() and b"\0" not in chunk:
            yield chunk
            continue
        encoding = _encoding_of_rows(chunk)
        if encoding == "utf-8":
            yield chunk
            yield from chunks
            return
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        for piece in chain([chunk], chunks):
            yield decoder.decode(piece).encode("utf-8", "surrogateescape")


def _encoding_of_rows(chunk: bytes) -> str:
    guess = None
    if b"\0" in chunk:
        guess = guess_encoding(_sample([chunk]))
    else:
        lines = [line for line in chunk.splitlines() if not line.isascii()]
        right = sum(_decoded(line, "utf-8") is not None for line in lines)
        if 2 * right < len(lines):
            # One broken row among good ones must not decide.
            guesses = Counter(guess_encoding(_cut(line)) for line in lines[:_ROWS])
            guess = guess_encoding(_sample([chunk])) or guesses.most_common(1)[0][0]
    return guess if guess in READ and guess is not None else "utf-8"
