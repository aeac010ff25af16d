"""The wire of `/v1/embeddings`."""

from typing import Annotated, Literal, TypeAlias

from openai.types import create_embedding_response
from pydantic import Discriminator, Field, Tag

from services.api.wire import LIST, TEXT, TOKEN_LISTS, TOKENS, Tokens, Unicode, WireRequest, texts_or_tokens

MAX_INPUTS = 2048

Input: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)]
    | Annotated[list[Unicode], Field(min_length=1, max_length=MAX_INPUTS), Tag(LIST)]
    | Annotated[Tokens, Tag(TOKENS)]
    | Annotated[list[Tokens], Field(min_length=1, max_length=MAX_INPUTS), Tag(TOKEN_LISTS)],
    Discriminator(texts_or_tokens),
]


class EmbeddingRequest(WireRequest):
    """`input` is a text, texts, the ids of one text's tokens, or those of several."""

    model: Annotated[Unicode, Field(min_length=1)]
    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


EmbeddingResponse = create_embedding_response.CreateEmbeddingResponse
