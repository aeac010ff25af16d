"""Many requests to one base at once: each is answered as if it were alone, and none harms another."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.adapter import Manifest
from services.engines.local import batch as batch_module
from services.engines.local.engine import Local
from services.engines.local.loaded import Limits, Loaded
from services.engines.local.models import LocalModels
from services.errors import BadRequest, NotReady, RateLimited
from tests.fakes.local import Asking, request
from tests.fakes.plain import Plain
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

SLOTS = 4
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
    "qwen3": {},
    "mistral": {"sliding_window": 24},
    "mixtral": {"num_local_experts": 4},
    "gemma2": {"sliding_window": 24, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 0.5},
    "gemma3_text": {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batching")


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return tiny_model(folder / "tiny")


@pytest.fixture(scope="module")
def adapters(folder: Path, base: Path) -> dict[Path, Manifest]:
    return {folder / f"a{seed}": tiny_adapter(folder / f"a{seed}", base, seed=seed) for seed in range(1, 5)}


@pytest.fixture
def asking() -> Iterator[Asking]:
    models = LocalModels(most_bases=2, most_waiting=100, limits=Limits(most_at_once=SLOTS))
    yield Asking(models)
    models.close()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def questions(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Questions of one to sixty words, no two of which begin alike."""
    draw = random.Random(seed)
    words = ["one", "two", "three", "four", "five", "six", "seven", "what", "is", "and", "the", "sum", "of", "all"]
    return [user(f"{number} {' '.join(draw.choices(words, k=draw.randint(1, 60)))}") for number in range(count)]


def together(*asked: tuple[Local, dict[str, Any], dict[str, Any]]) -> list[Any]:
    """Ask at once, and give the answers or what went wrong."""

    async def main() -> list[Any]:
        answers = (engine.chat(request(message, return_token_ids=True, **params)) for engine, message, params in asked)
        return await asyncio.gather(*answers, return_exceptions=True)

    return asyncio.run(main())


def ids(answer: Any) -> list[int]:
    assert not isinstance(answer, BaseException), answer
    return list(answer["choices"][0]["token_ids"])


def loaded(asking: Asking) -> Loaded:
    [place] = asking.models._places.values()
    assert place.loaded is not None
    return place.loaded


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_of_model_says_what_transformers_generates(asking: Asking, folder: Path, family: Any) -> None:
    at = tiny_model(folder / family, family=family, seed=3, **FAMILIES[family])
    plain, engine, asked = Plain(at), asking.base(at), questions(7)
    answers = together(*((engine, message, {"max_tokens": 40}) for message in asked))

    assert [ids(answer) for answer in answers] == [plain.generated(message, max_new_tokens=40) for message in asked]


