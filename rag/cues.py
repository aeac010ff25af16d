"""What the wording of a question asks for and what of a sentence speaks against it, in English.

Questions in other languages meet no cue here: what they ask for is unknown and nothing contradicts.
"""

import re

from rag.words import Reading, Word, listed, stem

_KINDS = {
    "number": re.compile(
        r"\bhow (?:many|much|long|old|far|tall|large|big|high|often|fast|deep|wide)\b|\bpercentage\b"
        r"|\b(?:what|which) (?:percent|number|proportion|fraction|amount|population|age|distance)\b"
    ),
    "date": re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time|era)\b"),
    "name": re.compile(
        r"\b(?:who|whom|whose|where)\b"
        r"|\b(?:what|which) (?:city|country|state|place|town|region|river|county|area|location)\b"
    ),
}
_DATE = re.compile(r"\d{3,4}|centur|decade", re.IGNORECASE)
_DATE_WORDS = listed(
    "january february march april may june july august september october november december"
    " monday tuesday wednesday thursday friday saturday sunday"
)
_NUMBER_WORDS = listed(
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand million"
    " billion half third quarter twice first second once double percent"
)
_DEFINITION = re.compile(
    r"\s*(?:what(?:['’]s| is| are| was| were)|define|describe|explain)\s+(?:(?:an?|the)\s+)?"
    r"(?P<term>[^?]{2,60}?)[\s?]*$",
    re.IGNORECASE,
)
_DEFINES = (
    r"(?:(?:an?|the|in \w+) )?{term}s? "
    r"(?:(?:is|are|was|were) (?:an?|the|one|any|when|how)|means?|refers? to|stands? for)\b"
)
_NEGATIONS = listed("not no never none neither nor without cannot except unable fail failed")
_PAIRS = (
    "more/less more/fewer most/least most/fewest increase/decrease increase/decline increase/reduce rise/fall"
    " raise/lower grow/shrink gain/lose gain/loss before/after first/last early/late earlier/later earliest/latest"
    " old/new older/newer oldest/newest young/old large/small larger/smaller largest/smallest big/small big/little"
    " high/low higher/lower highest/lowest long/short longer/shorter longest/shortest fast/slow faster/slower"
    " strong/weak stronger/weaker hot/cold north/south northern/southern east/west eastern/western inside/outside"
    " internal/external include/exclude allow/forbid allow/prohibit accept/reject accept/refuse support/oppose"
    " agree/disagree legal/illegal public/private active/inactive known/unknown common/rare rich/poor win/lose"
    " won/lost victory/defeat start/end begin/end open/close enter/leave positive/negative good/bad better/worse"
    " best/worst right/wrong left/right true/false always/never all/none many/few majority/minority maximum/minimum"
    " present/absent male/female men/women import/export buy/sell ancient/modern easy/difficult cause/prevent"
    " create/destroy success/failure succeed/fail appear/disappear dependent/independent direct/indirect"
    " formal/informal similar/different same/different upper/lower hard/soft heavy/light dry/wet far/near"
    " enable/disable"
)


def new_words(question: Reading, sentence: Reading) -> list[Word]:
    return [word for word in sentence.words if word.stem not in question.stems and not word.is_function_word]


def kind_asked(text: str) -> str | None:
    lowered = text.lower()
    return next((kind for kind, cue in _KINDS.items() if cue.search(lowered)), None)


def kind_found(kind: str | None, question: Reading, sentence: Reading) -> float:
    """Give 1 where the sentence has something new of the kind that is asked for, -1 where not, 0 where none is."""
    if kind is None:
        return 0.0
    return 1.0 if any(_is_of_kind(kind, word) for word in new_words(question, sentence)) else -1.0


def _is_of_kind(kind: str, word: Word) -> bool:
    lowered = word.text.lower()
    if kind == "number":
        return word.is_number or lowered in _NUMBER_WORDS
    if kind == "date":
        return lowered in _DATE_WORDS or _DATE.search(word.text) is not None
    return word.text[0].isupper()


def term_asked(question: str) -> str | None:
    """Give what a question asks the meaning of ("What is a slice?"), in lower case; None where it does not."""
    asked = _DEFINITION.match(question)
    return None if asked is None else _plain(asked["term"]) or None


def defines(term: str, text: str) -> bool:
    """Whether a sentence begins by saying what the term is."""
    return re.match(_DEFINES.format(term=re.escape(term)), _plain(text)) is not None


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def contradicts(question: Reading, sentence: Reading) -> bool:
    """Whether only the question is negated, or the sentence has the opposite of one of the question's words."""
    if _negated(question) and not _negated(sentence):
        return True
    asserted = sentence.stems - question.stems
    return any(_opposites[s] & asserted for s in question.stems - sentence.stems if s in _opposites)


def _negated(reading: Reading) -> bool:
    return any(word.text.lower() in _NEGATIONS or word.text.lower().endswith(("n't", "n’t")) for word in reading.words)


def _paired(pairs: str) -> dict[str, frozenset[str]]:
    both = [(stem(one), stem(other)) for one, other in (pair.split("/") for pair in pairs.split())]
    both += [(other, one) for one, other in both]
    return {one: frozenset(b for a, b in both if a == one) for one, _ in both}


_opposites = _paired(_PAIRS)
