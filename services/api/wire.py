"""Values of the wire that several capabilities share."""

import sys
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from rag.types import AttributeValue

MAX_PAIRS = 16
MAX_VALUE_CHARACTERS = 512


class WireRequest(BaseModel):
    """A JSON body: what is not known is refused, and no type is made of another."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it must not contain NUL characters")
    return text


def _attribute(value: object) -> AttributeValue:
    """Check an attribute's value: a union of types would be refused once for each of them."""
    if isinstance(value, str):
        if len(value) > MAX_VALUE_CHARACTERS:
            raise ValueError(f"it must have at most {MAX_VALUE_CHARACTERS} characters")
        return _without_nul(_unicode(value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not abs(value) <= sys.float_info.max:  # NaN is not, either.
            raise ValueError("it must be a finite number")
        return float(value)
    raise ValueError("it must be a string, a number or a boolean")


def _unicode(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it must not contain half of a surrogate pair")
    return text


# The parts of a union's path that begin so name a branch of ours, not a place in the caller's JSON.
BRANCH = "~"
TEXT = f"{BRANCH}text"
LIST = f"{BRANCH}list"
TOKENS = f"{BRANCH}tokens"
TOKEN_LISTS = f"{BRANCH}token_lists"


def text_or_list(given: object) -> str:
    """Say which branch of a union of a text and a list a value is meant for."""
    return LIST if isinstance(given, list) else TEXT


def texts_or_tokens(given: object) -> str:
    """Say which branch a text, texts, the ids of one text's tokens, or those of several are meant for."""
    first = given[0] if isinstance(given, list) and given else None
    if isinstance(first, list):
        return TOKEN_LISTS
    return TOKENS if isinstance(first, int) else text_or_list(given)


Tokens: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Unicode: TypeAlias = Annotated[str, AfterValidator(_unicode)]
# What is stored: PostgreSQL takes no NUL, and neither database half of a pair.
Text: TypeAlias = Annotated[Unicode, AfterValidator(_without_nul)]
Key: TypeAlias = Annotated[Text, Field(max_length=64)]
Value: TypeAlias = Annotated[Text, Field(max_length=MAX_VALUE_CHARACTERS)]

Metadata: TypeAlias = Annotated[dict[Key, Value], Field(max_length=MAX_PAIRS)]
Attribute: TypeAlias = Annotated[AttributeValue, PlainValidator(_attribute, json_schema_input_type=AttributeValue)]
Attributes: TypeAlias = Annotated[dict[Key, Attribute], Field(max_length=MAX_PAIRS)]
