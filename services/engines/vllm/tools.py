"""How a vLLM server is told what loam promises of calls: which of its parsers reads them, and that they fit.

Without a parser (`--tool-call-parser`) vLLM refuses `tools` unless a call is required, and leaves it to whoever starts
it to know which. The chat template says it: its form of calls is found as for local models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from finetune.errors import ModelUnavailable
from finetune.tokenizer import load_tokenizer
from prompts.errors import ChatFormatError
from services.engines.local.frames import frame_of
from services.engines.local.schemas import ANY_OBJECT
from services.errors import BadRequest

PARSERS: Final = {
    ("<tool_call>", '", "arguments": '): "hermes",
    ("[TOOL_CALLS]", '", "arguments": '): "mistral",
    ("", '", "parameters": '): "llama3_json",
}
"""By what shows that calls begin, and what stands between a call's name and its arguments."""

_TEMPLATES: Final = ("chat_template.jinja", "tokenizer_config.json")


def parsing_calls(folder: Path) -> list[str]:
    """Give the arguments that let a server read the calls of the model in a folder; none where no parser fits."""
    # To load a tokenizer takes seconds, and most templates that know of no tools do not name them.
    if not any("tools" in _text(folder / name) for name in _TEMPLATES):
        return []
    try:
        frame = frame_of(load_tokenizer(str(folder)))
    except (BadRequest, ChatFormatError, ModelUnavailable):
        return []
    parser = PARSERS.get((frame.mark, frame.between))
    return ["--enable-auto-tool-choice", "--tool-call-parser", parser] if parser else []


def held(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Hold a call that must be made to its function's schema: vLLM does so only where the function is `strict`."""
    tools = params.get("tools")
    if not isinstance(tools, list) or params.get("tool_choice") in (None, "auto", "none"):
        return params
    return {**params, "tools": [_strict(tool) for tool in tools]}


def _strict(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    parameters = function.get("parameters") or {"properties": {}, "additionalProperties": False}
    if isinstance(parameters, Mapping):
        # Arguments are an object, also where the schema does not say so.
        parameters = {**ANY_OBJECT, **parameters}
    return {**tool, "function": {**function, "parameters": parameters, "strict": True}}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
