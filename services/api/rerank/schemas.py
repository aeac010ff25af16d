"""The wire of `/v1/rerank`: what Cohere's and Jina's APIs have in common, with the fields of either's answers."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from services.api.wire import BRANCH, TEXT, Unicode, WireRequest

MAX_DOCUMENTS = 1000
MAX_TOKENS_PER_DOCUMENT = 4096
OBJECT = f"{BRANCH}object"


def _text_or_object(given: object) -> str:
    return TEXT if isinstance(given, str) else OBJECT


class Document(BaseModel):
    """A document by its `text`; what else it carries is given back and not read."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: Unicode


Documents: TypeAlias = Annotated[
    list[Annotated[Annotated[Unicode, Tag(TEXT)] | Annotated[Document, Tag(OBJECT)], Discriminator(_text_or_object)]],
    Field(min_length=1, max_length=MAX_DOCUMENTS),
]


class RerankRequest(WireRequest):
    """`model` is the reranker, or an embedder. All documents are given back, in order, unless `top_n` says how many.

    Of a document the first `max_tokens_per_doc` tokens are read. `priority` is Cohere's, and changes nothing.
    """

    model: Annotated[Unicode, Field(min_length=1)]
    query: Annotated[Unicode, Field(min_length=1)]
    documents: Documents
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    max_tokens_per_doc: Annotated[int, Field(ge=1)] = MAX_TOKENS_PER_DOCUMENT
    priority: int | None = None

    def texts(self) -> list[str]:
        return [one if isinstance(one, str) else one.text for one in self.documents]


class Result(BaseModel):
    """`index` is the document's place in the request, from 0."""

    index: int
    relevance_score: float
    document: Document | None


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class ApiVersion(BaseModel):
    version: Literal["2"] = "2"


class Tokens(BaseModel):
    input_tokens: int


class Meta(BaseModel):
    """Cohere's way of saying what was used."""

    api_version: ApiVersion
    tokens: Tokens


class Reranked(BaseModel):
    """The results, best first; documents of one score in the order in which they were given."""

    id: str
    object: Literal["list"]
    model: str
    results: list[Result]
    usage: Usage
    meta: Meta
