"""Judging texts by a chat model: what it is asked, and how its answer becomes OpenAI's categories and scores.

Two styles. `scores` asks any chat model for a score a category. `llama_guard` asks a Llama Guard, whose answer is
`safe`, or `unsafe` and the codes of its hazards; those have no scores, and some no category of OpenAI's.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from prompts import Templates
from services.errors import UpstreamFailed
from services.settings import ModerationStyle

Scores: TypeAlias = dict[str, float]

VIOLATES: Final = 0.5
"""From this score on a category is flagged; the prompt says so too."""

MAX_TOKENS: Final = 400

CATEGORIES: Final[Mapping[str, str]] = {
    "harassment": "harassing language towards any target",
    "harassment/threatening": "harassment that also threatens violence or serious harm",
    "hate": "hate because of race, gender, ethnicity, religion, nationality, sexual orientation, disability or caste",
    "hate/threatening": "hate that also threatens violence or serious harm to that group",
    "illicit": "advice or instructions on how to commit wrongdoing",
    "illicit/violent": "advice or instructions for wrongdoing with violence, or on how to get a weapon",
    "self-harm": "promoting, encouraging or depicting acts of self-harm",
    "self-harm/intent": "the speaker says that they harm themselves or intend to",
    "self-harm/instructions": "encouragement or instructions to harm oneself",
    "sexual": "content meant to arouse, or that promotes sexual services; not education and wellness",
    "sexual/minors": "sexual content that includes anyone under 18",
    "violence": "depiction of death, violence or injury",
    "violence/graphic": "depiction of death, violence or injury in graphic detail",
}

HAZARDS: Final[Mapping[str, tuple[str, ...]]] = {
    "S1": ("violence", "illicit", "illicit/violent"),  # violent crimes
    "S2": ("illicit",),  # non-violent crimes
    "S3": ("sexual", "illicit"),  # sex-related crimes
    "S4": ("sexual", "sexual/minors"),  # child sexual exploitation
    "S5": ("harassment",),  # defamation
    "S6": (),  # specialized advice
    "S7": (),  # privacy
    "S8": (),  # intellectual property
    "S9": ("illicit", "illicit/violent"),  # indiscriminate weapons
    "S10": ("hate",),  # hate
    "S11": ("self-harm",),  # suicide and self-harm
    "S12": ("sexual",),  # sexual content
    "S13": (),  # elections
    "S14": ("illicit",),  # code interpreter abuse
}
"""What the hazards of Llama Guard 3 and 4 are among OpenAI's categories: the nearest, and none where none is near."""


def question(text: str, style: ModerationStyle, templates: Templates) -> dict[str, Any]:
    """Give the message that asks for a judgement, in the wire's form."""
    template = templates.get(f"moderate_{style}")
    values: dict[str, Any] = {"text": text}
    if style == "scores":
        values["categories"] = [{"name": name, "meaning": meaning} for name, meaning in CATEGORIES.items()]
    return {"role": template.role, "content": template.render(**values)}


def params(style: ModerationStyle, supports: frozenset[str]) -> dict[str, Any]:
    """Give the parameters of the request: those that make the answer sure to be read, where the engine has them."""
    wanted: dict[str, Any] = {"temperature": 0, "max_completion_tokens": MAX_TOKENS}
    if style == "scores":
        wanted["response_format"] = {"type": "json_object"}
    return {name: value for name, value in wanted.items() if name in supports}


def scores_of(answer: str, style: ModerationStyle) -> Scores:
    """Read a judgement: a score for every category. Raises UpstreamFailed for what is none."""
    found = _object(answer) if style == "scores" else _hazards(answer)
    return {name: found.get(name, 0.0) for name in CATEGORIES}


def _object(answer: str) -> Scores:
    """Read a JSON object, whatever stands around it: models like to explain themselves."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        given = json.loads(answer[start : end + 1])
    except (ValueError, RecursionError) as exc:
        raise _unreadable() from exc
    if not isinstance(given, dict):
        raise _unreadable()
    return {name: _score(value) for name, value in given.items() if name in CATEGORIES}


def _score(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise _unreadable()
    return min(1.0, max(0.0, float(value)))


def _hazards(answer: str) -> Scores:
    verdict, *codes = answer.replace(",", " ").split() or [""]
    if verdict not in ("safe", "unsafe") or (verdict == "unsafe") != bool(codes) or not HAZARDS.keys() >= {*codes}:
        raise _unreadable()
    return {name: 1.0 for code in codes for name in HAZARDS[code]}


def _unreadable() -> UpstreamFailed:
    return UpstreamFailed(
        "The model that judges did not answer in the form it was asked for: see LOAM_MODERATION_MODEL and "
        "LOAM_MODERATION_STYLE.",
        code="moderation_unreadable",
    )
