"""A tiny model with an adapter as it is when its training ends, and what its trainer recorded of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.config import Lora, Quantization
from finetune.data.tokens import Encoder
from finetune.model import Base, best_device, load_model
from finetune.parity.record import Rows, record
from finetune.parity.trace import Trace, read_traces
from finetune.tokenizer import load_tokenizer
from finetune.train.lora import attach
from finetune.types import Example, Preference, Supervised, ToolCall, Turn, Unpaired
from tests.fakes.tiny_adapter import passport_of
from tests.fakes.tiny_model import tiny_model

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def answer(text: str) -> Turn:
    return Turn(role="assistant", content=text, trained=True)


CHATS: list[Example] = [
    Supervised(
        messages=(
            Turn(role="developer", content="Be brief."),
            Turn(role="user", content=f"What is {number} and two?"),
            Turn(role="assistant", content="I shall think."),
            Turn(role="user", content="Well?"),
            answer(f"It is {number + 2}. Grüße 🙂"),
        )
    )
    for number in range(12)
]
CALLING = Supervised(
    messages=(
        Turn(role="user", content="Add."),
        Turn(role="assistant", trained=True, tool_calls=(ToolCall(id="c1", name="add", arguments='{"b": 1, "a": 2}'),)),
        Turn(role="tool", tool_call_id="c1", content="3"),
        answer("Three."),
    ),
    tools=(TOOL,),
)


@dataclass(frozen=True)
class Trained:
    """A base, the folder of an adapter over it, and what its trainer recorded."""

    base: Path
    adapter: Path
    record: Path

    @property
    def traces(self) -> list[Trace]:
        return read_traces(self.record)


def trained_in(
    folder: Path,
    examples: Sequence[Example],
    *,
    quantization: Quantization = "none",
    template: str | None = None,
    **options: Any,
) -> Trained:
    """Make a base whose template writes a BOS token, and an adapter as it is when its training ends; record them."""
    base = tiny_model(folder / "base", template="qwen3")
    tokenizer = load_tokenizer(str(base))
    tokenizer.chat_template = "{{ bos_token }}" + (template or tokenizer.chat_template)
    tokenizer.save_pretrained(base)
    adapted = adapted_model(base, quantization, seed=1)
    adapted.save_pretrained(folder / "adapter")
    passport_of(folder / "adapter", base, kind="adapter", quantization=quantization)
    encoder = Encoder(tokenizer, limit=options.get("max_length"))
    rows = Rows(examples=examples, rows=[encoder.row(example) for example in examples])
    record(adapted, tokenizer, collator(examples[0]), folder / "parity.jsonl", training=rows, **options)
    return Trained(base, folder / "adapter", folder / "parity.jsonl")


def adapted_model(base: Path, quantization: Quantization, *, seed: int) -> Any:
    import torch

    loaded = load_model(Base(source=str(base)), quantization=quantization, device=best_device())
    adapted = attach(loaded, Lora(r=4, dropout=0.5), seed=seed)
    torch.manual_seed(seed)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05)
    return adapted.train()


def collator(example: Example) -> Any:
    """Lay rows out as trainers do."""
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from finetune.train.dpo import PairCollator

    kinds = {
        Supervised: DataCollatorForLanguageModeling(pad_token_id=0),
        Preference: PairCollator(pad=0),
        Unpaired: DataCollatorForUnpairedPreference(pad_token_id=0),
    }
    return kinds[type(example)]
