"""A training file whose passages are their queries in a cipher that an encoder can learn."""

import itertools
import json
import random
from pathlib import Path

PLAIN, SECRET = "abcdefghijklm", "nopqrstuvwxyz"


def save_ciphers(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write so many rows: a query of three letters of the alphabet's first half, its passage of the second half."""
    triples = random.Random(seed).sample(list(itertools.combinations(range(len(PLAIN)), 3)), count)
    rows = [{"query": _said(PLAIN, triple), "passage": _said(SECRET, triple)} for triple in triples]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _said(letters: str, triple: tuple[int, ...]) -> str:
    return " ".join(letters[place] for place in triple)
