"""Local models through the official SDK: a tiny base, and models tuned over it that come and go while it runs."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from finetune.adapter import Manifest
from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from tests.acceptance.handbook import QUESTION, make_handbook
from tests.acceptance.serving import Server, serving
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

pytestmark = pytest.mark.acceptance

WAIT_S = 60.0
CONTEXT_TOKENS = 20_000
TUNED = "ft:tiny:default:garden:1a2b3c4d"
HELLO: list[Any] = [{"role": "user", "content": "what is two and two?"}]
SETTINGS = """
local_slots: 1
local_waiting: 0
models:
  - {{id: tiny, engine: local, source: "{base}"}}
  - {{id: tiny-nf4, engine: local, source: "{base}", quantization: nf4, dtype: bfloat16}}
  - {{id: moved, engine: local, source: "{base}-gone"}}
aliases:
  reader: {{model: tiny, vector_stores: [handbook]}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT_TOKENS}))
    return base


@pytest.fixture(scope="module")
def local(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("local") / "home"
    home.mkdir()
    shutil.copytree(base, f"{base}-gone")
    (home / "loam.yaml").write_text(SETTINGS.format(base=base))
    with serving(home) as server:
        shutil.rmtree(f"{base}-gone")
        yield server


@pytest.fixture
def client(local: Server) -> Iterator[OpenAI]:
    with local.client() as client:
        yield client


@pytest.fixture
def adapter(local: Server, base: Path) -> Iterator[Path]:
    """A tuned model that a job of the running server might have made a moment ago."""
    folder = local.home / "tuning" / "ftjob-1" / "model"
    manifest = tiny_adapter(folder, base)
    register(local, TUNED, folder, manifest)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def register(server: Server, model_id: str, folder: Path, manifest: Manifest) -> None:
    database = Database(f"sqlite:///{server.home / 'loam.db'}")
    with database.write() as session:
        put_tuned_model(session, DEFAULT_PROJECT, model_id, parent="tiny", folder=folder, manifest=manifest)
    database.close()


def said(client: OpenAI, model: str, **options: Any) -> str:
    completion = client.chat.completions.create(
        model=model, messages=HELLO, **{"max_tokens": 8, "temperature": 0, **options}
    )
    return completion.choices[0].message.content or ""


@pytest.mark.parametrize("model", ["tiny", "tiny-nf4"])
def test_a_stream_says_what_the_whole_says(client: OpenAI, model: str) -> None:
    options: dict[str, Any] = {"seed": 5, "temperature": 1.2, "max_tokens": 12, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(model=model, messages=HELLO, **options)
    *chunks, last = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}, **options
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    logprobs = [chunk.choices[0].logprobs for chunk in chunks]
    told = [one for part in logprobs if part for one in part.content or ()]
    assert whole.choices[0].logprobs and whole.choices[0].logprobs.content
    assert [one.token for one in told] == [one.token for one in whole.choices[0].logprobs.content]
    # The second answer goes on from what the first had read, where sums are rounded otherwise.
    for one, other in zip(told, whole.choices[0].logprobs.content, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-2 if model == "tiny-nf4" else 1e-4)
    assert last.usage and whole.usage and last.usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    loam = whole.to_dict()["loam"]
    assert (whole.model, loam["engine"], loam["answered"]) == (model, "local", None)  # type: ignore[index]


def test_what_parity_asks_for_is_answered(client: OpenAI) -> None:
    extra = {"add_generation_prompt": False, "prompt_logprobs": 0, "return_token_ids": True}
    conversation = [*HELLO, {"role": "assistant", "content": "it is four"}]
    answer = client.chat.completions.create(
        model="tiny", messages=conversation, max_tokens=1, temperature=0, extra_body=extra
    ).to_dict()

    ids, places = answer["prompt_token_ids"], answer["prompt_logprobs"]
    assert isinstance(ids, list) and isinstance(places, list)
    assert places[0] is None
    assert [next(iter(place)) for place in places[1:]] == [str(token) for token in ids[1:]]
    assert len(answer["choices"][0]["token_ids"]) == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("tools", [{"type": "custom", "custom": {"name": "f"}}]),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("top_k", "many"),
        ("no_such_field", 1),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(client: OpenAI, param: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        said(client, "tiny", extra_body={param: value})

    assert (refused.value.param or "").partition("[")[0] == param


def test_too_much_for_the_context_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        said(client, "tiny", max_tokens=CONTEXT_TOKENS)

    assert refused.value.code == "context_length_exceeded"


def test_a_model_that_is_not_where_it_was_says_so(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no directory"):
        said(client, "moved")


def test_a_tuned_model_answers_from_the_moment_it_is_registered(client: OpenAI, adapter: Path) -> None:
    assert said(client, TUNED) != said(client, "tiny")

    listed = {model.id: model.to_dict() for model in client.models.list()}[TUNED]
    assert (listed["kind"], listed["parent"], listed["engine"]) == ("adapter", "tiny", "local")
    assert "manifest" not in listed
    found = client.models.retrieve(TUNED).to_dict()["manifest"]
    assert found == json.loads((adapter / "manifest.json").read_text())


def test_a_deleted_model_is_gone_with_its_files(client: OpenAI, adapter: Path) -> None:
    said(client, TUNED)
    assert client.models.delete(TUNED).deleted

    models = client.models
    for call in (lambda: said(client, TUNED), lambda: models.retrieve(TUNED), lambda: models.delete(TUNED)):
        with pytest.raises(openai.NotFoundError):
            call()
    until(lambda: not adapter.exists())
    assert said(client, "tiny")


@pytest.mark.parametrize("model", ["tiny", "extractive", "reader", "default", "all-MiniLM-L6-v2"])
def test_only_tuned_models_can_be_deleted(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(model)


def test_a_forged_model_is_never_served(client: OpenAI, local: Server, base: Path) -> None:
    folder = local.home / "tuning" / "ftjob-2" / "model"
    register(local, "ft:forged", folder, tiny_adapter(folder, base, base_sha256="0" * 64))

    with pytest.raises(openai.BadRequestError) as refused:
        said(client, "ft:forged")
    assert refused.value.code == "model_mismatch"
    client.models.delete("ft:forged")


def test_documents_are_answered_from_with_a_local_model(client: OpenAI) -> None:
    make_handbook(client)
    asked: list[Any] = [{"role": "user", "content": QUESTION}]
    completion = client.chat.completions.create(model="reader", messages=asked, max_tokens=8, temperature=0)
    streamed = client.chat.completions.create(model="reader", messages=asked, max_tokens=8, temperature=0, stream=True)

    message = completion.choices[0].message
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == message.content
    loam: Any = completion.to_dict()["loam"]
    assert (completion.model, loam["engine"]) == ("tiny", "local")
    # What a model with random weights writes bears no citation out.
    assert message.to_dict()["annotations"] == []
    assert completion.usage and completion.usage.prompt_tokens > 200


def test_one_too_many_is_told_when_to_come_back_and_a_place_is_freed_by_leaving(client: OpenAI) -> None:
    endless: dict[str, Any] = {"logit_bias": {"70": 100}, "max_tokens": CONTEXT_TOKENS - 100}
    stream = client.chat.completions.create(model="tiny", messages=HELLO, stream=True, **endless)
    next(iter(stream))
    with pytest.raises(openai.RateLimitError) as refused:
        said(client, "tiny")
    assert int(refused.value.response.headers["retry-after"]) >= 1
    stream.close()

    until(lambda: answered(client))


def answered(client: OpenAI) -> bool:
    try:
        return bool(said(client, "tiny"))
    except openai.RateLimitError:
        return False


def until(holds: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        threading.Event().wait(0.02)


def test_tokens_are_counted_as_they_are_read(local: Server) -> None:
    with local.client() as client:
        counted = client.responses.input_tokens.count(model="tiny", input="what is two?", instructions="Be brief.")
        response = client.responses.create(
            model="tiny", input="what is two?", instructions="Be brief.", max_output_tokens=1
        )

    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens
