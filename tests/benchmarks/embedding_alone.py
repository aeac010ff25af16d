"""The embedder alone over every window of a folder, those that `windows` wrote before.

Prints the seconds, and those of the processor, that embedding took once the model was loaded. Run by `bench_ingest`.
"""

import json
import sys
import time
from pathlib import Path

import platformdirs

from rag.encoders.embed import open_embedder


def main(windows: Path) -> None:
    embedder = open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam"))
    texts = json.loads(windows.read_text(encoding="utf-8"))
    embedder.embed(["warm"])
    begun, computed = time.perf_counter(), time.process_time()
    embedder.embed(texts)
    print(time.perf_counter() - begun, time.process_time() - computed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
