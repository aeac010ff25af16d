"""The local engine over tiny real models: what it writes is what transformers writes, and only that."""

import asyncio
import gc
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.adapter import Manifest
from finetune.tokenizer import load_tokenizer
from services.engines.local.models import LocalModels
from services.errors import BadRequest, NotReady
from tests.fakes.local import QUESTION, Asking, request
from tests.fakes.plain import Plain
from tests.fakes.tiny_adapter import tiny_adapter, tiny_tuned_whole
from tests.fakes.tiny_model import tiny_model

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
ANSWERED = {"role": "assistant", "content": "it is four"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return tiny_model(folder / "tiny")


@pytest.fixture(scope="module")
def adapters(folder: Path, base: Path) -> dict[Path, Manifest]:
    """Two adapters on one base: one was trained with dropout, the other leaves some layers alone."""
    all_layers = tiny_adapter(folder / "a", base, seed=1, dropout=0.5)
    some_layers = tiny_adapter(folder / "b", base, seed=2, rank=2, targets=["q_proj", "down_proj"])
    return {folder / "a": all_layers, folder / "b": some_layers}


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    models = LocalModels(most_bases=3, most_waiting=8)
    yield Asking(models)
    models.close()


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_greedy_is_what_transformers_generates(asking: Asking, folder: Path, family: Any) -> None:
    base = tiny_model(folder / f"greedy-{family}", family=family, seed=3)

    assert asking.ids(asking.base(base), max_tokens=48) == Plain(base).generated(max_new_tokens=48)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_each_adapter_speaks_for_itself_however_they_are_interleaved(
    asking: Asking, base: Path, adapters: dict[Path, Manifest], quantization: str, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = {at: replace(manifest, quantization=quantization) for at, manifest in adapters.items()}
    engines = {None: asking.base(base, quantization=quantization)}
    engines |= {at: asking.tuned(at, manifest) for at, manifest in tuned.items()}
    expected = {at: Plain(base, at, quantization=quantization).generated() for at in engines}
    assert len({tuple(ids) for ids in expected.values()}) == 3

    first, second = adapters
    with caplog.at_level(logging.INFO):
        for at in (None, first, second, None, second, first, None):
            assert asking.ids(engines[at]) == expected[at]
    assert sum("model_loaded" in record.message for record in caplog.records) <= 1


def test_requests_at_once_get_their_own_answers(asking: Asking, base: Path, adapters: dict[Path, Manifest]) -> None:
    engines = [asking.base(base), *(asking.tuned(at, manifest) for at, manifest in adapters.items())]
    alone = [asking.ids(engine) for engine in engines]

    async def together() -> list[Any]:
        return await asyncio.gather(*(engine.chat(request(return_token_ids=True)) for engine in engines * 2))

    assert [answer["choices"][0]["token_ids"] for answer in asyncio.run(together())] == alone * 2


def test_a_model_tuned_whole_is_served_from_its_folder(asking: Asking, base: Path, folder: Path) -> None:
    manifest = tiny_tuned_whole(folder / "whole", base)

    assert asking.ids(asking.tuned(folder / "whole", manifest)) == Plain(base).generated()


def test_logprobs_of_the_prompt_are_those_of_a_forward_pass(asking: Asking, base: Path) -> None:
    plain = Plain(base)
    conversation = (QUESTION, ANSWERED)
    told: dict[str, Any] = {"add_generation_prompt": False, "prompt_logprobs": 2, "return_token_ids": True}
    answer = asking.chat(asking.base(base), *conversation, max_tokens=1, **told)
    ids = plain.prompt(*conversation, prompt=False)
    assert answer["prompt_token_ids"] == ids

    first, *places = answer["prompt_logprobs"]
    assert first is None
    for place, token, row in zip(places, ids[1:], plain.logprobs(ids)[:-1], strict=True):
        own = place[str(token)]
        assert own["logprob"] == pytest.approx(float(row[token]), abs=1e-4)
        assert (own["rank"], own["decoded_token"]) == (
            int((row > row[token]).sum()) + 1,
            plain.tokenizer.decode([token]),
        )
        assert {int(one) for one in place} == {token, *row.topk(2).indices.tolist()}


def test_bytes_of_logprobs_join_into_the_text(asking: Asking, base: Path) -> None:
    plain = Plain(base)
    bias = {str(token): 100 for token in plain.tokenizer("é東").input_ids}
    answer = asking.chat(
        asking.base(base), logprobs=True, logit_bias=bias, frequency_penalty=2, temperature=1.5, seed=5, max_tokens=64
    )
    choice = answer["choices"][0]
    spelt = bytes(byte for one in choice["logprobs"]["content"] for byte in one["bytes"])

    assert spelt.decode("utf-8", "replace").rstrip("\ufffd") == choice["message"]["content"]


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0}, {"min_p": 1}, {"temperature": 1e-9}])
def test_what_leaves_one_token_to_choose_is_greedy(asking: Asking, base: Path, narrow: dict[str, Any]) -> None:
    engine = asking.base(base)

    assert asking.ids(engine, **{"temperature": 1.5} | narrow) == asking.ids(engine)


