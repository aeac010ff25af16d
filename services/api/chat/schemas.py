"""The wire of `/v1/chat/completions`: OpenAI's, and what loam adds to it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from openai.types import chat
from openai.types.chat.chat_completion_message import Annotation as UrlCitation
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from services.answering import FileSearch
from services.api.vector_stores.search import RankingOptions
from services.api.wire import LIST, TEXT, Unicode, WireRequest, text_or_list

Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Penalty: TypeAlias = Annotated[float, Field(ge=-2, le=2)]
TokenLimit: TypeAlias = Annotated[int, Field(ge=1)]


class FileSearchOptions(WireRequest):
    """Which documents to answer from: the same words as in `/v1/responses` and in a search.

    With `decompose` a question that needs several look-ups is searched for part by part; null is as the alias says.
    """

    vector_store_ids: Annotated[list[Unicode], Field(min_length=1)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None
    decompose: bool | None = None

    def to_search(self, default_results: int, *, place: str) -> FileSearch:
        """Give what is to be searched. Raises InvalidFilter, InvalidRanking."""
        ranking = self.ranking_options or RankingOptions()
        options = ranking.search_options(
            max_results=self.max_num_results or default_results, filters=self.filters, place=f"{place}.filters"
        )
        return FileSearch(store_ids=tuple(self.vector_store_ids), options=options, decompose=self.decompose)


class AsItCame(BaseModel):
    """An object that is passed on with whatever else it holds: that is for the engine to judge."""

    model_config = ConfigDict(extra="allow", strict=True)


class Part(AsItCame):
    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: Unicode | None = None

    @model_validator(mode="after")
    def _holds_text(self) -> "Part":
        if self.type == "text" and self.text is None:
            raise ValueError("a part of the type 'text' must have 'text'")
        return self


Content: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)] | Annotated[list[Part], Field(min_length=1), Tag(LIST)], Discriminator(text_or_list)
]
Stop: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[list[str], Field(min_length=1, max_length=4), Tag(LIST)],
    Discriminator(text_or_list),
]


class ChatMessage(AsItCame):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "ChatMessage":
        if self.content is None and self.role not in ("assistant", "function"):
            raise ValueError(f"a message of the role {self.role!r} must have content")
        return self


class ChatCompletionRequest(AsItCame):
    """The body of a request. Fields that are not named here are for the engine to know or to refuse."""

    model: Annotated[Unicode, Field(min_length=1)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    file_search: FileSearchOptions | None = None

    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: TokenLimit | None = None
    max_tokens: TokenLimit | None = None
    metadata: dict[str, str] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Penalty | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    stop: Stop | None = None
    store: bool | None = None
    stream_options: dict[str, bool] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Fraction | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> "ChatCompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("'stream_options' is only allowed when 'stream' is true")
        return self

    def wire_messages(self) -> list[dict[str, Any]]:
        """Give the messages as they came."""
        return [message.model_dump(exclude_unset=True) for message in self.messages]

    def params(self) -> Mapping[str, Any]:
        """Give everything else that was asked of the engine, as it came."""
        return self.model_dump(exclude_unset=True, exclude={"model", "messages", "stream", "file_search"})


class CitedFile(BaseModel):
    """A quote of a source: `quote` is its text at `source_start:source_end`, the mark stands at the two indexes."""

    file_id: str
    filename: str
    index: int
    start_index: int
    end_index: int
    quote: str
    page: int | None
    chunk_id: str
    score: float
    source_start: int
    source_end: int


class FileCitation(BaseModel):
    type: Literal["file_citation"]
    file_citation: CitedFile


class TriedModel(BaseModel):
    """A model that failed before another answered in its stead, or was skipped since it could not take the request."""

    model: str
    skipped: bool
    reason: str


class LoamInfo(BaseModel):
    """What loam says of an answer. `answered` is null where no documents were asked; `tried` is there if any was.

    `confidence`, 0 to 1, is how likely the answer is right, of the extractive engine's and of calibrated models'.
    """

    answered: bool | None
    confidence: float | None = None
    engine: str
    model: str
    timings_ms: dict[str, float]
    tried: list[TriedModel] | None = None


class CitedMessage(chat.ChatCompletionMessage):
    annotations: list[FileCitation | UrlCitation] | None = None  # type: ignore[assignment]


class CitedChoice(chat.chat_completion.Choice):
    message: CitedMessage


class ChatCompletion(chat.ChatCompletion):
    """A chat completion with loam's additions."""

    choices: list[CitedChoice]  # type: ignore[assignment]
    loam: LoamInfo


class ChatCompletionChunk(chat.ChatCompletionChunk):
    """A chunk of one; the last of each choice that has content carries `annotations` in its delta."""

    loam: LoamInfo | None = None
