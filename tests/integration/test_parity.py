"""A tiny model with an adapter: what its trainer records, held against servings that are right, or wrong in one way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.config import Lora
from finetune.lora import attach
from finetune.model import Base, load_model
from finetune.parity import Parity, compare
from finetune.parity_record import Rows, record
from finetune.tokenizer import load_tokenizer
from finetune.tokens import Encoder
from finetune.trace import Trace, read_traces
from finetune.types import Example, Preference, Supervised, ToolCall, Turn, Unpaired
from tests.fakes.plain_serving import PlainServing
from tests.fakes.tiny_model import tiny_model

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


TOOLS = (
    "{{ tools | tojson if tools }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' if add_generation_prompt }}"
)


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
    base: Path
    adapter: Path
    traces: list[Trace]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A base whose template writes a BOS token, an adapter that changes what it says, and what was recorded."""
    return trained_in(tmp_path_factory.mktemp("trained"), [*CHATS, CALLING])


def trained_in(
    folder: Path,
    examples: Sequence[Example],
    *,
    quantization: Any = "none",
    template: str | None = None,
    **options: Any,
) -> Trained:
    base = tiny_model(folder / "base", template="qwen3")
    tokenizer = load_tokenizer(str(base))
    tokenizer.chat_template = "{{ bos_token }}" + (template or tokenizer.chat_template)
    tokenizer.save_pretrained(base)
    adapted = adapted_model(base, quantization, seed=1)
    adapted.save_pretrained(folder / "adapter")
    encoder = Encoder(tokenizer, limit=options.get("max_length"))
    rows = Rows(examples=examples, rows=[encoder.row(example) for example in examples])
    record(adapted, tokenizer, collator(examples[0]), folder / "parity.jsonl", training=rows, **options)
    return Trained(base, folder / "adapter", read_traces(folder / "parity.jsonl"))


def adapted_model(base: Path, quantization: Any, *, seed: int) -> Any:
    import torch

    loaded = load_model(Base(source=str(base)), quantization=quantization, device="cpu")
    adapted = attach(loaded, Lora(r=4, dropout=0.5), seed=seed)
    torch.manual_seed(seed)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05)
    return adapted.train()


def collator(example: Example) -> Any:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    pad = DataCollatorForLanguageModeling(pad_token_id=0)

    def of_pairs(rows: list[Any]) -> Any:
        import torch

        sides = [{"input_ids": row[f"{side}_ids"]} for side in ("chosen", "rejected") for row in rows]
        masks = [torch.tensor(row[f"{side}_mask"]) for side in ("chosen", "rejected") for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True)
        return {**{key: value for key, value in pad(sides).items() if key != "labels"}, "completion_mask": padded}

    def of_unpaired(rows: list[Any]) -> Any:
        import torch

        batch = pad([{"input_ids": row["prompt_ids"] + row["completion_ids"]} for row in rows])
        masks = [[False] * len(row["prompt_ids"]) + row["completion_mask"] for row in rows]
        return {"input_ids": batch["input_ids"], "completion_mask": torch.tensor(masks)}

    return {Supervised: pad, Preference: of_pairs, Unpaired: of_unpaired}[type(example)]


def codes(parity: Parity) -> list[str]:
    return [reason.code for reason in parity.reasons]


def other_adapter(trained: Trained, folder: Path) -> Path:
    adapted_model(trained.base, "none", seed=2).save_pretrained(folder)
    return folder


def without_bos(base: Path) -> Any:
    """The tokenizer after someone took its BOS token for a useless one."""
    tokenizer = load_tokenizer(str(base))
    tokenizer.bos_token = None
    return tokenizer


def test_serving_what_was_trained_passes(trained: Trained) -> None:
    parity = compare(trained.traces, PlainServing(trained.base, trained.adapter))
    assert parity.passed, parity.sentence()
    assert (parity.sequences, parity.identical, parity.greedy_agreement) == (8, 8, 1.0)
    assert parity.mean_logprob_difference is not None
    assert parity.mean_logprob_difference < 1e-5


def test_examples_from_all_over_the_file_are_recorded_but_for_those_too_long_to_serve(trained: Trained) -> None:
    assert [trace.index for trace in trained.traces] == [0, 1, 2, 3, 4, 6, 8, 10]


def test_what_is_recorded_is_the_collators_own(trained: Trained) -> None:
    row = Encoder(load_tokenizer(str(trained.base))).row(CHATS[2])
    assert trained.traces[2].token_ids == row["input_ids"]
    assert trained.traces[2].mask == [label >= 0 for label in row["labels"]]


def test_a_template_that_writes_one_line_break_more_is_caught(trained: Trained) -> None:
    template = load_tokenizer(str(trained.base)).chat_template.replace("<|im_start|>", "<|im_start|>\n")
    parity = compare(trained.traces, PlainServing(trained.base, trained.adapter, template=template))
    assert codes(parity) == ["chat_template"]
    assert r"<|im_start|>\n" in parity.reasons[0].text


