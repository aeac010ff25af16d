"""What must stay light stays light, and the locks hold nothing for a GPU."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = {"torch", "transformers", "sentence_transformers"}
SERVER = {"fastapi", "starlette", "uvicorn", "openai", "groq"}
DATA = {"sqlalchemy", "alembic", "numpy", "faiss", "openvino", "kreuzberg", "pydantic"}


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}


def test_help_imports_nothing_heavy() -> None:
    show_help = "from services.cli.main import cli; cli(['--help'], standalone_mode=False)"
    assert imported_by(show_help) & (TORCH | SERVER | DATA) == set()


@pytest.mark.parametrize("module", ["services.search", "rag.answer", "rag.encoders.embed", "services.cli.ask"])
def test_the_query_path_imports_neither_torch_nor_a_server(module: str) -> None:
    assert imported_by(f"import {module}") & (TORCH | SERVER) == set()


def test_the_api_imports_no_torch() -> None:
    assert imported_by("import services.api.app") & TORCH == set()


def test_to_list_find_and_delete_local_models_imports_no_torch(tmp_path: Path) -> None:
    statement = f"""
from pathlib import Path
from services.removal import remove_tuned
from services.settings import ModelSettings, Settings
from services.storage.tuned_models import put_tuned_model
from services.wiring import open_services
from tests.fakes.tuned import MANIFEST

declared = ModelSettings(id="own", engine="local", source="Qwen/Qwen3-4B", quantization="nf4")
services = open_services(Settings(home=Path({str(tmp_path)!r}), models=(declared,)))
with services.database.write() as session:
    put_tuned_model(session, "default", "ft:a", parent="own", folder=Path("a"), manifest=MANIFEST)
assert {{"own", "ft:a"}} < {{model.id for model in services.router.models("default")}}
assert services.router.resolve("default", "own").engine.name == "local"
assert services.router.resolve("default", "ft:a").generative
remove_tuned(services, "default", "ft:a")
services.close()
"""
    assert imported_by(statement) & TORCH == set()


def test_what_makes_and_works_on_fine_tuning_jobs_imports_no_torch(tmp_path: Path) -> None:
    """It starts processes that do: a server must neither wait for torch nor hold its memory."""
    statement = (
        "from pathlib import Path\n"
        "from services.settings import Settings\n"
        "from services.wiring import open_services\n"
        f"services = open_services(Settings(home=Path({str(tmp_path)!r})))\n"
        "services.tuning, services.new_tuning_worker(), services.new_worker()"
    )
    assert imported_by(statement) & (TORCH | {"matplotlib"}) == set()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_exactly_and_hold_no_cuda_package(lock: str) -> None:
    lines = [line for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if not line.startswith("-r ")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert [line for line in lines if line.startswith(("nvidia", "cuda", "triton"))] == []


def test_torch_is_locked_without_the_name_of_a_build() -> None:
    assert "torch==2.13.0" in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
