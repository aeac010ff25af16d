"""Making a query of what somebody typed.

With a generator the model rewrites it (`prompts/rewrite_query.jinja`). Without one courtesies are taken away and the
words that are left are searched for as they stand.
"""

import re

from prompts.templates import Template
from rag.errors import GeneratorFailed
from rag.ports import Generator

MAX_QUERY_TOKENS = 200
MAX_QUERY_CHARS = 1000

_COURTESY = re.compile(
    r"^\s*(?:(?:"
    r"hi|hello|hey|please|kindly|do you know"
    r"|(?:(?:can|could|would|will) you )?(?:please )?(?:tell|show|give|explain to) (?:me|us)"
    r"|i(?: want| need|'d like| would like) to (?:know|understand|find out)"
    r")\b(?: about\b)?[\s,:!.]*)+",
    re.IGNORECASE,
)


def rewrite(text: str, *, template: Template, generator: Generator | None = None) -> str:
    """Give the query for a text; by rule too where the model fails, or says nothing that could be a query."""
    if generator is None:
        return without_courtesies(text)
    try:
        reply = generator.generate([template.message(text=text)], max_tokens=MAX_QUERY_TOKENS)
    except GeneratorFailed:
        return without_courtesies(text)
    query = " ".join(reply.split()).strip("\"'")
    return query if 0 < len(query) <= MAX_QUERY_CHARS else without_courtesies(text)


def without_courtesies(text: str) -> str:
    """Give a question without its courtesies and question mark; as it was if nothing else is left."""
    return _COURTESY.sub("", text).strip().rstrip("?").rstrip() or text