def test_penalties_and_biases_change_what_is_chosen(asking: Asking, base: Path) -> None:
    engine, plain = asking.base(base), Plain(base)
    greedy = plain.generated()

    assert asking.ids(engine, repetition_penalty=1.7) == plain.generated(repetition_penalty=1.7)
    assert greedy[0] not in asking.ids(engine, logit_bias={str(greedy[0]): -100})
    assert asking.ids(engine, logit_bias={"70": 100}) == [70] * 12
    assert asking.ids(engine, logit_bias={"70": 100, "71": 99}, frequency_penalty=2, max_tokens=4) == [70, 71, 70, 71]
    assert asking.ids(engine, logit_bias={"70": 100, "71": 99}, presence_penalty=2, max_tokens=3) == [70, 71, 70]
    with pytest.raises(BadRequest, match="logit_bias"):
        asking.chat(engine, logit_bias={"4000": 1})


def test_a_stop_string_is_found_over_several_tokens(asking: Asking, base: Path) -> None:
    engine, plain = asking.base(base), Plain(base)
    bias = {str(token): 100 - 2 * place for place, token in enumerate(plain.tokenizer("what is five").input_ids)}
    spelling: dict[str, Any] = {"logit_bias": bias, "frequency_penalty": 2, "logprobs": True, "return_token_ids": True}
    text = asking.chat(engine, **spelling)["choices"][0]["message"]["content"]
    assert text.startswith("whatwhat is five")

    choice = asking.chat(engine, **spelling, stop=["no", "t is f"])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("whatwha", "stop")
    assert [one["token"] for one in choice["logprobs"]["content"]] == ["what", "what"]
    assert len(choice["token_ids"]) > 2


def test_the_end_of_an_answer_is_counted_and_not_shown(asking: Asking, base: Path) -> None:
    end = load_tokenizer(str(base)).eos_token_id
    answer = asking.chat(asking.base(base), logit_bias={str(end): 100}, return_token_ids=True, logprobs=True)
    [choice] = answer["choices"]

    assert (choice["message"]["content"], choice["finish_reason"], choice["token_ids"]) == ("", "stop", [end])
    assert answer["usage"]["completion_tokens"] == 1
    assert choice["logprobs"]["content"] == []


def test_a_model_s_own_generation_config_is_respected(asking: Asking, base: Path, folder: Path) -> None:
    greedy = Plain(base).generated()
    own = shutil.copytree(base, folder / "own-config")
    config = json.loads((own / "generation_config.json").read_text())
    config |= {"eos_token_id": [config["eos_token_id"], greedy[2]], "do_sample": True, "top_k": 1, "max_new_tokens": 9}
    (own / "generation_config.json").write_text(json.dumps(config))
    engine = asking.base(own)

    # Its top_k of 1 makes what would be sampled greedy, and its second end token ends it.
    assert asking.ids(engine, temperature=None, max_tokens=None) == greedy[:3]
    assert len(asking.ids(engine, logit_bias={str(greedy[2]): -100}, max_tokens=None)) == 9


def test_what_does_not_fit_the_context_is_refused(asking: Asking, base: Path) -> None:
    engine = asking.base(base)
    for words, limit in ((600, 1), (10, 512)):
        with pytest.raises(BadRequest) as refused:
            asking.chat(engine, {"role": "user", "content": "two " * words}, max_tokens=limit)
        assert refused.value.code == "context_length_exceeded"

    prompt = Plain(base).prompt()
    answer = asking.chat(engine, max_tokens=None, logit_bias={"70": 100})
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["total_tokens"]) == ("length", 512)
    assert answer["usage"]["prompt_tokens"] == len(prompt)


def test_the_last_message_is_gone_on_with(asking: Asking, base: Path) -> None:
    plain = Plain(base)
    begun = {"role": "assistant", "content": "it is "}
    told: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False, "return_token_ids": True}
    answer = asking.chat(asking.base(base), QUESTION, begun, **told)

    text = plain.tokenizer.decode(answer["prompt_token_ids"])
    assert text == plain.tokenizer.decode(plain.prompt(QUESTION, begun, prompt=False)).partition("it is ")[0] + "it is "
    with pytest.raises(BadRequest, match="continue_final_message"):
        asking.chat(asking.base(base), QUESTION, {"role": "assistant", "content": " "}, **told)


