"""`loam doctor`: what this machine has, what works and what to do about what does not."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from services.cli.output import print_json
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from rag.encoders.cross_entail import CrossEntailment
    from rag.encoders.cross_rerank import CrossReranker
    from services.settings import Settings
    from services.wiring import Services

LOW_DISK_BYTES = 1024**3
LOOK_S = 60.0
GOLDEN_TEXTS = ("The invoice is due in thirty days.", "Payment must arrive within a month.", "Whales are mammals.")
MARKS = {"ok": "✓", "note": "·", "failed": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `failed` stops loam from working; a `note` is something it can do without."""

    name: str
    state: Literal["ok", "note", "failed"]
    detail: str


@click.command()
@json_option
@pass_session
def doctor(session: Session, as_json: bool) -> None:
    """Check that everything needed is there and works."""
    findings = []
    for finding in _examine(session):
        findings.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.state]} {finding.name}: {finding.detail}")
    healthy = all(finding.state != "failed" for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    click.get_current_context().exit(0 if healthy else 1)


def _examine(session: Session) -> Iterator[Finding]:
    yield _python()
    yield _cpu()
    yield _tesseract()
    yield _gpu()
    read = _attempt("settings", lambda: _settings(session.settings))
    yield read
    if read.state == "failed":
        return
    yield _attempt("disk", lambda: _disk(session.settings))
    opened = _attempt("home", lambda: _home(session.settings))
    yield opened
    if opened.state == "failed":
        return
    with ExitStack() as held:
        try:
            services = held.enter_context(session.services())
        except Exception as exc:
            yield _broken("database", exc)
            return
        yield _attempt("database", lambda: _database(services))
        yield _attempt("embedder", lambda: _embedder(services))
        if services.settings.reranker is not None:
            yield _attempt("reranker", lambda: _cross_encoder("reranker", services.reranker))
        if services.settings.entailment is not None:
            yield _attempt("entailment", lambda: _cross_encoder("entailment", services.entailment))
        yield _attempt("exposure", lambda: _exposure(services))
        yield _engines(services.settings)
        yield _attempt("models", lambda: _models(services))
        if services.settings.vllm_python or any(model.starts_vllm for model in services.settings.models):
            yield _attempt("vllm", lambda: _vllm(services.settings))


def _attempt(name: str, look: Callable[[], Finding]) -> Finding:
    """A check that raises has found what is broken: the error says it."""
    try:
        return look()
    except Exception as exc:
        return _broken(name, exc)


def _broken(name: str, error: Exception) -> Finding:
    return Finding(name, "failed", (str(error) or type(error).__name__).splitlines()[0])


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", "ok" if supported else "note", version if supported else f"{version}; 3.11-3.13 is tested")


def _cpu() -> Finding:
    import psutil

    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    has = [flag for flag in wanted if flag in _cpu_flags()]
    memory_gb = psutil.virtual_memory().total / 1024**3
    return Finding("cpu", "ok", f"{psutil.cpu_count()} cores, {memory_gb:.0f} GB, {' '.join(has) or 'no vector flags'}")


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next((set(line.split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return set()


def _settings(settings: "Settings") -> Finding:
    return Finding("settings", "ok", f"home {settings.home}, default model {settings.default}")


def _disk(settings: "Settings") -> Finding:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    return Finding("disk", "ok" if free > LOW_DISK_BYTES else "note", f"{free / 1024**3:.1f} GB free at {place}")


def _tesseract() -> Finding:
    from rag.parse.tessdata import find_recognition

    found = find_recognition()
    missing = "not installed: the text of scanned pages and images cannot be read (package tesseract-ocr)"
    told = f"{found.languages.replace('+', ', ')} in {found.folder}" if found else missing
    return Finding("tesseract", "ok" if found else "note", told)


def _gpu() -> Finding:
    found = shutil.which("nvidia-smi")
    return Finding("gpu", "ok" if found else "note", found or "none: everything here runs on the CPU")


def _home(settings: "Settings") -> Finding:
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = settings.home / ".doctor"
    probe.write_bytes(b"")
    probe.unlink()
    return Finding("home", "ok", f"{settings.home} is writable")


def _database(services: "Services") -> Finding:
    from sqlalchemy import text

    if services.database.is_postgres:
        return _postgres(services)
    with services.database.read() as database:
        verdict = str(database.execute(text("PRAGMA integrity_check(1)")).scalar())
    if verdict != "ok":
        return Finding("database", "failed", f"damaged: {verdict}. Restore a backup.")
    return Finding("database", "ok", "sqlite, schema up to date, integrity ok")


def _postgres(services: "Services") -> Finding:
    from sqlalchemy import text

    from services.storage.postgres.indexes import pgvector_version

    with services.database.read() as database:
        version = str(database.execute(text("SHOW server_version")).scalar()).split()[0]
    pgvector = pgvector_version(services.database)
    where = f"PostgreSQL {version} at {services.database.url.host or 'this machine'}, schema up to date"
    if pgvector is None:
        return Finding("database", "note", f"{where}, no pgvector: indexes are files in the home, for one machine")
    kept = "files" if services.settings.indexes == "files" else "in the database"
    return Finding("database", "ok", f"{where}, pgvector {pgvector}, indexes {kept}")


def _embedder(services: "Services") -> Finding:
    """Two sentences of one meaning must lie nearer each other than a third: broken weights fail this."""
    embedder = services.embedder
    due, payment, whales = embedder.embed(GOLDEN_TEXTS)
    if not due @ payment > due @ whales:
        return Finding("embedder", "failed", f"{embedder.name} gives vectors without meaning. Delete its cache.")
    return Finding("embedder", "ok", f"{embedder.name}, {embedder.dimensions} dimensions ({embedder.id})")


def _cross_encoder(use: str, opened: "CrossReranker | CrossEntailment | None") -> Finding:
    assert opened is not None, "the settings name it"
    return Finding(use, "ok", f"{opened.name} ({opened.id})")


def _exposure(services: "Services") -> Finding:
    from services.auth import check_exposure, keys_required

    check_exposure(services.settings, services.database)
    required = keys_required(services.settings)
    return Finding("exposure", "ok", f"{services.settings.host}, {'keys required' if required else 'no key needed'}")


def _engines(settings: "Settings") -> Finding:
    hosted = []
    if settings.groq_api_key is not None:
        hosted.append("groq")
    if settings.openai_api_key is not None or settings.openai_base_url is not None:
        hosted.append("openai")
    missing = [name for name in hosted if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("engines", "failed", f"{', '.join(missing)}: the package is not installed")
    return Finding("engines", "ok", ", ".join(["extractive", *hosted]))


def _models(services: "Services") -> Finding:
    """Look for the weights of models that name a directory; those of a hub are fetched when they are asked."""
    from services.errors import BadRequest
    from services.models import local_source
    from services.storage.models import added_settings, list_models
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.tuned_models import list_tuned_models

    with services.database.read() as database:
        added = [added_settings(row) for row in list_models(database, DEFAULT_PROJECT)]
        tuned = list_tuned_models(database, DEFAULT_PROJECT)
    weights = [one for one in (*services.settings.models, *added) if one.is_weights]
    problems = [f"{row.id}: There is no directory {row.folder!r}." for row in tuned if not Path(row.folder).is_dir()]
    for one in weights:
        try:
            local_source(one.source)
        except BadRequest as exc:
            problems.append(f"{one.id}: {exc}")
    if problems:
        return Finding("models", "failed", f"{' '.join(problems)} Bring it back, or: loam models remove ID")
    return Finding("models", "ok", f"{len(weights)} of weights here or of a hub, {len(tuned)} tuned")


def _vllm(settings: "Settings") -> Finding:
    from services.engines.vllm.launch import python_with_vllm

    python = python_with_vllm(settings)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    found = subprocess.run([python, "-P", "-c", look], timeout=LOOK_S, check=False).returncode == 0  # noqa: S603
    return Finding("vllm", "ok" if found else "failed", f"{python}" if found else f"{python} has no vLLM: make vllm")
