"""What holds for the pages of a file: its canonical text as citations refer to it, with a citation's span."""

from sqlalchemy.orm import Session

from rag.types import ChunkId
from services.api.files.schemas import FilePage, PageSpan
from services.api.files.service import require_file
from services.errors import BadRequest, NotFound
from services.ids import CHUNK
from services.storage.pages import TextOutline, chunk_span, find_outline, read_span


def read_page(
    session: Session,
    project_id: str,
    file_id: str,
    number: int,
    *,
    store_id: str | None = None,
    chunk: str | None = None,
    span: tuple[int | None, int | None] = (None, None),
) -> FilePage:
    """Give a page with what is cited of it. Raises NotFound, and BadRequest for a span that is not on it."""
    require_file(session, project_id, file_id)
    chunk_id = None if chunk is None else ChunkId(int(chunk.removeprefix(CHUNK)))
    outline = find_outline(session, project_id, file_id, store_id=store_id, chunk_id=chunk_id)
    if outline is None:
        raise NotFound(_no_text(file_id, store_id, chunk), param="file_id")
    start, end = _bounds(outline, number)
    text = read_span(session, outline, start, end)
    wanted = _wanted(span) or (None if chunk_id is None else chunk_span(session, chunk_id))
    return FilePage(
        object="file.page",
        file_id=file_id,
        filename=outline.filename,
        vector_store_id=outline.store_id,
        page=number,
        pages=len(outline.pages),
        start=start,
        end=end,
        text=text,
        spans=[] if wanted is None else [_on_page(wanted, outline, number, text)],
    )


def _no_text(file_id: str, store_id: str | None, chunk: str | None) -> str:
    if chunk is not None:
        return f"The file {file_id!r} has no chunk {chunk!r}; it may have been ingested again since."
    where = "any vector store" if store_id is None else f"the vector store {store_id!r}"
    return f"The file {file_id!r} has no text in {where} yet."


def _bounds(outline: TextOutline, number: int) -> tuple[int, int]:
    for page, start, end in outline.pages:
        if page == number:
            return start, end
    raise NotFound(f"{outline.filename!r} has {len(outline.pages)} pages, and none is {number}.", param="page")


def _wanted(span: tuple[int | None, int | None]) -> tuple[int, int] | None:
    start, end = span
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "start" if start is None else "end"
        raise BadRequest(f"Missing required parameter: '{missing}'.", param=missing, code="missing_required_parameter")
    if start >= end:
        raise BadRequest("'end' must be greater than 'start'.", param="end")
    return start, end


def _on_page(wanted: tuple[int, int], outline: TextOutline, number: int, text: str) -> PageSpan:
    """Cut a span to the page."""
    start, end = _bounds(outline, number)
    first, last = max(wanted[0], start), min(wanted[1], end)
    if first >= last:
        holding = [page for page, begins, ends in outline.pages if wanted[0] < ends and wanted[1] > begins]
        told = f"it is on page {holding[0]}" if holding else "no page has it"
        raise BadRequest(f"The span {wanted[0]} to {wanted[1]} is not on page {number}: {told}.", param="start")
    return PageSpan(start=first, end=last, text=text[first - start : last - start])
