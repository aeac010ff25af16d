"""The wire of `/v1/embeddings`."""

from typing import Annotated, Any, Literal, TypeAlias

from openai.types import create_embedding_response
from pydantic import Discriminator, Field, Tag

from services.api.wire import BRANCH, LIST, TEXT, Unicode, WireRequest, text_or_list

MAX_INPUTS = 2048
TOKENS = f"{BRANCH}tokens"
TOKEN_LISTS = f"{BRANCH}token_lists"

Tokens: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


def _branch(given: Any) -> str:
    first = given[0] if isinstance(given, list) and given else None
    if isinstance(first, list):
        return TOKEN_LISTS
    return TOKENS if isinstance(first, int) else text_or_list(given)


Input: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)]
    | Annotated[list[Unicode], Field(min_length=1, max_length=MAX_INPUTS), Tag(LIST)]
    | Annotated[Tokens, Tag(TOKENS)]
    | Annotated[list[Tokens], Field(min_length=1, max_length=MAX_INPUTS), Tag(TOKEN_LISTS)],
    Discriminator(_branch),
]


class EmbeddingRequest(WireRequest):
    """`input` is a text, texts, the ids of one text's tokens, or those of several."""

    model: Annotated[Unicode, Field(min_length=1)]
    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


EmbeddingResponse = create_embedding_response.CreateEmbeddingResponse
