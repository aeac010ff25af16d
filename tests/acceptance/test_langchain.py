"""LangChain's standard tests of chat models pass, with its OpenAI client pointed at loam."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.serving import Server, serving
from tests.fakes.able_model import answer
from tests.fakes.tiny_model import tiny_model
from tests.fakes.upstream import Upstream

pytestmark = pytest.mark.acceptance

SUITE = Path(__file__).parents[1] / "langchain"
SETTINGS = """
models:
  - {{id: able, engine: openai, source: able-model, base_url: "{url}/v1"}}
  - {{id: able-too, engine: openai, source: able-model, base_url: "{url}/v1"}}
  - {{id: tiny, engine: local, source: "{base}"}}
  - {{id: tiny-too, engine: local, source: "{base}"}}
"""
SKIPPED = {
    "test_pdf_inputs": "no model here reads anything but text",
    "test_audio_inputs": "no model here reads anything but text",
    "test_image_inputs": "no model here reads anything but text",
    "test_image_tool_message": "no model here reads anything but text",
    "test_pdf_tool_message": "no model here reads anything but text",
    "test_anthropic_inputs": "the client writes OpenAI's messages, not Anthropic's",
    "test_stream_time": "it times against answers recorded from a provider",
}
SKIPPED_LOCALLY = {
    **dict.fromkeys(
        (
            "test_tool_calling", "test_tool_calling_async", "test_bind_runnables_as_tools", "test_tool_choice",
            "test_tool_message_histories_string_content", "test_tool_message_histories_list_content",
            "test_tool_calling_with_no_arguments", "test_tool_message_error_status", "test_agent_loop",
            "test_structured_few_shot_examples", "test_unicode_tool_call_integration",
        ),
        "random weights do not put what was asked into a call",
    ),
    **dict.fromkeys(
        (
            "test_structured_output", "test_structured_output_async", "test_structured_output_pydantic_2_v1",
            "test_structured_output_optional_param", "test_json_mode",
        ),
        "random weights come to the end of no string in time",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("langchain") / "home"
    home.mkdir()
    base = tiny_model(tmp_path_factory.mktemp("models") / "tiny", template="qwen3")
    upstream = Upstream(answer)
    (home / "loam.yaml").write_text(SETTINGS.format(url=upstream.url, base=base))
    with serving(home) as server:
        yield server
    upstream.close()


def outcomes(loam: Server, kind: str, report: Path) -> dict[str, set[str]]:
    """Run the suite for one kind of model, and give the names of its tests by what became of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", SUITE / "pytest.ini", "-p", "no:cacheprovider"]
    command += [f"--junit-xml={report}", f"{SUITE / 'standard.py'}::{kind}"]
    environment = os.environ | {"LOAM_BASE_URL": loam.base_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found: dict[str, set[str]] = {"skipped": set(), "passed": set()}
    for case in ET.parse(report).iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        found["passed" if case.find("skipped") is None else "skipped"].add(name)
    return found


def test_before_an_able_model(loam: Server, tmp_path: Path) -> None:
    found = outcomes(loam, "TestBeforeAnAbleModel", tmp_path / "report.xml")
    assert found["skipped"] == SKIPPED.keys()
    assert {"test_tool_calling", "test_structured_output", "test_json_mode", "test_agent_loop"} <= found["passed"]


def test_with_a_local_model(loam: Server, tmp_path: Path) -> None:
    found = outcomes(loam, "TestLocally", tmp_path / "report.xml")
    assert found["skipped"] == SKIPPED.keys() | SKIPPED_LOCALLY.keys()
    assert {"test_stream", "test_batch", "test_conversation", "test_usage_metadata_streaming"} <= found["passed"]
