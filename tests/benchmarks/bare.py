"""The least that finds the best passage for a question: embed it, search the vectors one by one, and nothing else.

What a search and a start of loam are held against in the same run: the same graph, tokenizer, vectors and thread. Over
a folder that `save` wrote, `python -m tests.benchmarks.bare FOLDER QUESTION` is that in a process of its own.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAPH, VECTORS, PASSAGES = "graph.txt", "vectors.faiss", "passages.json"
BEST = 10


class Bare:
    """A graph and an index, both of one thread."""

    def __init__(self, graph: Path, index: Any) -> None:
        import openvino
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(graph / "tokenizer.json"))
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "CACHE_DIR": str(graph / "compiled")}
        compiled = openvino.Core().compile_model(graph / "graph.xml", "CPU", settings)
        self._request, self._index = compiled.create_infer_request(), index

    def search(self, question: str) -> list[int]:
        """Give the numbers of the BEST passages, best first."""
        encoding = self._tokenizer.encode(question)
        fields = {
            "input_ids": np.array([encoding.ids]),
            "attention_mask": np.array([encoding.attention_mask]),
            "token_type_ids": np.array([encoding.type_ids]),
        }
        vectors = self._request.infer(fields, share_inputs=True, share_outputs=True)[0]
        found: list[int] = self._index.search(vectors, BEST)[1][0].tolist()
        return found


def flat_index(vectors: NDArray[np.float32]) -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def graph_folder(cache: Path) -> Path:
    """The graph that loam computes with, exported before."""
    from rag.encoders.graph import default_precision

    return max(cache.glob(f"*-{default_precision()}/graph.xml"), key=lambda path: path.stat().st_mtime).parent


def save(folder: Path, graph: Path, passages: Sequence[str], vectors: NDArray[np.float32]) -> None:
    import faiss

    faiss.write_index(flat_index(vectors), str(folder / VECTORS))
    (folder / PASSAGES).write_text(json.dumps(list(passages)))
    (folder / GRAPH).write_text(str(graph))


def main() -> None:
    import faiss

    folder, question = Path(sys.argv[1]), sys.argv[2]
    faiss.omp_set_num_threads(1)
    bare = Bare(Path((folder / GRAPH).read_text()), faiss.read_index(str(folder / VECTORS)))
    passages = json.loads((folder / PASSAGES).read_text())
    print(passages[bare.search(question)[0]])


if __name__ == "__main__":
    main()
