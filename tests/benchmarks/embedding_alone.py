"""The seconds, and those of the processor, that the embedder alone takes for every window of a folder.

Run by `bench_ingest`.
"""

import sys
import time
from pathlib import Path

import platformdirs

from rag.chunk import chunk
from rag.encoders.embed import open_embedder
from rag.parse import parse


def main(folder: Path) -> None:
    embedder = open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam"))
    texts: dict[str, None] = {}
    for path in sorted(folder.rglob("*.md")):
        document = parse(path.read_bytes(), path.name)
        for piece in chunk(document, embedder.tokenizer, max_window_tokens=embedder.max_tokens):
            texts.update(dict.fromkeys(document.text[window.start : window.end] for window in piece.windows))
    embedder.embed(["warm"])
    begun, computed = time.perf_counter(), time.process_time()
    embedder.embed(list(texts))
    print(time.perf_counter() - begun, time.process_time() - computed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
