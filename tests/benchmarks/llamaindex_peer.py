"""The same folder in LlamaIndex with the same weights; answers each line it reads with the seconds of its search.

Run by `bench_search` in an environment of its own: LlamaIndex is no dependency of loam.
"""

import sys
import time
from pathlib import Path


def main(folder: Path, weights: str, hits: int) -> None:
    from llama_index.core import Settings, SimpleDirectoryReader, VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    Settings.embed_model = HuggingFaceEmbedding(model_name=weights, device="cpu")
    documents = SimpleDirectoryReader(str(folder), recursive=True, required_exts=[".md"]).load_data()
    retriever = VectorStoreIndex.from_documents(documents).as_retriever(similarity_top_k=hits)
    for line in sys.stdin:
        begun = time.perf_counter()
        retriever.retrieve(line.strip())
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
