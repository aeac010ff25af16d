"""Vectors that are made once for all tests of quality, whatever process they run in, and kept for later runs."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

import rag.encoders
from rag.encoders.embed import open_embedder
from rag.ports import Embedder, Vectors
from rag.sentences import Span

CACHE = Path(os.environ.get("LOAM_TEST_CACHE") or platformdirs.user_cache_path("loam") / "tests")
AT_ONCE = 500


def open_kept() -> "Kept":
    """The default embedder; its graph is where a server of this user finds it as well."""
    return Kept(open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam")), CACHE)


class Kept:
    """An embedder that embeds no text twice. Its vectors are the embedder's, rounded to 16 bits."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        """`folder` has a file for each embedder, and for each state of the code that embeds."""
        self._embedder = embedder
        self._known: dict[bytes, Vectors] = {}
        self.name, self.id = embedder.name, embedder.id
        self.dimensions, self.max_tokens = embedder.dimensions, embedder.max_tokens
        self.tokenizer = embedder.tokenizer
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"vectors-{_maker(embedder)}.sqlite"
        self._lock = FileLock(self._path.with_suffix(".lock"))
        with self._lock, closing(sqlite3.connect(self._path)) as file, file:
            file.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, vectors BLOB) WITHOUT ROWID")

    def embed(self, texts: Sequence[str]) -> Vectors:
        keys = [_key(text) for text in texts]
        self._learn(dict(zip(keys, texts, strict=True)), lambda new: self._embedder.embed(new)[:, None])
        return np.concatenate([self._known[key] for key in keys]) if keys else self._embedder.embed([])

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        keys = [_key(text, inside) for text, inside in zip(texts, spans, strict=True)]
        self._learn(
            dict(zip(keys, zip(texts, spans, strict=True), strict=True)),
            lambda new: self._embedder.embed_spans([text for text, _ in new], [inside for _, inside in new]),
        )
        return [self._known[key] for key in keys]

    def _learn(self, wanted: Mapping[bytes, Any], embed: Callable[[list[Any]], Iterable[Vectors]]) -> None:
        """Read from the file what is not known, or embed it; who waits meanwhile would have embedded the same."""
        if not (new := [key for key in wanted if key not in self._known]):
            return
        with self._lock, closing(sqlite3.connect(self._path)) as file, file:
            self._known |= self._found(file, new)
            missing = [key for key in new if key not in self._known]
            if missing:
                made = [vectors.astype(np.float16) for vectors in embed([wanted[key] for key in missing])]
                rows = [(key, vectors.tobytes()) for key, vectors in zip(missing, made, strict=True)]
                file.executemany("INSERT INTO kept VALUES (?, ?)", rows)
                self._known |= self._found(file, missing)

    def _found(self, file: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        left, rows = iter(keys), dict[bytes, bytes]()
        while some := list(islice(left, AT_ONCE)):
            asked = f"SELECT key, vectors FROM kept WHERE key IN ({', '.join('?' * len(some))})"
            rows |= file.execute(asked, some)
        shape = (-1, self.dimensions)
        return {key: np.frombuffer(kept, np.float16).reshape(shape).astype(np.float32) for key, kept in rows.items()}


def _key(text: str, spans: Sequence[Span] | None = None) -> bytes:
    places = None if spans is None else [(span.start, span.end) for span in spans]
    return hashlib.sha256(repr((text, places)).encode()).digest()[:16]


def _maker(embedder: Embedder) -> str:
    """What a text's vectors depend on besides the text."""
    code = [path.read_bytes() for path in sorted(Path(rag.encoders.__path__[0]).glob("*.py"))]
    made_by = (embedder.id, getattr(embedder, "precision", ""), version("openvino"), version("tokenizers"), code)
    return hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]