def test_tools_that_may_not_be_called_stand_in_the_prompt(asking: Asking, base: Path) -> None:
    engine = asking.base(base)
    bare = asking.chat(engine, return_token_ids=True)["prompt_token_ids"]
    shown = asking.chat(engine, return_token_ids=True, tools=[TOOL], tool_choice="none")["prompt_token_ids"]

    assert "weather" in load_tokenizer(str(base)).decode(shown)
    assert len(shown) > len(bare)


def test_a_checkpoint_that_is_saved_anew_is_loaded_anew(asking: Asking, base: Path, folder: Path) -> None:
    at = folder / "step-1"
    before = asking.ids(asking.tuned(at, tiny_adapter(at, base, seed=4)))
    after = asking.ids(asking.tuned(at, tiny_adapter(at, base, seed=5)))

    assert before != after == Plain(base, at).generated()


def test_a_base_that_makes_room_leaves_nothing_behind(base: Path, folder: Path) -> None:
    def alive() -> int:
        return sum(type(one).__name__ == "Qwen3ForCausalLM" for one in gc.get_objects())

    other = tiny_model(folder / "other", family="qwen3")
    gc.collect()
    before = alive()
    asking = Asking(LocalModels(most_bases=1, most_waiting=1))
    asking.ids(asking.base(other))
    assert alive() == before + 1
    asking.ids(asking.base(base))

    assert alive() == before
    asking.models.close()


@pytest.mark.parametrize("changed", ["base_sha256", "template_sha256", "tokenizer_sha256"])
def test_a_model_that_is_not_what_its_passport_says_is_never_served(
    asking: Asking, base: Path, folder: Path, changed: str
) -> None:
    at = folder / f"forged-{changed}"
    forged = tiny_adapter(at, base, **{changed: "0" * 64})
    word = {"base_sha256": "base", "template_sha256": "chat template", "tokenizer_sha256": "tokenizer"}[changed]

    for _ in range(2):
        with pytest.raises(Exception, match=f"its {word} differ") as refused:
            asking.chat(asking.tuned(at, forged))
        assert (refused.value.status, refused.value.code) == (400, "model_mismatch")  # type: ignore[attr-defined]


def test_a_base_that_was_trained_on_since_is_noticed(asking: Asking, folder: Path) -> None:
    base = tiny_model(folder / "moving", seed=6)
    tuned = asking.tuned(folder / "on-moving", tiny_adapter(folder / "on-moving", base))
    asking.chat(tuned)
    tiny_model(base, seed=7)

    with pytest.raises(Exception, match="its base differ"):
        asking.chat(tuned)
    anew = asking.tuned(folder / "anew", tiny_adapter(folder / "anew", base))
    assert asking.ids(anew) == Plain(base, folder / "anew").generated()


def test_an_adapter_that_does_not_fit_is_refused_and_the_next_one_works(
    asking: Asking, base: Path, folder: Path, adapters: dict[Path, Manifest]
) -> None:
    at = folder / "torn"
    manifest = tiny_adapter(at, base)
    config = json.loads((at / "adapter_config.json").read_text())
    (at / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))

    with pytest.raises(NotReady, match="cannot be put on its base") as refused:
        asking.chat(asking.tuned(at, manifest))
    assert refused.value.code == "model_unavailable"
    good, passport = next(iter(adapters.items()))
    assert asking.ids(asking.tuned(good, passport)) == Plain(base, good).generated()
    assert asking.ids(asking.base(base)) == Plain(base).generated()


def test_a_model_that_cannot_be_loaded_says_why(asking: Asking, folder: Path, adapters: dict[Path, Manifest]) -> None:
    empty = folder / "empty"
    empty.mkdir()
    gone = folder / "gone"
    kept, manifest = next(iter(adapters.items()))
    engines = [asking.base(empty), asking.base("no-such/model"), asking.tuned(gone, manifest)]

    for engine in (*engines, asking.tuned(kept, replace(manifest, base=str(gone)))):
        with pytest.raises(NotReady) as refused:
            asking.chat(engine)
        assert refused.value.code == "model_unavailable"


def test_a_model_without_a_chat_template_says_what_to_do(asking: Asking, folder: Path) -> None:
    bare = tiny_model(folder / "bare", template=None)

    with pytest.raises(BadRequest, match="instruct version"):
        asking.chat(asking.base(bare))


def test_a_conversation_that_the_template_refuses_is_the_caller_s_to_mend(asking: Asking, folder: Path) -> None:
    gemma = tiny_model(folder / "gemma", template="gemma")

    with pytest.raises(BadRequest, match="refuses the conversation") as refused:
        asking.chat(asking.base(gemma), QUESTION, QUESTION)
    assert refused.value.param == "messages"
