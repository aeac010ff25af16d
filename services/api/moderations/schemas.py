"""The wire of `/v1/moderations`."""

from typing import Annotated, Any, Literal, TypeAlias

from openai import types
from pydantic import Discriminator, Field, Tag, field_validator

from services.api.chat.schemas import LoamInfo
from services.api.wire import BRANCH, LIST, TEXT, Unicode, WireRequest, text_or_list

MAX_INPUTS = 1024
PARTS = f"{BRANCH}parts"


class TextPart(WireRequest):
    type: Literal["text"]
    text: Unicode

    @field_validator("type", mode="before")
    @classmethod
    def _no_pictures(cls, given: object) -> object:
        if given == "image_url":
            raise ValueError("loam judges text only, not pictures")
        return given


def _branch(given: Any) -> str:
    return PARTS if isinstance(given, list) and given and isinstance(given[0], dict) else text_or_list(given)


Input: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)]
    | Annotated[list[Unicode], Field(min_length=1, max_length=MAX_INPUTS), Tag(LIST)]
    | Annotated[list[TextPart], Field(min_length=1, max_length=MAX_INPUTS), Tag(PARTS)],
    Discriminator(_branch),
]


class ModerationRequest(WireRequest):
    """`input` is a text, texts that are judged one by one, or the parts of one that is judged as a whole."""

    input: Input
    model: Annotated[Unicode, Field(min_length=1)] | None = None

    def texts(self) -> list[str]:
        """Give the texts, for each of which there is to be a result."""
        if isinstance(self.input, str):
            return [self.input]
        texts = [one for one in self.input if isinstance(one, str)]
        return texts or ["\n".join(part.text for part in self.input if isinstance(part, TextPart))]


class ModerationResponse(types.ModerationCreateResponse):
    """A moderation; `model` is the one that judged."""

    loam: LoamInfo
