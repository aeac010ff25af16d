"""A Modelfile for Ollama, whose templates are Go's while a model's own is Jinja's.

The one cannot be translated into the other. What a chat template writes can be looked at, though: if it writes one
message after the other, each in its role's frame, that can be said in Go. Where it does more, no template is given.
Ollama's template language: https://docs.ollama.com/template, its Modelfile: https://docs.ollama.com/modelfile.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from finetune.export.frames import Frame, Frames, frames_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUOTES = '"""'
MISSING = """\
# No TEMPLATE is given: this model's chat template does more than to put messages one after the other, which loam
# cannot say in Ollama's own template language. Write one (https://docs.ollama.com/template) that gives what
# chat_template.jinja gives, before you use the model in Ollama: without it, or with one that Ollama guesses, the model
# is asked in a form that it was not trained on."""
GIVEN = """\
# This template gives what chat_template.jinja gives of plain conversations: those without tools and without thoughts
# in earlier answers, whose texts do not begin or end with spaces or line breaks."""
NO_SYSTEM = "# The model's chat template refuses system messages; here they are left out."
BOS_ADDED = """\
# Ollama puts the token {bos!r} before every text, by the word of tokenizer_config.json (add_bos_token), and this
# model's chat template does not: set add_bos_token to false there before you make a model of this."""


def modelfile(tokenizer: "PreTrainedTokenizerBase", *, ends: Iterable[str], adds_bos: bool) -> str:
    """Give a Modelfile to lie beside the weights; `ends` are the tokens that end an answer, as text.

    `adds_bos` says whether Ollama puts the BOS token before a text by itself.
    """
    lines = ["FROM .", ""]
    frames = frames_of(tokenizer)
    bos = str(tokenizer.bos_token or "") if adds_bos else ""
    template = go_template(frames.without_beginning(bos)) if frames else None
    if frames is None or template is None:
        lines += [MISSING, ""]
    else:
        lines += [GIVEN]
        lines += [NO_SYSTEM] if frames.system is None and frames.within is None else []
        lines += [BOS_ADDED.format(bos=bos)] if bos and not frames.begins_with(bos) else []
        lines += [f"TEMPLATE {QUOTES}{template}{QUOTES}", ""]
    lines += [f'PARAMETER stop "{end}"' for end in dict.fromkeys(ends) if '"' not in end]
    return "\n".join(lines).rstrip() + "\n"


def go_template(frames: Frames) -> str | None:
    """Give the frames in Go's words, None where a Modelfile cannot hold what they write."""
    texts = [text for text in frames.texts() if text]
    if any(mark in text for text in texts for mark in ("{{", "}}", QUOTES)) or frames.prompt.endswith('"'):
        return None
    lead, default, branches = "", "", []
    if frames.within is not None:
        # Ollama keeps the system message among the others, as the first.
        lead = f"{{{{ if and $.System (eq $place 1) }}}}{_around(frames.within, '{{ $.System }}')}{{{{ end }}}}"
    if frames.system is not None:
        branches.append(f'if eq .Role "system" }}}}{_around(frames.system)}')
        if frames.default_system is not None:
            default = f"{{{{ if not .System }}}}{_around(frames.system, frames.default_system)}{{{{ end }}}}"
    before, after = frames.user
    branches.append(f'if eq .Role "user" }}}}{before}{lead}{{{{ .Content }}}}{after}')
    branches.append(f'if eq .Role "assistant" }}}}{_around(frames.assistant)}')
    turns = "{{ " + "{{ else ".join(branches) + "{{ end }}"
    return f"{frames.begin}{default}{{{{ range $place, $_ := .Messages }}}}{turns}{{{{ end }}}}{frames.prompt}"


def _around(frame: Frame, said: str = "{{ .Content }}") -> str:
    return f"{frame[0]}{said}{frame[1]}"
