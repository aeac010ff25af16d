"""Values of the wire that several capabilities share."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

MAX_PAIRS = 16


class WireRequest(BaseModel):
    """A JSON body: what is not known is refused, and no type is made of another."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it must not contain NUL characters")
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_without_nul)]
Key: TypeAlias = Annotated[str, Field(max_length=64), AfterValidator(_without_nul)]
Value: TypeAlias = Annotated[str, Field(max_length=512), AfterValidator(_without_nul)]

Metadata: TypeAlias = Annotated[dict[Key, Value], Field(max_length=MAX_PAIRS)]
Attributes: TypeAlias = Annotated[
    dict[Key, Value | StrictBool | Annotated[StrictInt | StrictFloat, Field(allow_inf_nan=False)]],
    Field(max_length=MAX_PAIRS),
]
