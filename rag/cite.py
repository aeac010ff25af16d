"""Marks in an answer, each tied to an exact quote of the source it names, and the gate they leave by.

`quote` builds an answer out of quotes; `CitationFilter` reads what a model writes, keeps the marks
that their source bears out and takes the others out; `verified` is the last check before anything
is sent. Support is judged by words: a paraphrase in other words, or in another language than the
source's, loses its mark.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag.sentences import Span, sentences
from rag.types import ChunkId, Citation, Hit, Passage
from rag.words import Word, words

MIN_SUPPORT = 0.5
"""The share of a claim's content words that the quoted sentences must have (README, Citations)."""

MIN_EXACT_CHARS = 12
"""A claim shorter than this is found verbatim too easily by chance."""

_MARK = re.compile(
    r"\[\s*\^?\d{1,3}(?:\s*[,;]\s*\^?\d{1,3})*\s*\]|【\s*\d{1,3}(?:\s*[,;]\s*\d{1,3})*\s*(?:†[^】\n]*)?】"
)
_OPEN_MARK = re.compile(r"\[[\s\d,;^]{0,40}|【[\s\d,;]{0,40}(?:†[^】\n]{0,80})?")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Words of a source: `hit.passage.text[span.start:span.end]`."""

    hit: Hit
    span: Span

    @property
    def text(self) -> str:
        return self.hit.passage.text[self.span.start : self.span.end]


def quote(quotes: Iterable[Quote]) -> tuple[str, tuple[Citation, ...]]:
    """Give an answer that is the quotes, letter for letter, each with its mark.

    Passages are numbered from 1 in the order in which they are quoted.
    """
    text = ""
    citations: list[Citation] = []
    numbers: dict[ChunkId, int] = {}
    for part in quotes:
        number = numbers.setdefault(part.hit.passage.chunk_id, len(numbers) + 1)
        text += _gap(text) + part.text
        text += _gap(part.text)
        citations.append(_citation(number, part, start_index=len(text)))
        text += _mark(number)
    return text, tuple(citations)


def _gap(text: str) -> str:
    """Give what may stand between a quote and its mark: on their own line a mark would undo a fence or a table row."""
    return "\n\n" if text.endswith(("```", "~~~", "|")) else " " if text else ""


class CitationFilter:
    """Reads a model's text as it comes and gives it on with checked marks only.

    What is given and cited does not depend on how the text was split. Nothing is held back but a
    possible mark and the blanks before it. `[1, 2]`, `【1】` and `[^1]` become `[1][2]`, `[1]`, `[1]`;
    links, check boxes and code between backticks are left alone. In JSON only strings have marks, each for what
    its own string says: `[1]` is a list elsewhere.
    """

    def __init__(self, sources: Sequence[Hit], *, is_json: bool = False) -> None:
        self._json = _Json() if is_json else None
        self.text = ""
        self.citations: list[Citation] = []
        self._sources = sources
        self._held_blanks = ""
        self._held_mark = ""
        self._code = _Code()
        self._since_mark = ""
        self._claim = ""

    def feed(self, delta: str) -> str:
        """Take the next piece of the model's text; give what may be sent."""
        start = len(self.text)
        for character in delta:
            self._take(character)
        return self.text[start:]

    def finish(self) -> str:
        """Take the end of the text; give the rest of what may be sent."""
        start = len(self.text)
        self._decide(next_character="")
        self._give("")
        return self.text[start:]

    def _take(self, character: str) -> None:
        self._code.read(character)
        if self._json and self._json.begins_string(character):
            # Neither a claim nor a backtick reaches from one string into another.
            self._since_mark, self._claim, self._code = "", "", _Code()
        if self._held_mark:
            longer = self._held_mark + character
            if _OPEN_MARK.fullmatch(longer) or _MARK.fullmatch(longer):
                self._held_mark = longer
                return
            self._decide(next_character=character)
        if character in "[【" and not self._code.inside and (self._json is None or self._json.inside):
            self._held_mark = character
        elif character in " \t":
            self._held_blanks += character
        else:
            self._give(character)

    def _decide(self, next_character: str) -> None:
        mark, self._held_mark = self._held_mark, ""
        if not _MARK.fullmatch(mark) or next_character == "(":
            self._give(mark)
            return
        self._claim = _last_claim(self._since_mark) or self._claim
        self._since_mark = ""
        for number in dict.fromkeys(int(digits) for digits in _NUMBER.findall(mark.partition("†")[0])):
            self._cite(number)
        self._held_blanks = ""

    def _cite(self, number: int) -> None:
        hit = self._sources[number - 1] if 0 < number <= len(self._sources) else None
        span = support(self._claim, hit.passage.text) if hit else None
        if hit and span:
            self.text += self._held_blanks
            self._held_blanks = ""
            self.citations.append(_citation(number, Quote(hit=hit, span=span), start_index=len(self.text)))
            self.text += _mark(number)

    def _give(self, characters: str) -> None:
        self.text += self._held_blanks + characters
        self._since_mark += self._held_blanks + characters
        self._held_blanks = ""


