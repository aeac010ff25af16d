"""Tuned models over a vLLM server: proved to be read as they were taught, and rendered by loam.

vLLM would render a conversation by rules of its own, with the template of the base. So it is given the text that
training's renderer makes, as the one variable of a template that says nothing else; what is left to the server is to
make tokens of it, which is tried out with each adapter that it takes.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.adapter import Manifest, base_hash
from finetune.errors import FinetuneError
from finetune.tokenizer import load_tokenizer
from prompts.chat_format import render, template_of
from prompts.errors import ChatFormatError
from services.engines.engine import ChatRequest
from services.engines.local.passport import ModelMismatch, check_passport
from services.engines.messages import plain_message
from services.errors import BadRequest, NotReady

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VERBATIM: Final = "{{ rendered }}"
PROBE: Final = [{"role": "user", "content": " Ünï\u00e7ode,\ttabs \n\n and 0123 <b>&amp;</b> {{ x }} of\u3000words  "}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tuned model to serve over a base: its name, its folder with adapter and tokenizer, and its passport.

    One that is `forced` is served though it does not fit that.
    """

    id: str
    folder: Path
    manifest: Manifest
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Speaker:
    """A tuned model that a server has taken, with its tokenizer and chat template."""

    tuned: Tuned
    tokenizer: "PreTrainedTokenizerBase"

    def rendered(self, request: ChatRequest) -> ChatRequest:
        """Give the request with its prompt as training would write it. Raises BadRequest."""
        params = dict(request.params)
        add = params.pop("add_generation_prompt", True)
        plain = [plain_message(message, place) for place, message in enumerate(request.messages)]
        text, _ = self.prompt(plain, params.get("tools") or (), prompt=bool(add))
        return replace(request, params={**params, **verbatim(text)})

    def prompt(self, messages: Any, tools: Any = (), *, prompt: bool = True) -> tuple[str, list[int]]:
        """Give the text of a prompt and its tokens, by the renderer that training uses."""
        try:
            template = template_of(self.tokenizer, tools=bool(tools))
            learned = [False] * len(messages)
            made = render(messages, tools, template, self.tokenizer, learned=learned, prompt=prompt)
        except ChatFormatError as exc:
            raise BadRequest(str(exc), param="messages", code="chat_template") from exc
        if not made.token_ids:
            raise BadRequest("The conversation comes to no text at all.", param="messages")
        return made.text, made.token_ids


def verbatim(text: str) -> dict[str, Any]:
    """Give the fields of a chat request that make vLLM read a text as it is."""
    return {"chat_template": VERBATIM, "chat_template_kwargs": {"rendered": text}}


def checked(tuned: Tuned, base: Path) -> Speaker:
    """Hold a tuned model's passport against the base that a server serves. Raises ModelMismatch, BadRequest, NotReady.

    The tokenizer is asked for twice: as it lies with the adapter, and as it lies with the base, where vLLM takes it.
    """
    if tuned.manifest.kind != "adapter":
        raise BadRequest(
            f"The model {tuned.id!r} is no adapter: it cannot be served over a base. Add its folder as a model of its "
            "own, with --engine vllm.",
            param="model",
        )
    try:
        base_sha256 = base_hash(base)
        tokenizer, of_base = load_tokenizer(str(tuned.folder)), load_tokenizer(str(base))
    except (OSError, FinetuneError) as exc:
        raise NotReady(str(exc), param="model", code="model_unavailable") from exc
    check_passport(tuned.id, tuned.manifest, base_sha256=base_sha256, tokenizer=tokenizer, forced=tuned.forced)
    # Only its tokens count here: the template is always that of the tuned model.
    of_base.chat_template = tokenizer.chat_template
    check_passport(tuned.id, tuned.manifest, base_sha256=base_sha256, tokenizer=of_base, forced=tuned.forced)
    return Speaker(tuned, tokenizer)


def rank_of(folder: Path) -> int:
    """Give the largest rank in an adapter. Raises NotReady."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return max(int(rank) for rank in (config["r"], *(config.get("rank_pattern") or {}).values()))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise NotReady(f"The adapter in {str(folder)!r} cannot be read.", code="model_unavailable") from exc


def mismatch(tuned: Tuned, why: str) -> ModelMismatch:
    return ModelMismatch(f"The model {tuned.id!r} is not served: {why}", param="model", code="model_mismatch")
