"""Text out of the formats that need a native parser, read in a process of their own."""

import atexit
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from rag.errors import FileTooLarge, InvalidFile
from rag.parse.formats import Format, Reading
from rag.parse.limits import ParseLimits
from rag.parse.refusals import encrypted
from rag.parse.tessdata import find_recognition

CHECKPOINT_S = 0.5

log = logging.getLogger(__name__)

_OVER_LIMIT = re.compile(r"memory|security limit|os error 1[12]\b")
_CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What a parser gave: its pages in order (one for formats without), and titles where it has them."""

    pages: tuple[tuple[int, str], ...]
    title: str | None
    slide_titles: tuple[str, ...] = ()


def extract(
    content: bytes, form: Format, filename: str, limits: ParseLimits, checkpoint: Callable[[], None]
) -> Extracted:
    """Read a document. Raises InvalidFile with the reason when it cannot be read, and what `checkpoint` raises."""
    recognition = find_recognition()
    request = {
        "media_type": form.media_type,
        "paged": form.reading in (Reading.PAGES, Reading.OCR),
        "markdown": form.reading is Reading.MARKDOWN,
        "titled": form.titled,
        "recognition": recognition and asdict(recognition),
    }
    reply = _process.ask(request, content, filename, limits, checkpoint)
    if "error" in reply:
        raise _refusal(str(reply["error"]), filename)
    if recognition is None and (bare := reply.get("bare")):
        log.warning("pages_without_text filename=%r pages=%s hint=%r", filename, bare, "tesseract-ocr reads scans")
    pages = reply.get("pages") or [[1, reply["text"]]]
    return Extracted(
        pages=tuple((int(number), str(text)) for number, text in pages),
        title=reply["title"] or None,
        slide_titles=tuple(reply.get("titles", ())),
    )


def close() -> None:
    """End the parser process; the next document starts another."""
    _process.close()


class _ParserProcess:
    """One child, started when first needed and used again; callers take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._limits: ParseLimits | None = None

    def ask(
        self,
        request: dict[str, Any],
        content: bytes,
        filename: str,
        limits: ParseLimits,
        checkpoint: Callable[[], None],
    ) -> dict[str, Any]:
        with self._lock:
            reply = self._exchange(request, content, limits, checkpoint)
            # It may have left for idleness, or been killed for another's memory: once more, with a new one.
            if reply is None and self._ended() != -signal.SIGALRM:
                reply = self._exchange(request, content, limits, checkpoint)
            if reply is None:
                raise self._death(filename, limits)
            return reply

    def close(self) -> None:
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """Drop the child without ending it: after a fork it is the parent's."""
        self._lock = threading.Lock()
        self._child = None

    def _exchange(
        self, request: dict[str, Any], content: bytes, limits: ParseLimits, checkpoint: Callable[[], None]
    ) -> dict[str, Any] | None:
        child = self._running(limits)
        assert child.stdin and child.stdout
        try:
            child.stdin.write(json.dumps(request | {"bytes": len(content)}).encode() + b"\n")
            child.stdin.write(content)
            child.stdin.flush()
            _wait(child.stdout, checkpoint)
            line = child.stdout.readline()
        except BrokenPipeError:
            return None
        except BaseException:
            # Its reply would be taken for that to the next document.
            self._stop()
            raise
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def _running(self, limits: ParseLimits) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None or self._limits != limits:
            self._stop()
            self._child, self._limits = _start(limits), limits
        return self._child

    def _ended(self) -> int:
        return self._child.wait() if self._child else 0

    def _death(self, filename: str, limits: ParseLimits) -> InvalidFile:
        if self._ended() == -signal.SIGALRM:
            return InvalidFile(f"{filename!r} took longer than {limits.seconds} s to read.", hint="Split it.")
        return InvalidFile(
            f"{filename!r} is damaged or needs more memory than is allowed: its parser broke off.",
            hint="Save it again or split it.",
        )

    def _stop(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.communicate()
        self._child = None


def _wait(reply: IO[bytes], checkpoint: Callable[[], None]) -> None:
    """Wait until there is something to read, or the end."""
    with selectors.DefaultSelector() as selector:
        selector.register(reply, selectors.EVENT_READ)
        while not selector.select(CHECKPOINT_S):
            checkpoint()


def _start(limits: ParseLimits) -> "subprocess.Popen[bytes]":
    # -P keeps this folder off the path; its own session keeps Ctrl-C from it: it ends with its pipe.
    command = [sys.executable, "-P", str(_CHILD), str(limits.seconds), str(limits.memory_bytes)]
    return subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _refusal(reason: str, filename: str) -> InvalidFile:
    lowered = reason.lower()
    if "password" in lowered or "encrypt" in lowered:
        return encrypted(filename)
    if _OVER_LIMIT.search(lowered):
        return FileTooLarge(f"{filename!r} needs more memory to read than is allowed.", hint="Split it.")
    # "ParsingError: Invalid PDF: PdfiumInternalError: Invalid PDF" says one thing: "Invalid PDF".
    said = dict.fromkeys(part for part in reason.partition("\n")[0].split(": ") if not part.endswith("Error"))
    return InvalidFile(f"{filename!r} is damaged ({': '.join(said)[:160]}).", hint="Save it again.")


_process = _ParserProcess()
atexit.register(close)
os.register_at_fork(after_in_child=_process.forget)