@pytest.mark.parametrize("read_tokens", [1, 7, 40])
def test_prompts_may_be_read_in_parts(
    asking: Asking, base: Path, read_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(batch_module.READ_TOKENS, "cpu", read_tokens)
    plain, engine, asked = Plain(base), asking.base(base), questions(6, seed=1)
    answers = together(*((engine, message, {}) for message in asked))

    assert [ids(answer) for answer in answers] == [plain.generated(message) for message in asked]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_adapters_and_the_base_speak_in_one_batch(
    asking: Asking, base: Path, adapters: dict[Path, Manifest], quantization: str
) -> None:
    tuned = {at: replace(manifest, quantization=quantization) for at, manifest in adapters.items()}
    engines = {None: asking.base(base, quantization=quantization)}
    engines |= {at: asking.tuned(at, manifest) for at, manifest in tuned.items()}
    plains = {at: Plain(base, at, quantization=quantization) for at in engines}
    asked = [(at, message) for at, message in zip([*engines, *engines], questions(10), strict=True)]
    answers = together(*((engines[at], message, {}) for at, message in asked))

    assert [ids(answer) for answer in answers] == [plains[at].generated(message) for at, message in asked]


def test_adapters_that_nobody_speaks_with_are_let_go(folder: Path, base: Path, adapters: dict[Path, Manifest]) -> None:
    one = sum(path.stat().st_size for path in (folder / "a1").glob("adapter_model.safetensors"))
    limits = Limits(most_at_once=SLOTS, adapter_bytes=2 * one)
    asking = Asking(LocalModels(most_bases=1, most_waiting=9, limits=limits))
    for at, manifest in adapters.items():
        assert asking.ids(asking.tuned(at, manifest)) == Plain(base, at).generated()
        kept = [kept.adapter for kept in loaded(asking)._kept.values() if kept.adapter is not None]
        assert sum(adapter.size_bytes for adapter in kept) <= 2 * one
    answers = together(*((asking.tuned(at, manifest), user("hi"), {}) for at, manifest in adapters.items()))

    assert [ids(answer) for answer in answers] == [Plain(base, at).generated(user("hi")) for at in adapters]
    asking.models.close()


def test_what_was_read_before_is_not_read_again(asking: Asking, base: Path, adapters: dict[Path, Manifest]) -> None:
    engine, plain = asking.base(base), Plain(base)
    system = {"role": "system", "content": "two and two is four " * 10}

    def cached(engine: Local, text: str) -> int:
        answer = asking.chat(engine, system, user(text))
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

    first, second = (plain.prompt(system, user(text)) for text in ("what is one?", "what is five?"))
    shared = next(place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    assert cached(engine, "what is one?") == 0
    assert cached(engine, "what is five?") == shared > 50
    assert cached(engine, "what is five?") == len(second) - 1
    tuned = asking.tuned(*next(iter(adapters.items())))
    assert cached(tuned, "what is one?") == 0
    assert cached(tuned, "what is one?") == len(first) - 1
    assert asking.ids(engine, system, user("what is five?")) == plain.generated(system, user("what is five?"))


def test_what_others_are_reading_is_shared(asking: Asking, base: Path) -> None:
    engine, plain = asking.base(base), Plain(base)
    text = "two and two is four " * 10

    async def main() -> list[Any]:
        stream = engine.stream(request(user(text + "one"), max_tokens=100, logit_bias={"70": 100}))
        await anext(stream)
        answer = await engine.chat(request(user(text + "five"), return_token_ids=True))
        await stream.aclose()
        return [answer]

    [answer] = asyncio.run(main())
    assert ids(answer) == plain.generated(user(text + "five"))
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 40


def test_choices_share_the_prompt_and_may_outnumber_the_slots(asking: Asking, base: Path) -> None:
    engine = asking.base(base)
    answer = asking.chat(engine, n=3 * SLOTS, return_token_ids=True)
    assert [choice["token_ids"] for choice in answer["choices"]] == [Plain(base).generated()] * 3 * SLOTS
    assert answer["usage"]["completion_tokens"] == 12 * 3 * SLOTS
    drawn = asking.chat(engine, n=2 * SLOTS, temperature=1.5, seed=1)["choices"]
    assert len({choice["message"]["content"] for choice in drawn}) == 2 * SLOTS


def test_a_seed_repeats_in_any_company(asking: Asking, base: Path) -> None:
    engine = asking.base(base)
    kinds: list[dict[str, Any]] = [
        {"temperature": 1.5, "seed": 1},
        {"temperature": 0.8, "top_p": 0.8, "seed": 2},
        {"temperature": 1.2, "top_k": 20, "min_p": 0.01, "seed": 3, "frequency_penalty": 1},
        {"temperature": 0, "repetition_penalty": 1.3},
        {"temperature": 1.1, "seed": 4, "logprobs": True, "top_logprobs": 3, "logit_bias": {"70": 3}},
    ]
    alone = [ids(together((engine, user("hi"), kind))[0]) for kind in kinds]
    for order in (kinds, kinds[::-1]):
        answers = together(*((engine, user("hi"), kind) for kind in order))
        assert sorted(map(ids, answers)) == sorted(alone)


def test_what_is_wrong_with_one_request_harms_no_other(asking: Asking, base: Path) -> None:
    engine, good = asking.base(base), questions(5)
    bad: list[dict[str, Any]] = [{"logit_bias": {"4000": 1}}, {"max_tokens": 5000}]
    answers = together(*((engine, message, {}) for message in good), *((engine, good[0], params) for params in bad))

    assert [type(answer) for answer in answers[5:]] == [BadRequest, BadRequest]
    assert [ids(answer) for answer in answers[:5]] == [Plain(base).generated(message) for message in good]


def test_a_model_that_fails_tells_all_and_goes_on(asking: Asking, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = asking.base(base)
    asking.ids(engine)
    with monkeypatch.context() as broken:
        broken.setattr(loaded(asking)._batch._passes, "run", _out_of_memory)
        answers = together(*((engine, message, {}) for message in questions(SLOTS)))
    assert [(type(answer), answer.code) for answer in answers] == [(NotReady, "out_of_memory")] * SLOTS
    assert loaded(asking)._batch.rows.size_bytes == 0

    assert asking.ids(engine) == Plain(base).generated()


def _out_of_memory(*_: Any) -> None:
    raise RuntimeError("CUDA out of memory.")


def test_a_model_of_another_kind_is_refused(asking: Asking, folder: Path) -> None:
    mamba = tiny_model(folder / "mamba", family="mamba")

    with pytest.raises(BadRequest, match="'mamba'") as refused:
        asking.chat(asking.base(mamba))
    assert refused.value.code == "unsupported_model"


def test_a_model_with_longrope_ends_where_its_keys_would_turn(asking: Asking, folder: Path) -> None:
    rope = {
        "rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    at = tiny_model(folder / "longrope", family="phi3", rope_parameters=rope, original_max_position_embeddings=64)

    assert asking.ids(asking.base(at)) == Plain(at).generated()
    with pytest.raises(BadRequest, match="maximum context length is 64"):
        asking.chat(asking.base(at), user("two " * 60))


def test_one_too_many_is_told_when_to_come_back(base: Path) -> None:
    asking = Asking(LocalModels(most_bases=1, most_waiting=2, limits=Limits(most_at_once=SLOTS)))
    answers = together(*((asking.base(base), message, {}) for message in questions(SLOTS + 3)))
    refused = [answer for answer in answers if isinstance(answer, RateLimited)]

    assert [len(refused), len(answers) - len(refused)] == [1, SLOTS + 2]
    assert refused[0].retry_after_s and refused[0].retry_after_s >= 1
    asking.models.close()
