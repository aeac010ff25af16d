"""How far an embedder can read a text, told by its tokenizer: in words, or letter by letter.

    reading = (letters a piece - LETTERS) / (WORDS - LETTERS), from LEAST to 1

A tokenizer cuts what its model was trained on into words and large parts of words, other scripts into single letters
or into nothing it knows. Over all-MiniLM-L6-v2's pieces, English has 3 to 6 letters a piece, German and Spanish 2.5
to 3, Arabic, Greek and Cyrillic 1, Chinese less. What follows for a search is in rag/README.md, Fusion.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LETTERS, WORDS = 1.5, 3.5
# Not 0: among passages that share no word with a query, a poor reading is still the better order.
LEAST = 0.02
UNKNOWN = ("[UNK]", "<unk>")
# What one character says, in letters: whole words are written with one or two ideographs, syllables with one Hangul.
IDEOGRAPH, SYLLABLE = 4.0, 2.5


def reading(text: str, tokenizer: "Tokenizer") -> float:
    """Give 1 where the text is read in words, LEAST where letter by letter; 1 where there are no letters."""
    encoded = tokenizer.encode(text, add_special_tokens=False)
    unknown = {tokenizer.token_to_id(token) for token in UNKNOWN}
    # One word more than there is: a name of two letters tells hardly anything.
    pieces, said, counted = 1.0, WORDS, 0
    for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
        letters = _letters(text[start:end])
        if token in unknown:
            pieces += letters
            continue
        pieces += letters > 0
        # Several pieces may be parts of one character, which says what it says once.
        said += letters if end > counted else 0
        counted = end
    return min(1.0, max(LEAST, (said / pieces - LETTERS) / (WORDS - LETTERS)))


def _letters(piece: str) -> float:
    """How much a piece of a text says, in letters."""
    if piece.isascii() and piece.isalpha():
        return len(piece)
    return sum(_said(char) for char in piece if char.isalpha())


def _said(char: str) -> float:
    if "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff":
        return IDEOGRAPH
    return SYLLABLE if "\uac00" <= char <= "\ud7a3" else 1.0
