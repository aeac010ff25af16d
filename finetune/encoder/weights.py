"""The one door to an embedder's weights while it is tuned: sentence-transformers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.encoder.ranking import Encode, Vectors
from finetune.errors import ModelUnavailable, sentence_of
from finetune.source import Files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EMBEDDER = Files(
    kind="embedder",
    wanted=("*.json", "*.safetensors", "*.txt", "*.model", "README.md", "LICENSE*"),
    unused=("onnx/*", "openvino/*"),
)
"""Its modules have folders of their own."""

TEXTS_AT_ONCE = 256
BATCH = 16


def load_encoder(folder: Path, device: str) -> "SentenceTransformer":
    """Load an embedder in float32, the precision that it is tuned in. Raises ModelUnavailable."""
    import torch
    from sentence_transformers import SentenceTransformer

    if not (folder / "modules.json").is_file():
        raise ModelUnavailable(
            f"{str(folder)!r} holds no embedding model: it has no modules.json.",
            hint="Give a model as sentence-transformers saves them.",
        )
    try:
        return SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": torch.float32})
    except (OSError, ValueError, KeyError, ImportError) as exc:
        raise ModelUnavailable(
            f"The embedder in {str(folder)!r} cannot be loaded: {sentence_of(exc)}",
            hint="Check that it is a sentence-transformers model and whole.",
        ) from exc


def save_encoder(model: "SentenceTransformer", folder: Path) -> None:
    """Write an embedder as sentence-transformers reads it; a card is written when it is exported."""
    model.save_pretrained(str(folder), create_model_card=False)


def encoding(model: "SentenceTransformer", checkpoint: Callable[[], None]) -> Encode:
    """Give what embeds texts with the model as it is now; `checkpoint` is called now and then, and may raise."""

    def encode(texts: Sequence[str]) -> Vectors:
        # By length, so that little is padding.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        vectors = np.empty((len(texts), model.get_embedding_dimension() or 0), dtype=np.float32)
        for start in range(0, len(order), TEXTS_AT_ONCE):
            checkpoint()
            rows = order[start : start + TEXTS_AT_ONCE]
            vectors[rows] = model.encode(
                [texts[row] for row in rows], batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        return vectors

    return encode


def remembering(encode: Encode) -> Encode:
    """Embed each text once: mining and measuring ask for the same ones."""
    known: dict[str, Vectors] = {}

    def recall(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return recall
