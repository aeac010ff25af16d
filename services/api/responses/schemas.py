"""The wire of `/v1/responses`: what is taken, in OpenAI's words, and what is refused by name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from openai.types import responses
from openai.types.responses import response_output_text
from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator

from services.api.chat.schemas import CitedFile, FileSearchOptions, Fraction, LoamInfo
from services.api.wire import LIST, TEXT, Metadata, Unicode, WireRequest, text_or_list

Include: TypeAlias = Literal[
    "file_search_call.results",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
InputItems: TypeAlias = Annotated[list[dict[str, Any]], Field(min_length=1)]
Input: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)] | Annotated[InputItems, Tag(LIST)], Discriminator(text_or_list)
]


class FunctionTool(WireRequest):
    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FileSearchTool(FileSearchOptions):
    type: Literal["file_search"]


Tool: TypeAlias = Annotated[FunctionTool | FileSearchTool, Field(discriminator="type")]


class TextOptions(WireRequest):
    format: dict[str, Any] | None = None
    verbosity: str | None = None


class Reasoning(WireRequest):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponseRequest(WireRequest):
    """The body of a request. What loam cannot do has a place here only to be refused by name."""

    model: Annotated[Unicode, Field(min_length=1)]
    input: Input
    stream: bool | None = None
    instructions: Unicode | None = None
    previous_response_id: Unicode | None = None
    store: bool | None = None
    include: list[Include] | None = None
    metadata: Metadata | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    max_tool_calls: int | None = None
    stream_options: dict[str, bool] | None = None

    background: Literal[False] | None = None
    conversation: None = None
    prompt: None = None
    context_management: None = None
    moderation: None = None
    top_logprobs: Literal[0] | None = None

    @field_validator("background", "conversation", "prompt", "context_management", "moderation", mode="before")
    @classmethod
    def _unsupported(cls, given: object) -> object:
        if given:
            raise ValueError("loam does not support it")
        return given

    def file_search(self) -> tuple[int, FileSearchTool] | None:
        """Give the tool that searches documents, with its place among the tools."""
        wanted = enumerate(self.tools or () if self.tool_choice != "none" else ())
        return next(((place, tool) for place, tool in wanted if isinstance(tool, FileSearchTool)), None)

    def functions(self) -> list[FunctionTool]:
        return [tool for tool in self.tools or () if isinstance(tool, FunctionTool)]


class TokenCountRequest(WireRequest):
    """What a response would be made from. Documents are not searched for a count: no tool but functions has a place."""

    model: Annotated[Unicode, Field(min_length=1)] | None = None
    input: Input | None = None
    instructions: Unicode | None = None
    previous_response_id: Unicode | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None

    conversation: None = None
    personality: None = None


class FileCitation(CitedFile):
    """A citation as `/v1/responses` has it: flat."""

    type: Literal["file_citation"]


class OutputText(responses.ResponseOutputText):
    annotations: list[FileCitation | response_output_text.Annotation]  # type: ignore[assignment]


class OutputMessage(responses.ResponseOutputMessage):
    content: list[OutputText | responses.ResponseOutputRefusal]  # type: ignore[assignment]


class Response(responses.Response):
    """A response with loam's additions."""

    model_config = ConfigDict(extra="allow")

    output: list[  # type: ignore[assignment]
        OutputMessage | responses.ResponseFunctionToolCall | responses.ResponseFileSearchToolCall
    ]
    loam: LoamInfo


def response_format(text: TextOptions | None) -> Mapping[str, Any] | None:
    """Give `text.format` as chat completions spell it."""
    given = text.format if text else None
    if given is None or given.get("type") != "json_schema":
        return given
    return {"type": "json_schema", "json_schema": {key: value for key, value in given.items() if key != "type"}}
