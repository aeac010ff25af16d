"""A tiny model with an adapter: what its trainer records, held against servings that are right, or wrong in one way."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from finetune.adapter import Manifest, base_hash, tokenizer_hash
from finetune.config import Lora, Tuning, settle
from finetune.data.tokens import Encoder
from finetune.job import TuningJob
from finetune.model import Base, best_device, load_model
from finetune.parity.compare import Parity
from finetune.parity.record import Rows, record
from finetune.parity.trace import TRACES, read_traces, write_traces
from finetune.run import tune
from finetune.tokenizer import load_tokenizer
from finetune.train.lora import attach
from finetune.types import Preference, Supervised, Turn, Unpaired
from prompts import chat_format
from prompts.chat_format import template_hash
from services.parity import prove
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.wiring import Services
from tests.fakes.tiny_model import tiny_model
from tests.fakes.trained import CALLING, CHATS, Trained, adapted_model, answer, collator, trained_in

Proved: TypeAlias = Callable[..., Parity]

MODEL = "ft:tiny:default::1"


TOOLS = (
    "{{ tools | tojson if tools }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' if add_generation_prompt }}"
)


WHOLE_ONLY = (
    "{% if messages[-1].role != 'assistant' %}{{ raise_exception('there is no answer') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n"
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_in(tmp_path_factory.mktemp("trained"), [*CHATS, CALLING])


@pytest.fixture
def proved(services: Services, tmp_path: Path) -> Callable[..., Parity]:
    """Serve a trained model, changed or not, by the local engine over HTTP, and hold it against the record.

    The manifest is always that of what is served, so that only parity can tell.
    """

    def run(
        trained: Trained, *, sequences: int = 2, adapter: Any = None, tokenizer: Any = None, **passport: Any
    ) -> Parity:
        folder, few = tmp_path / "served", tmp_path / "few.jsonl"
        shutil.copytree(trained.adapter, folder)
        manifest = replace(Manifest.read(folder), **passport)
        if adapter is not None:
            adapter.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
            template = template_hash(tokenizer.chat_template)
            manifest = replace(manifest, tokenizer_sha256=tokenizer_hash(tokenizer), template_sha256=template)
        manifest.write(folder)
        with services.database.write() as session:
            put_tuned_model(session, DEFAULT_PROJECT, MODEL, parent="tiny", folder=folder, manifest=manifest)
        write_traces(few, trained.traces[:sequences])
        return prove(services, DEFAULT_PROJECT, MODEL, few)

    return run


def codes(parity: Parity) -> list[str]:
    return [reason.code for reason in parity.reasons]


def tokenizer_with(trained: Trained, change: Callable[[str], str]) -> Any:
    """The tokenizer with another chat template."""
    tokenizer = load_tokenizer(str(trained.base))
    tokenizer.chat_template = change(tokenizer.chat_template)
    return tokenizer


def test_serving_what_was_trained_passes(trained: Trained, proved: Proved) -> None:
    parity = proved(trained, sequences=8)
    assert parity.passed, parity.sentence()
    assert (parity.engine, parity.sequences, parity.identical, parity.greedy_agreement) == ("local", 8, 8, 1.0)
    assert parity.mean_logprob_difference is not None
    assert parity.mean_logprob_difference < 1e-5


def test_examples_from_all_over_the_file_are_recorded_but_for_those_too_long_to_serve(trained: Trained) -> None:
    assert [trace.index for trace in trained.traces] == [0, 1, 2, 3, 4, 6, 8, 10]


def test_what_is_recorded_is_the_collators_own(trained: Trained) -> None:
    row = Encoder(load_tokenizer(str(trained.base))).row(CHATS[2])
    assert trained.traces[2].token_ids == row["input_ids"]
    assert trained.traces[2].mask == [label >= 0 for label in row["labels"]]


def test_a_template_that_writes_one_line_break_more_is_caught(trained: Trained, proved: Proved) -> None:
    changed = tokenizer_with(trained, lambda template: template.replace("<|im_start|>", "<|im_start|>\n"))
    parity = proved(trained, tokenizer=changed)
    assert codes(parity) == ["chat_template"]
    assert r"<|im_start|>\n" in parity.reasons[0].text


def test_a_lost_bos_token_is_caught(trained: Trained, proved: Proved) -> None:
    tokenizer = load_tokenizer(str(trained.base))
    tokenizer.bos_token = None
    assert codes(proved(trained, tokenizer=tokenizer)) == ["bos"]


def test_a_second_bos_token_is_caught(trained: Trained, proved: Proved) -> None:
    changed = tokenizer_with(trained, lambda template: "{{ bos_token }}" + template)
    assert codes(proved(trained, tokenizer=changed)) == ["bos"]


def test_roles_that_are_mapped_otherwise_are_caught(
    trained: Trained, proved: Proved, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mapped(message: dict[str, Any], _template: str) -> dict[str, Any]:
        return {**message, "role": "user" if message["role"] == "developer" else message["role"]}

    monkeypatch.setattr(chat_format, "_as_known", mapped)
    parity = proved(trained)
    assert codes(parity) == ["roles"]
    assert "served '<s><|im_start|>user" in parity.reasons[0].text


def test_a_role_that_the_template_leaves_out_is_caught(trained: Trained, proved: Proved) -> None:
    changed = tokenizer_with(trained, lambda template: template.replace("role == 'system'", "role == 'nobody'"))
    parity = proved(trained, tokenizer=changed)
    assert codes(parity) == ["roles"]
    assert "Message 0, of the role 'developer', is left out." in parity.reasons[0].text


def test_another_adapter_is_caught(trained: Trained, proved: Proved) -> None:
    assert codes(proved(trained, adapter=adapted_model(trained.base, "none", seed=2))) == ["weights"]


def test_an_adapter_that_does_nothing_is_caught(trained: Trained, proved: Proved) -> None:
    loaded = load_model(Base(source=str(trained.base)), quantization="none", device=best_device())
    assert codes(proved(trained, adapter=attach(loaded, Lora(r=4)))) == ["adapter"]


def test_another_dtype_is_caught(trained: Trained, proved: Proved) -> None:
    assert codes(proved(trained, dtype="bfloat16")) == ["dtype"]


def test_another_base_is_caught(trained: Trained, proved: Proved, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=5)
    assert codes(proved(trained, base=str(other), base_sha256=base_hash(other))) == ["weights"]


def test_an_nf4_base_is_served_as_such(tmp_path: Path, proved: Proved) -> None:
    assert proved(trained_in(tmp_path, CHATS, quantization="nf4", count=2)).passed


def test_an_adapter_over_nf4_on_a_plain_base_is_caught(tmp_path: Path, proved: Proved) -> None:
    found = trained_in(tmp_path, CHATS, quantization="nf4", count=2)
    parity = proved(found, quantization="none")
    assert codes(parity) == ["dtype"]
    assert "over an NF4 base" in parity.reasons[0].text


def test_a_model_that_was_tuned_whole_in_16_bits_is_served_as_it_was_left(services: Services, tmp_path: Path) -> None:
    training_file = tmp_path / "training.jsonl"
    asked = [{"role": "user", "content": "Two and two?"}, {"role": "assistant", "content": "It is four."}]
    training_file.write_text((json.dumps({"messages": asked}) + "\n") * 4)
    tuning = Tuning(lora=None, quantization="none", checkpoint_steps=1, seed=1)
    job = TuningJob(
        base=Base(source=str(tiny_model(tmp_path / "base", dtype="bfloat16"))),
        settings=settle(tuning, examples=4, longest_input=512),
        training_file=training_file,
        folder=tmp_path / "job",
        device=best_device(),
        name=MODEL,
    )
    outcome = tune(job, lambda _event: None, lambda: None)
    assert outcome.folder is not None
    assert outcome.manifest is not None
    with services.database.write() as session:
        put_tuned_model(
            session, DEFAULT_PROJECT, MODEL, parent="tiny", folder=outcome.folder, manifest=outcome.manifest
        )
    parity = prove(services, DEFAULT_PROJECT, MODEL, job.folder / TRACES)
    assert (parity.passed, parity.dtype, parity.greedy_agreement) == (True, "bfloat16", 1.0)
    assert parity.mean_logprob_difference is not None
    assert parity.mean_logprob_difference < 1e-5


def test_pairs_are_recorded_chosen_first(tmp_path: Path, proved: Proved) -> None:
    asked = (Turn(role="user", content="Two and two?"),)
    pair = Preference(prompt=asked, chosen=(answer("Four, and never five."),), rejected=(answer("Five."),))
    found = trained_in(tmp_path, [pair] * 3, count=2)
    assert [trace.messages[-1]["content"] for trace in found.traces] == ["Four, and never five.", "Five."] * 2
    assert [trace.continuation is None for trace in found.traces] == [False, True] * 2
    assert proved(found).passed


def test_calls_of_tools_are_replayed_as_a_client_sends_them(tmp_path: Path, proved: Proved) -> None:
    found = trained_in(tmp_path, [CALLING], template=TOOLS)
    call = found.traces[0].messages[1]["tool_calls"][0]["function"]
    assert call == {"name": "add", "arguments": '{"b": 1, "a": 2}'}
    assert proved(found).passed


def test_a_template_that_takes_whole_conversations_only_leaves_out_the_greedy_answers(
    tmp_path: Path, proved: Proved
) -> None:
    parity = proved(trained_in(tmp_path, CHATS[:2], template=WHOLE_ONLY))
    assert (parity.passed, parity.greedy_tokens, parity.greedy_agreement) == (True, 0, None)


def test_unpaired_examples_are_recorded(tmp_path: Path, proved: Proved) -> None:
    asked = (Turn(role="user", content="Two and two?"),)
    found = trained_in(tmp_path, [Unpaired(prompt=asked, completion=(answer("Four."),), label=True)] * 2)
    assert len(found.traces) == 2
    assert proved(found).passed


def test_sequences_that_lost_their_end_are_recorded_only_for_want_of_others(tmp_path: Path, proved: Proved) -> None:
    short = Supervised(messages=(Turn(role="user", content="Hi"), answer("It is.")))
    found = trained_in(tmp_path / "some", [*CHATS[:5], short], count=1, max_length=100)
    assert [(trace.index, trace.cut) for trace in found.traces] == [(5, False)]
    cut = trained_in(tmp_path / "all", CHATS, count=1, max_length=100)
    assert [(len(trace.token_ids), trace.cut) for trace in cut.traces] == [(100, True)]
    assert proved(cut).passed


def test_the_validation_file_is_recorded_too(trained: Trained, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(trained.base))
    rows = Rows(examples=CHATS[:2], rows=[Encoder(tokenizer).row(example) for example in CHATS[:2]])
    model = adapted_model(trained.base, "none", seed=1)
    path = tmp_path / "parity.jsonl"
    assert record(model, tokenizer, collator(CHATS[0]), path, training=rows, validation=rows, count=1) == 2
    assert [trace.name for trace in read_traces(path)] == ["training example 1", "validation example 1"]
