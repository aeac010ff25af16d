"""The wheel holds the packages and what they read, nothing else, and works outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "rag", "finetune", "prompts")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), "."]
    subprocess.run(command, cwd=source, check=True)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `loam` of a clean environment that borrows this one's dependencies but not its loam."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    site_packages = next((environment / "lib").glob("python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--force-reinstall", "--ignore-installed", str(wheel)], check=True)
    return environment / "bin" / "loam"


def test_wheel_holds_the_packages_and_never_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_wheel_carries_every_file_that_the_packages_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*")}
    wanted = {path for path in wanted if not path.endswith((".md", ".pyc")) and (ROOT / path).is_file()}
    assert wanted - held == set()


def test_installed_loam_answers_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    document = tmp_path / "leave.md"
    document.write_text("# Leave\n\nEmployees have thirty days of leave a year.\n")
    environment = {**os.environ, "LOAM_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)

    def loam(*words: str) -> str:
        ran = subprocess.run([installed, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert loam("--version").startswith("loam, version ")
    loam("ingest", str(document), "--store", "handbook")
    answer = json.loads(loam("ask", "How many days of leave do employees have?", "--store", "handbook", "--json"))
    assert answer["citations"][0]["quote"] in document.read_text()
