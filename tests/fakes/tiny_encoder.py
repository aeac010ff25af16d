"""A sentence-transformers model of random weights and two layers, made in a blink."""

from pathlib import Path

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdeorst"))
DIMENSIONS = 32
MAX_LENGTH = 16


def save_tiny_encoder(folder: Path, *, pooling: str = "mean", normalise: bool = False, seed: int = 0) -> Path:
    """Save one at `folder`: 32 dimensions, at most 16 tokens with the two special ones."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    shape = {"hidden_size": DIMENSIONS, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    plain = folder.with_name(f"{folder.name}-plain")
    BertModel(BertConfig(vocab_size=len(WORDS), **shape, initializer_range=0.3)).save_pretrained(plain)
    (plain / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(plain / "vocab.txt")).save_pretrained(plain)
    encoder = Transformer(str(plain), max_seq_length=MAX_LENGTH)
    modules = [encoder, Pooling(DIMENSIONS, pooling_mode=pooling), *([Normalize()] if normalise else [])]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    return folder
