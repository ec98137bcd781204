"""The commonest small words of some languages, for lines too short for statistics of letters."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

WORDS = {
    "en": "the of and to in is that it for was on are with as be this by at from or an not have you i he she they we "
    "his her but which if would there been has had were will can do what who when your my me him them so no all "
    "i'm it's don't can't isn't that's a come make let than more some into about over after before here there how",
    "fr": "le la les des du de et est une un dans pour que qui pas sur avec par au aux ce cette sont être ne nous "
    "vous il elle a ou où je tu mais son sa ses plus été n'est c'est j'ai d'un d'une qu'il à si en très sans comme",
    "de": "der die das und ist nicht ein eine einer den dem des mit von für auf zu zum zur im in sich auch wird "
    "werden sind oder als bei nach wenn wurde kann ich er sie wir ihr es dass aus an nur noch über keine kein hat war",
    "es": "el la los las de que y en un una por con para del se no es al lo como más este esta su sus está pero si "
    "o a ser son ha muy sin sobre también me mi yo le puede cuando",
    "it": "il lo la gli le di che e è un una per con non del della dei delle nel nella sono da in al alla se si come "
    "questo questa a più o ha anche ma i mi viene essere dal sul",
    "pt": "o a os as de que e em um uma para com não do da no na dos das por se é ao mais como está ou seu sua são "
    "foi eu ele ela mas pelo pela também você ser isto este esta nos nas",
    "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als bij wordt worden kan naar of deze "
    "dit die ik je hij zij we maar uit dan nog geen door tot over heeft u",
    "sv": "och att det som en ett på är av för med den till inte om har kan från eller vid jag han hon vi var de "
    "denna detta när så men inga sig måste alla",
    "da": "og at det som en et på er af for med den til ikke om har kan fra eller ved jeg han hun vi var de denne "
    "dette når så men sig skal alle blev",
    "no": "og at det som en et på er av for med den til ikke om har kan fra eller ved jeg han hun vi var de denne "
    "dette når så men seg skal alle ble",
    "pl": "w i na z do nie się to jest że o jak po dla od przez przy lub być są tym tego ten ta jego czy ale jeśli "
    "może który która które oraz za",
    "cs": "a v na se je že s z do pro nebo být není po ze jsou jako tak ale které který která od při to by jen i o k",
    "ro": "și de la în cu nu este pe un o din pentru care se sau să au fost sunt mai ca al ale dacă acest această "
    "prin fi va",
    "fi": "ja on ei se että tai kun oli mutta sen ovat voi ole joka jos myös sekä tämä hän minä ne niin kuin",
    "hu": "a az és nem hogy egy is van vagy meg de ez ha csak azt el ki mint volt kell lehet",
    "tr": "ve bir bu için ile de da olan değil olarak ne mi ben o çok daha gibi kadar var her eğer veya",
    "vi": "và của là các có được cho không trong với một này người những đã để khi từ đến nếu hoặc bạn tập tin",
    "ru": "и в не на что с по для как это из или от к он она мы вы я если при его за то так все был были быть "
    "может о у только а но",
    "uk": "і в не на що з по для як це або від до він вона ми ви я якщо при його за та є у з'являється щоб але буде",
}

_LETTERS = {
    "fr": "œçêîôûëùèàéâï",
    "de": "ßäöü",
    "es": "ñ¿¡óíúáé",
    "it": "ìòùàèé",
    "pt": "ãõçâêáéíóúàô",
    "nl": "ëïé",
    "sv": "åäö",
    "da": "æøå",
    "no": "æøå",
    "pl": "łąężśćźńó",
    "cs": "ěřůčžšýáéíú",
    "ro": "șțăşţâî",
    "fi": "äö",
    "hu": "őűáéöóíúü",
    "tr": "ğışçöü",
    "vi": "ơưđạảấầậắằặẹẻếềểệịỉọỏốồổộớờởợụủứừửữựỳỹàáãâăèéêìíòóôõùúý",
    "ru": "ыэёъ",
    "uk": "іїєґ",
}
_EDGES = '.,;:!?()[]"«»“”„…'


@cache
def _weights() -> dict[str, list[tuple[str, float]]]:
    """Each word and letter with its languages; one that many languages have says little."""
    found: dict[str, list[str]] = defaultdict(list)
    for language, words in WORDS.items():
        for word in dict.fromkeys(words.split()):
            found[word].append(language)
    for language, letters in _LETTERS.items():
        for letter in letters:
            found["." + letter].append(language)
    return {key: [(language, 1 / len(names)) for language in names] for key, names in found.items()}


@cache
def _own() -> dict[str, frozenset[str]]:
    """The words that only one language has, for each."""
    own: dict[str, set[str]] = {language: set() for language in WORDS}
    for word, languages in _weights().items():
        if len(languages) == 1:
            own[languages[0][0]].add(word)
    return {language: frozenset(words) for language, words in own.items()}


def confirms(text: str, language: str) -> bool:
    """Whether a line has a small word that only this language has; a quick look."""
    return not _own().get(language, frozenset()).isdisjoint(text.split())


def score(text: str) -> dict[str, float]:
    """How much each language speaks from the small words and the letters of a line."""
    weights = _weights()
    total: dict[str, float] = defaultdict(float)
    lowered = text.lower().replace("’", "'")
    for token in lowered.split():
        for language, weight in weights.get(token.strip(_EDGES), ()):
            total[language] += weight
    if not lowered.isascii():
        for letter in set(lowered):
            for language, weight in weights.get("." + letter, ()):
                total[language] += weight
    return total
