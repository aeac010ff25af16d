"""Models over HTTP."""

import httpx
import openai
import pytest
from openai import OpenAI

from tests.acceptance.serving import Server

pytestmark = pytest.mark.acceptance


def test_engines_models_aliases_and_the_embedder_are_listed(hosted_client: OpenAI) -> None:
    listed = {model.id: model.to_dict() for model in hosted_client.models.list()}

    assert {"extractive", "all-MiniLM-L6-v2", "llama", "own", "gardener", "writer"} <= listed.keys()
    assert (listed["llama"]["owned_by"], listed["extractive"]["owned_by"]) == ("groq", "loam")
    assert (listed["writer"]["kind"], listed["writer"]["parent"]) == ("alias", "llama")


@pytest.mark.parametrize("model_id", ["extractive", "default", "all-MiniLM-L6-v2", "writer", "groq/openai/gpt-oss-20b"])
def test_a_model_is_found_by_its_name_whatever_is_in_it(hosted_client: OpenAI, model_id: str) -> None:
    found = hosted_client.models.retrieve(model_id)

    assert (found.id, found.object) == (model_id, "model")


def test_slashes_may_come_encoded(hosted: Server) -> None:
    assert httpx.get(f"{hosted.base_url}/models/groq%2Fopenai%2Fgpt-oss-20b").json()["id"] == "groq/openai/gpt-oss-20b"


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-none")

    assert missing.value.code == "model_not_found"


def test_default_names_the_extractive_engine_out_of_the_box(client: OpenAI) -> None:
    assert client.models.retrieve("default").to_dict()["parent"] == "extractive"
