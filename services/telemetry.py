"""Logs: a line on stderr is a time, a level, one event name and `key=value` fields.

    2026-01-31T12:00:00Z info request_finished request_id=req_1 status=200

Document text, prompts and keys are never fields.
"""

import logging
import time

FORMAT = "%(asctime)s %(level)s %(message)s"
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


class OneLine(logging.Formatter):
    """Keeps a record on one line whatever its fields hold; a traceback follows on its own lines."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.level = record.levelname.lower()
        record.message = record.message.translate(_ESCAPES)
        return super().formatMessage(record)


def configure_logging(level: str) -> None:
    """Send the logs of this process to stderr, from `level` up. Other libraries speak up from warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("services", "rag", "finetune", "prompts"):
        logging.getLogger(name).setLevel(level.upper())
