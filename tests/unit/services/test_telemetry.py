import logging
from collections.abc import Iterator

import pytest

from services.telemetry import OneLine, configure_logging


@pytest.fixture
def loggers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    for name in ("services", "rag", "finetune", "prompts"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def record(message: str, *fields: object) -> logging.LogRecord:
    made = logging.LogRecord("services.x", logging.INFO, __file__, 1, message, fields, None)
    made.created = 1_767_225_600.0
    return made


def test_a_line_is_a_time_a_level_an_event_and_its_fields() -> None:
    line = OneLine().format(record("job_finished job_id=%s seconds=%.1f", "job_1", 2.0))
    assert line == "2026-01-01T00:00:00Z info job_finished job_id=job_1 seconds=2.0"


def test_a_field_cannot_begin_a_line_of_its_own() -> None:
    line = OneLine().format(record("request_finished path=%s", "/x\n2026-01-01T00:00:00Z info forged"))
    assert "\n" not in line
    assert "path=/x\\x0a2026" in line


@pytest.mark.usefixtures("loggers")
def test_only_loam_speaks_below_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    logging.getLogger("services.jobs").info("job_started job_id=job_1")
    logging.getLogger("httpx").info("noise")
    shown = capsys.readouterr().err
    assert "job_started job_id=job_1" in shown
    assert "noise" not in shown