def test_a_lost_bos_token_is_caught(trained: Trained) -> None:
    serving = PlainServing(trained.base, trained.adapter, tokenizer=without_bos(trained.base))
    assert codes(compare(trained.traces, serving)) == ["bos"]


def test_a_second_bos_token_is_caught(trained: Trained) -> None:
    template = "{{ bos_token }}" + load_tokenizer(str(trained.base)).chat_template
    parity = compare(trained.traces, PlainServing(trained.base, trained.adapter, template=template))
    assert codes(parity) == ["bos"]


def test_roles_that_are_named_otherwise_are_caught(trained: Trained) -> None:
    parity = compare(trained.traces, PlainServing(trained.base, trained.adapter, roles={"developer": "user"}))
    assert codes(parity) == ["roles"]
    assert "served '<s><|im_start|>user" in parity.reasons[0].text


def test_another_adapter_is_caught(trained: Trained, tmp_path: Path) -> None:
    serving = PlainServing(trained.base, other_adapter(trained, tmp_path))
    assert codes(compare(trained.traces, serving)) == ["weights"]


def test_a_missing_adapter_is_caught(trained: Trained) -> None:
    assert codes(compare(trained.traces, PlainServing(trained.base))) == ["adapter"]


def test_another_dtype_is_caught(trained: Trained) -> None:
    assert codes(compare(trained.traces, PlainServing(trained.base, trained.adapter, dtype="bfloat16"))) == ["dtype"]


def test_another_base_is_caught(trained: Trained, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(trained.base))
    other = tiny_model(tmp_path / "other", seed=5)
    parity = compare(trained.traces, PlainServing(other, trained.adapter, tokenizer=tokenizer))
    assert codes(parity) == ["weights"]


def test_an_nf4_base_is_served_as_such_or_caught(tmp_path: Path) -> None:
    found = trained_in(tmp_path, CHATS, quantization="nf4", count=2)
    assert compare(found.traces, PlainServing(found.base, found.adapter, quantization="nf4")).passed
    assert codes(compare(found.traces, PlainServing(found.base, found.adapter))) == ["dtype"]


def test_pairs_are_recorded_chosen_first(tmp_path: Path) -> None:
    asked = (Turn(role="user", content="Two and two?"),)
    pair = Preference(prompt=asked, chosen=(answer("Four, and never five."),), rejected=(answer("Five."),))
    found = trained_in(tmp_path, [pair] * 3, count=2)
    assert [trace.messages[-1]["content"] for trace in found.traces] == ["Four, and never five.", "Five."] * 2
    assert [trace.continuation is None for trace in found.traces] == [False, True] * 2
    assert compare(found.traces, PlainServing(found.base, found.adapter)).passed


def test_calls_of_tools_are_replayed_as_a_client_sends_them(tmp_path: Path) -> None:
    found = trained_in(tmp_path, [CALLING], template=TOOLS)
    call = found.traces[0].messages[1]["tool_calls"][0]["function"]
    assert call == {"name": "add", "arguments": '{"b": 1, "a": 2}'}
    assert compare(found.traces, PlainServing(found.base, found.adapter)).passed


def test_unpaired_examples_are_recorded(tmp_path: Path) -> None:
    asked = (Turn(role="user", content="Two and two?"),)
    found = trained_in(tmp_path, [Unpaired(prompt=asked, completion=(answer("Four."),), label=True)] * 2)
    assert len(found.traces) == 2
    assert compare(found.traces, PlainServing(found.base, found.adapter)).passed


def test_sequences_that_lost_their_end_are_recorded_only_for_want_of_others(tmp_path: Path) -> None:
    short = Supervised(messages=(Turn(role="user", content="Hi"), answer("It is.")))
    found = trained_in(tmp_path / "some", [*CHATS[:5], short], count=1, max_length=100)
    assert [(trace.index, trace.cut) for trace in found.traces] == [(5, False)]
    cut = trained_in(tmp_path / "all", CHATS, count=1, max_length=100)
    assert [(len(trace.token_ids), trace.cut) for trace in cut.traces] == [(100, True)]
    assert compare(cut.traces, PlainServing(cut.base, cut.adapter)).passed


def test_the_validation_file_is_recorded_too(trained: Trained, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(trained.base))
    rows = Rows(examples=CHATS[:2], rows=[Encoder(tokenizer).row(example) for example in CHATS[:2]])
    model = adapted_model(trained.base, "none", seed=1)
    path = tmp_path / "parity.jsonl"
    assert record(model, tokenizer, collator(CHATS[0]), path, training=rows, validation=rows, count=1) == 2
    assert [trace.name for trace in read_traces(path)] == ["training example 1", "validation example 1"]
