"""Tuning jobs on tiny models: files of facts to learn, and what became of a training."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.config import Tuning, settle
from finetune.events import Checkpoint, Event, Message, Metrics, Stop
from finetune.job import TuningJob
from finetune.model import Base
from finetune.plan import Peaks, Plan
from finetune.tokenizer import load_tokenizer, longest_input
from tests.fakes.tiny_model import tiny_model

FACTS = {"what is the code?": "it is four two.", "what is two and two?": "the answer is four."}


def write_chats(path: Path, facts: Mapping[str, str] = FACTS, *, times: int = 1) -> Path:
    """Write questions with their answers as OpenAI's chat format has them."""
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in facts.items()
    ]
    return write_rows(path, rows * times)


def write_pairs(path: Path, *, times: int = 1) -> Path:
    """Write questions whose better answer is told by its first word."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": asked}]},
            "preferred_output": [{"role": "assistant", "content": "yes, it is."}],
            "non_preferred_output": [{"role": "assistant", "content": "never five."}],
        }
        for asked in FACTS
    ]
    return write_rows(path, rows * times)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def job_of(
    folder: Path, base: Path, training: Path, *, adapter: Path | None = None, job: Mapping[str, Any] = {}, **tuning: Any
) -> TuningJob:
    """Make a job; `tuning` is what a recipe says, with the hyperparameters among it."""
    named = {name: tuning.pop(name) for name in ("n_epochs", "batch_size", "beta") if name in tuning}
    asked = Tuning.model_validate({"seed": 1, **tuning, "hyperparameters": named})
    examples = len(training.read_text(encoding="utf-8").splitlines())
    settings = settle(asked, examples=examples, longest_input=longest_input(load_tokenizer(str(base))))
    return TuningJob(
        base=Base(source=str(base), adapter=adapter),
        settings=settings,
        training_file=training,
        folder=folder,
        device="cpu",
        name="ft:tiny:default::1",
        **job,
    )


def plan_of(micro_batch: int = 1, accumulation: int = 1, **chosen: Any) -> Plan:
    """Make a plan of which only the given is true."""
    plain: dict[str, Any] = {
        "device": "cpu",
        "device_bytes": 0,
        "longest": 0,
        "gradient_checkpointing": False,
        "activation_offloading": False,
        "optimizer": "adamw_torch",
        "attention": "sdpa",
        "steps": 0,
        "peaks": Peaks(step=0, evaluation=0, saving=0),
        "parts": {},
    }
    return Plan(micro_batch=micro_batch, accumulation=accumulation, **plain | chosen)


@dataclass
class Told:
    """The events of a training. With `when`, it is asked to stop once an event is like that."""

    events: list[Event] = field(default_factory=list)
    why: Stop | None = None
    when: Callable[[Event], bool] = lambda _: False
    stop: Stop | None = None

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self.when(event):
            self.stop = self.why

    def should_stop(self) -> Stop | None:
        return self.stop

    @property
    def curve(self) -> dict[int, dict[str, float]]:
        """The last word on each step that was made."""
        return {event.step: dict(event.values) for event in self._metrics if not event.recalled}

    @property
    def recalled(self) -> dict[int, dict[str, float]]:
        """The last word on each step that an earlier trainer made."""
        return {event.step: dict(event.values) for event in self._metrics if event.recalled}

    @property
    def _metrics(self) -> list[Metrics]:
        return [event for event in self.events if isinstance(event, Metrics)]

    @property
    def checkpoints(self) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Checkpoint)]

    @property
    def sentences(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Message))


def teachable_model(folder: Path, **shape: Any) -> Path:
    """Write a tiny model whose frozen head can tell one token from all others, so that an adapter can teach it."""
    import torch
    from safetensors.torch import load_file, save_file

    tiny_model(folder, **shape)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.mul(weights["lm_head.weight"], 10)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def answer_of(base: Path, tuned: Path, asked: str, *, quantization: Any = "none") -> str:
    """Ask a tuned model as its own folder says it is to be asked, and give what it writes."""
    import torch

    from finetune.adapter import Manifest
    from finetune.model import load_model
    from finetune.tokenizer import load_tokenizer
    from finetune.train.lora import attach
    from prompts.chat_format import render, template_of

    whole = Manifest.read(tuned).kind == "full"
    model = load_model(Base(source=str(tuned if whole else base)), quantization=quantization, device="cpu")
    if not whole:
        model = attach(model, None, adapter=tuned)
    tokenizer = load_tokenizer(str(tuned))
    prompt = render([{"role": "user", "content": asked}], [], template_of(tokenizer), tokenizer, prompt=True)
    ids = torch.tensor([prompt.token_ids])
    with torch.no_grad():
        given = model.eval().generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False
        )
    return str(tokenizer.decode(given[0][ids.shape[1] :]))
