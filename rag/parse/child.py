"""The process that runs native parsers, so that their crashes, hangs and memory stay out of ours.

Run by path with `python -P child.py SECONDS MEMORY_BYTES`: it imports nothing of this project. It
reads requests from stdin and writes replies to stdout, each a JSON header line, then (in requests)
the document's bytes. It ends when stdin closes, when idle, or when a limit is reached; how it ended
tells the parent why. `SIGALRM` keeps its default action: a hang in native code cannot hold it up.
"""

import json
import os
import re
import resource
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from typing import Any

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
        reply = _answer(content, **request)
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


def _answer(content: bytes, media_type: str, paged: bool, markdown: bool, titled: bool) -> dict[str, Any]:
    try:
        reply = extract(content, media_type, paged=paged, markdown=markdown)
        if titled:
            text = extract(content, media_type, paged=False, markdown=True)["text"]
            reply["titles"] = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return reply
    except MemoryError:
        return {"error": "memory"}
    except Exception as exc:  # the parsers raise whatever they like; the parent gives it a name
        return {"error": str(exc)}


def extract(content: bytes, media_type: str, *, paged: bool, markdown: bool) -> dict[str, Any]:
    """Give `title` and either `text` or, for paged formats, `pages` as [number, text] pairs."""
    import kreuzberg

    # The marker cannot be guessed, so that no document can forge a page.
    nonce = secrets.token_hex(8)
    marker = f"\n{nonce}{{page_num}};\n"
    languages = _ocr_languages()
    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        output_format="markdown" if markdown else "plain",
        pages=kreuzberg.PageConfig(extract_pages=True, insert_page_markers=True, marker_format=marker)
        if paged
        else None,
        ocr=kreuzberg.OcrConfig(backend="tesseract", language=languages) if languages else None,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    result = kreuzberg.extract_bytes_sync(content, media_type, config=config)
    reply: dict[str, Any] = {"title": result.metadata.get("title")}
    if not paged:
        return reply | {"text": result.content}
    before, *rest = re.split(rf"\n?{nonce}(\d+);\n?", result.content)
    pages = [[int(number), text] for number, text in zip(rest[::2], rest[1::2], strict=True)]
    return reply | {"pages": pages or [[1, before]]}


@cache
def _ocr_languages() -> str:
    """Point the built-in recogniser at an installed tesseract's data; "" without one."""
    if not (tesseract := shutil.which("tesseract")):
        return ""
    listed = subprocess.run([tesseract, "--list-langs"], capture_output=True, text=True, check=False)  # noqa: S603
    first, *languages = listed.stdout.splitlines() or [""]
    if found := re.search(r'"(.+)"', first):
        os.environ["TESSDATA_PREFIX"] = found[1]
    return "+".join(name for name in languages if name != "osd")


def _leave_with(parent: int) -> None:
    """End when the parent is gone, also in the middle of a document."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
