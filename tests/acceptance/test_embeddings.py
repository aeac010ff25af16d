"""Embeddings through the official SDK."""

from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI

pytestmark = pytest.mark.acceptance

MODEL = "all-MiniLM-L6-v2"
CLAY_HOLDS_WATER = [5726, 4324, 2300]


def embed(client: OpenAI, given: Any, **options: Any) -> list[list[float]]:
    return [one.embedding for one in client.embeddings.create(model=MODEL, input=given, **options).data]


def test_floats_and_base64_are_one_vector(client: OpenAI) -> None:
    [by_default] = embed(client, "Loam is soil.")  # the SDK asks for base64 and decodes it
    [floats] = embed(client, "Loam is soil.", encoding_format="float")

    assert len(floats) == 384
    np.testing.assert_array_equal(np.float32(by_default), np.float32(floats))
    assert np.linalg.norm(floats) == pytest.approx(1, abs=1e-5)


def test_texts_keep_their_order_and_are_counted(client: OpenAI) -> None:
    response = client.embeddings.create(model=MODEL, input=["loam", "clay soil"], encoding_format="float")

    assert [one.index for one in response.data] == [0, 1]
    assert (response.model, response.usage.prompt_tokens, response.usage.total_tokens) == (MODEL, 4, 4)
    [alone] = embed(client, "clay soil", encoding_format="float")
    np.testing.assert_allclose(response.data[1].embedding, alone, atol=2e-2)


def test_fewer_dimensions_are_the_first_ones_at_length_one(client: OpenAI) -> None:
    [whole] = embed(client, "Loam is soil.", encoding_format="float")
    [short] = embed(client, "Loam is soil.", encoding_format="float", dimensions=8)

    np.testing.assert_allclose(short, np.array(whole[:8]) / np.linalg.norm(whole[:8]), atol=1e-6)


def test_token_ids_are_read_as_their_text(client: OpenAI) -> None:
    [text] = embed(client, "clay holds water")

    assert embed(client, CLAY_HOLDS_WATER) == [text]
    np.testing.assert_allclose(embed(client, [CLAY_HOLDS_WATER] * 2), [text, text], atol=2e-2)


@pytest.mark.parametrize(
    ("given", "options", "param"),
    [
        ("", {}, "input"),
        (["fine", " "], {}, "input"),
        ([], {}, "input"),
        (["a"] * 2049, {}, "input"),
        ("soil " * 255, {}, "input"),
        ([[30522]], {}, "input"),
        ("soil", {"dimensions": 385}, "dimensions"),
        ("soil", {"dimensions": 0}, "dimensions"),
        ("soil", {"encoding_format": "hex"}, "encoding_format"),
        ("soil", {"extra_body": {"model": "default"}}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(client: OpenAI, given: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        embed(client, given, **options)

    assert refused.value.param == param


def test_a_text_over_the_window_is_told_the_numbers(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"at most 254 tokens, input\[1\] has 300"):
        embed(client, ["soil", "soil " * 300])


def test_tokens_of_another_models_tokenizer_are_told_to_come_as_text(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"token 99060.*another model's tokenizer.*Send the text"):
        embed(client, [[9906, 99060]])


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-3-small", input="soil")


def test_an_embedder_cannot_chat(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
