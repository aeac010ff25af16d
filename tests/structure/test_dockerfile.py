"""The files of deploy/ are well formed, and the Dockerfile's own commands work in a clean folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
INSTRUCTION = re.compile(r"^(RUN|COPY|ENV|USER|HEALTHCHECK|VOLUME|ARG) +(.*)$", re.MULTILINE)
NEEDS_ROOT_OF_AN_IMAGE = ("apt-get", "useradd")


def instructions(kind: str) -> list[str]:
    return [value for found, value in INSTRUCTION.findall(DOCKERFILE) if found == kind]


def tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def test_dockerfile_passes_its_linter() -> None:
    ran = subprocess.run([tool("hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("", 0)


def test_the_image_copies_every_package_and_nothing_that_is_not_there() -> None:
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert copied >= {"services", "rag", "finetune", "prompts"}
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_runs_without_root_and_says_when_it_is_healthy() -> None:
    assert instructions("USER") == ["10001"]
    assert instructions("VOLUME") == ["/data"]
    assert "/healthz" in " ".join(instructions("HEALTHCHECK"))


def test_compose_publishes_on_loopback_and_sets_only_what_exists() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["loam"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert {name.removeprefix("LOAM_").lower() for name in service["environment"]} <= Settings.model_fields.keys()
    assert service["volumes"][0].split(":")[0] in compose["volumes"]


def test_the_unit_is_accepted_by_systemd(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    unit = (DEPLOY / "loam.service").read_text(encoding="utf-8")
    (tmp_path / "loam.service").write_text(unit.replace("/opt/loam/.venv/bin/loam serve", "/bin/true"))
    ran = subprocess.run([analyze, "verify", str(tmp_path / "loam.service")], capture_output=True, text=True)
    assert (ran.stderr, ran.returncode) == ("", 0)


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_the_commands_of_the_dockerfile_install_a_loam_that_answers(tmp_path: Path) -> None:
    """In order, as the image would, with pip's own index and the build's Python for the image's."""
    bin_ = tmp_path / "python"
    bin_.mkdir()
    (bin_ / "python").symlink_to(Path(sys.executable).resolve())
    image = tmp_path / "opt"
    image.mkdir()
    path = os.pathsep.join([str(image / ".venv" / "bin"), str(bin_), os.environ["PATH"]])
    # Bytecode of what is never run takes pip a minute. (This false is a yes: pip's "Boolean options" say why.)
    environment = {**os.environ, "PATH": path, "TORCH_INDEX": "", "PIP_NO_COMPILE": "false"}
    for kind, value in INSTRUCTION.findall(DOCKERFILE):
        if kind == "COPY":
            copy(value.split(), image)
        elif kind == "RUN" and not any(word in value for word in NEEDS_ROOT_OF_AN_IMAGE):
            subprocess.run(["bash", "-o", "pipefail", "-ec", value], cwd=image, env=environment, check=True)
    ran = subprocess.run([image / ".venv/bin/loam", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.startswith("loam, version ")


def copy(words: list[str], image: Path) -> None:
    *sources, target = words
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, image / target)
        else:
            shutil.copy(ROOT / source, image / target)