class _Json:
    """Whether the text read so far ends in a string of JSON."""

    def __init__(self) -> None:
        self.inside = self._escaped = False

    def begins_string(self, character: str) -> bool:
        """Read on; tell whether a string begins with this character."""
        if self._escaped:
            self._escaped = False
        elif character == '"':
            self.inside = not self.inside
            return self.inside
        else:
            self._escaped = self.inside and character == "\\"
        return False


class _Code:
    """Whether the text read so far ends in code.

    A fence is three backticks or more at the start of a line and lasts until as many; fewer last
    until as many or the end of the line, so that one stray backtick does not silence the rest.
    """

    def __init__(self) -> None:
        self._fence = self._inline = self._run = 0
        self._at_line_start = True

    @property
    def inside(self) -> bool:
        return bool(self._fence or self._inline)

    def read(self, character: str) -> None:
        if character == "`":
            self._run += 1
            return
        if self._run:
            self._turn(self._run)
            self._run = 0
            self._at_line_start = False
        if character == "\n":
            self._inline = 0
            self._at_line_start = True
        elif not character.isspace():
            self._at_line_start = False

    def _turn(self, backticks: int) -> None:
        if self._fence:
            self._fence = 0 if self._at_line_start and backticks >= self._fence else self._fence
        elif self._inline:
            self._inline = 0 if backticks == self._inline else self._inline
        elif backticks >= 3 and self._at_line_start:
            self._fence = backticks
        else:
            self._inline = backticks


def support(claim: str, text: str) -> Span | None:
    """Give the part of `text` that bears the claim out: its very words, else the best sentence or two.

    None unless two neighbouring sentences have every number of the claim and MIN_SUPPORT of its
    content words.
    """
    if stated := verbatim(claim, text):
        return stated
    ranked = by_words(claim, text)
    return ranked[0].span if ranked and ranked[0].share >= MIN_SUPPORT else None


def verbatim(claim: str, text: str) -> Span | None:
    """Give where the claim's own words stand, its punctuation aside."""
    stated = claim.strip(' \t\n.!?。！？"“”*_')
    found = text.find(stated) if len(stated) >= MIN_EXACT_CHARS else -1
    return Span(found, found + len(stated)) if found >= 0 else None


@dataclass(frozen=True, slots=True)
class Alike:
    """A sentence or two neighbours, and the share of a claim's content words that they have; 0 if a number lacks."""

    span: Span
    share: float


def by_words(claim: str, text: str) -> list[Alike]:
    """Give a text's sentences and pairs of neighbours, those first that have most of the claim's words.

    Of equals a sentence comes before a pair. Empty where the claim says nothing that could be looked for.
    """
    wanted = {word.stem: word for word in words(claim) if not word.is_function_word}
    single = sentences(text)
    spans = single + [Span(first.start, second.end) for first, second in pairwise(single)]
    if not wanted:
        return []
    found = [Alike(span, _share(wanted, text[span.start : span.end])) for span in spans]
    return sorted(found, key=lambda one: -one.share)


def _share(wanted: dict[str, Word], text: str) -> float:
    found = {word.stem for word in words(text)}
    if any(word.is_number and stem not in found for stem, word in wanted.items()):
        return 0.0
    return len(wanted.keys() & found) / len(wanted)


def verified(citations: Iterable[Citation], answer: str, sources: Sequence[Hit]) -> tuple[Citation, ...]:
    """Give the citations that hold to the letter: the quote in its passage, the mark in the answer."""
    passages = {chunk_id: hit.passage for hit in sources for _, chunk_id in hit.passage.chunks}
    return tuple(citation for citation in citations if _holds(citation, answer, passages.get(citation.chunk_id)))


def _holds(citation: Citation, answer: str, passage: Passage | None) -> bool:
    if passage is None or passage.file_id != citation.file_id:
        return False
    inside = passage.start <= citation.source_start < citation.source_end <= passage.end
    start, end = citation.source_start - passage.start, citation.source_end - passage.start
    marked = answer[citation.start_index : citation.end_index] == _mark(citation.index)
    return inside and marked and passage.text[start:end] == citation.quote


def is_refusal(text: str, refusal: str) -> bool:
    """Whether a text is the refusal, give or take white space, quotation marks and final punctuation."""
    return _bare(text) == _bare(refusal)


def _bare(text: str) -> str:
    return " ".join(text.strip(" \t\n\r\"'“”‘’«»*_`.!。…").casefold().split())


def _last_claim(text: str) -> str:
    """Give the last sentence that says something in the last line that does."""
    lines = [line for line in text.splitlines() if _WORD.search(line)]
    if not lines:
        return ""
    spans = sentences(lines[-1])
    return lines[-1][spans[-1].start : spans[-1].end] if spans else lines[-1]


def _mark(number: int) -> str:
    return f"[{number}]"


def _citation(number: int, quoted: Quote, *, start_index: int) -> Citation:
    passage = quoted.hit.passage
    return Citation(
        index=number,
        start_index=start_index,
        end_index=start_index + len(_mark(number)),
        quote=quoted.text,
        source_start=passage.start + quoted.span.start,
        source_end=passage.start + quoted.span.end,
        chunk_id=passage.chunk_at(passage.start + quoted.span.start),
        file_id=passage.file_id,
        filename=passage.filename,
        score=quoted.hit.score,
        page=passage.page,
    )
