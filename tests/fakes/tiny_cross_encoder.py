"""Cross-encoders of random weights and two layers, made in a blink."""

from collections.abc import Sequence
from pathlib import Path

from tests.fakes.tiny_encoder import WORDS

MAX_LENGTH = 32


def save_tiny_cross_encoder(folder: Path, *, labels: Sequence[str] = ("LABEL_0",), seed: int = 0) -> Path:
    """Save one at `folder`, as transformers saves a model that classifies pairs: at most 32 tokens, three special."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=MAX_LENGTH).save_pretrained(folder)
    return folder
