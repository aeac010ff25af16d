"""The same folder into LangChain and FAISS with the same weights, as its tutorials do it; prints seconds,
and those of the processor.

Run by `bench_ingest` in an environment of its own: LangChain is no dependency of loam.
"""

import sys
import time
from pathlib import Path


def main(folder: Path, weights: str) -> None:
    from langchain_community.document_loaders import DirectoryLoader, TextLoader
    from langchain_community.vectorstores import FAISS
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    embeddings = HuggingFaceEmbeddings(model_name=weights)
    embeddings.embed_query("warm")
    begun, computed = time.perf_counter(), time.process_time()
    options = {"encoding": "utf-8"}
    documents = DirectoryLoader(str(folder), glob="**/*.md", loader_cls=TextLoader, loader_kwargs=options).load()
    splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
        embeddings._client.tokenizer, chunk_size=254, chunk_overlap=0
    )
    FAISS.from_documents(splitter.split_documents(documents), embeddings)
    print(time.perf_counter() - begun, time.process_time() - computed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
