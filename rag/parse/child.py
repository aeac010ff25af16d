"""The process that runs native parsers, so that their crashes, hangs and memory stay out of ours.

Run by path with `python -P child.py SECONDS MEMORY_BYTES`: it imports nothing of this project. It
reads requests from stdin and writes replies to stdout, each a JSON header line, then (in requests)
the document's bytes. It ends when stdin closes, when idle, or when a limit is reached; how it ended
tells the parent why. `SIGALRM` keeps its default action: a hang in native code cannot hold it up.
"""

import io
import json
import math
import os
import re
import resource
import secrets
import select
import signal
import struct
import sys
import tempfile
import threading
import time
from typing import Any

SPARSE_LETTERS = 40
"""A page with fewer letters and digits may be a picture with a stamp or a page number on it."""

DPI = 300
PROBE_DPI = 18
MAX_PIXELS = 25_000_000
PAGES_PER_LIMIT = 20
"""So many pages may be recognised in the time that one file may take, and then as many again."""

_IDLE_SECONDS = 60
_RECYCLE_ABOVE_BYTES = 400 * 1024 * 1024


def serve(seconds: int, memory_bytes: int) -> None:
    """Answer requests until the parent goes, nobody asks, or memory has grown."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    while select.select([sys.stdin.buffer], [], [], _IDLE_SECONDS)[0]:
        header = sys.stdin.buffer.readline()
        if not header:
            return
        request = json.loads(header)
        content = sys.stdin.buffer.read(request.pop("bytes"))
        signal.alarm(seconds)
        reply = _answer(content, seconds, **request)
        signal.alarm(0)
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()
        if _resident_bytes() > _RECYCLE_ABOVE_BYTES:
            return


def _resident_bytes() -> int:
    """What is held now. (`ru_maxrss` begins with the parent's own peak: a child of a large server would serve once.)"""
    try:
        with open("/proc/self/statm", encoding="utf-8") as file:  # noqa: PTH123  this program imports as little as it can
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # not on Linux
        return 0


def _answer(
    content: bytes,
    seconds: int,
    media_type: str,
    paged: bool,
    markdown: bool,
    titled: bool,
    recognition: dict[str, Any] | None,
) -> dict[str, Any]:
    try:
        if recognition:
            os.environ["TESSDATA_PREFIX"] = recognition["folder"]
        if media_type == "application/pdf":
            return read_pdf(content, recognition, seconds)
        if media_type == "image/tiff" and recognition:
            return {"title": None, "pages": _read_frames(content, recognition, seconds)}
        reply = extract(content, media_type, paged=paged, markdown=markdown, recognition=recognition)
        if titled:
            text = extract(content, media_type, paged=False, markdown=True, recognition=recognition)["text"]
            reply["titles"] = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return reply
    except MemoryError:
        return {"error": "memory"}
    except Exception as exc:  # the parsers raise whatever they like; the parent gives it a name
        return {"error": str(exc)}


def extract(
    content: bytes, media_type: str, *, paged: bool, markdown: bool, recognition: dict[str, Any] | None
) -> dict[str, Any]:
    """Give `title` and either `text` or, for paged formats, `pages` as [number, text] pairs."""
    import kreuzberg

    # The marker cannot be guessed, so that no document can forge a page.
    nonce = secrets.token_hex(8)
    marker = f"\n{nonce}{{page_num}};\n"
    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        output_format="markdown" if markdown else "plain",
        pages=kreuzberg.PageConfig(extract_pages=True, insert_page_markers=True, marker_format=marker)
        if paged
        else None,
        ocr=_ocr(recognition) if recognition else None,
        disable_ocr=not recognition,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    result = kreuzberg.extract_bytes_sync(content, media_type, config=config)
    reply: dict[str, Any] = {"title": result.metadata.get("title")}
    if not paged:
        return reply | {"text": result.content}
    before, *rest = re.split(rf"\n?{nonce}(\d+);\n?", result.content)
    pages = [[int(number), text] for number, text in zip(rest[::2], rest[1::2], strict=True)]
    if pages and result.pages and media_type == "application/pdf":
        pages[-1][1] = _without_tables(str(pages[-1][1]), str(result.pages[-1]["content"]))
    return reply | {"pages": pages or [[1, before]]}


def _without_tables(text: str, own: str) -> str:
    """Take off what follows a PDF's last page: its tables, of whatever page, whose words their pages have already."""
    return own if own.strip() and len("".join(text.split())) > len("".join(own.split())) else text


def read_pdf(content: bytes, recognition: dict[str, Any] | None, seconds: int) -> dict[str, Any]:
    """Give the text of each page, where that is hardly any what is recognised in its picture.

    Not kreuzberg's own choice: that recognises every page when one has no text, also those whose text is exact.
    `bare` names the pages that have no text and that nothing could be recognised in.
    """
    reply = extract(content, "application/pdf", paged=True, markdown=False, recognition=None)
    sparse = [page for page in reply["pages"] if _letters(page[1]) < SPARSE_LETTERS]
    if recognition and sparse:
        _recognise_pages(content, sparse, recognition, seconds)
    return reply | {"bare": [number for number, text in reply["pages"] if not text.strip()]}


def _recognise_pages(content: bytes, pages: list[list[Any]], recognition: dict[str, Any], seconds: int) -> None:
    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        file.write(content)
        file.flush()
        for place, page in enumerate(pages):
            if place % PAGES_PER_LIMIT == 0:
                signal.alarm(seconds)
            found = _recognised(_picture(file.name, page[0] - 1), recognition)
            # Of a page with a few words of its own these are exact; a picture beside them says more.
            if _letters(found) > 2 * _letters(page[1]):
                page[1] = found


def _read_frames(content: bytes, recognition: dict[str, Any], seconds: int) -> list[list[Any]]:
    """Give the pages of a TIFF, of which kreuzberg reads the first only."""
    from PIL import Image, ImageSequence

    pages: list[list[Any]] = []
    with Image.open(io.BytesIO(content)) as image:
        for place, frame in enumerate(ImageSequence.Iterator(image)):
            if place % PAGES_PER_LIMIT == 0:
                signal.alarm(seconds)
            picture = io.BytesIO()
            frame.convert("RGB").save(picture, "PNG")
            pages.append([place + 1, _recognised(picture.getvalue(), recognition)])
    return pages


def _recognised(picture: bytes, recognition: dict[str, Any]) -> str:
    reply = extract(picture, "image/png", paged=False, markdown=False, recognition=recognition)
    return str(reply["text"])


def _picture(path: str, index: int) -> bytes:
    """Draw a page as PNG, finely enough to be read and never so large that it would not fit into memory."""
    import kreuzberg

    width, height = struct.unpack(">II", kreuzberg.render_pdf_page(path, index, dpi=PROBE_DPI)[16:24])
    finest = PROBE_DPI * math.sqrt(MAX_PIXELS / (width * height))
    return bytes(kreuzberg.render_pdf_page(path, index, dpi=max(1, int(min(DPI, finest)))))


def _ocr(recognition: dict[str, Any]) -> Any:
    import kreuzberg

    # 1 finds out how a page lies and turns it; 3 takes it as it lies.
    layout = kreuzberg.TesseractConfig(psm=1 if recognition["turns"] else 3, language=recognition["languages"])
    return kreuzberg.OcrConfig(backend="tesseract", language=recognition["languages"], tesseract_config=layout)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _leave_with(parent: int) -> None:
    """End when the parent is gone, also in the middle of a document."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
