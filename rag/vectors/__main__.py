"""`python -m rag.vectors FOLDER DIMENSIONS`: do what is due in a vector index, out of the way of other work.

It ends when its standard input does: that of the process which started it goes with that process.
"""

import os
import sys
import threading
from pathlib import Path

import faiss

from rag.vectors.build import build

NICENESS = 10


def main() -> None:
    os.nice(NICENESS)
    faiss.omp_set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    threading.Thread(target=_end_with_input, daemon=True).start()
    build(Path(sys.argv[1]), int(sys.argv[2]))


def _end_with_input() -> None:
    # Not sys.stdin: its lock, held by a thread that waits, would abort the interpreter's own end.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
