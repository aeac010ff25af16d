from pathlib import Path
from typing import Any

import pytest

from services.errors import BadRequest, NotReady
from services.settings import AliasSettings, ModelSettings, Settings
from services.token_counts import count_input
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.tokenizer import template_named, tiny_tokenizer

ASKED: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "what is two?"}]}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def services(home: Path, tmp_path: Path) -> Any:
    tiny_tokenizer(template_named("qwen3")).save_pretrained(tmp_path / "tiny")
    models = (
        ModelSettings(id="tiny", engine="local", source=str(tmp_path / "tiny")),
        ModelSettings(id="gone", engine="local", source="no-such/weights"),
        ModelSettings(id="own", engine="openai", source="m", base_url="http://own/v1"),
    )
    reader = AliasSettings(model="tiny", vector_stores=("handbook",))
    services = open_services(Settings(home=home, models=models, aliases={"reader": reader}))
    services.embedder = WordEmbedder()
    yield services
    services.close()


def count(services: Services, model: str, **given: Any) -> int:
    return count_input(services, "default", model, ASKED, **given)


def test_a_local_model_counts_through_its_template(services: Services) -> None:
    tokenizer = tiny_tokenizer(template_named("qwen3"))
    text = "<|im_start|>user\nwhat is two?<|im_end|>\n<|im_start|>assistant\n"

    assert count(services, "tiny") == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert count(services, "tiny", tools=[TOOL]) > count(services, "tiny")


def test_the_extractive_engine_counts_as_its_usage_does(services: Services) -> None:
    words = services.embedder.tokenizer.encode("what is two?", add_special_tokens=False)

    assert count(services, "default") == len(words)


def test_a_tokenizer_that_is_not_here_is_not_guessed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the hub cannot be reached, it would be tried again for most of a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadRequest, match="its tokenizer is not here") as refused:
        count(services, "own")
    assert refused.value.code == "unsupported_endpoint"

    with pytest.raises(NotReady, match="no-such/weights"):
        count(services, "gone")


def test_documents_are_not_searched_for_a_count(services: Services) -> None:
    with pytest.raises(BadRequest, match="not searched"):
        count(services, "reader")


def test_nothing_is_not_counted(services: Services) -> None:
    with pytest.raises(BadRequest, match="nothing to count"):
        count_input(services, "default", "tiny", [])
