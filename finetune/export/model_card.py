"""The README of an exported model: what it is made of, how, and how well that was shown."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from finetune.adapter import Manifest
from finetune.export.fidelity import Fidelity
from finetune.source import FENCE

UNKNOWN = "unknown"
METHODS = {
    "supervised": "supervised fine-tuning",
    "dpo": "direct preference optimization",
    "kto": "Kahneman-Tversky optimization",
    "reward": "reward modelling",
    "embedding": "contrastive tuning of an embedder",
}


def model_card(name: str, manifest: Manifest, *, dtype: str | None = None, fidelity: Fidelity | None = None) -> str:
    """Give the README in Markdown, with the hub's front matter; `dtype` None is of an adapter by itself."""
    parts = [
        f"{FENCE}\n{yaml.safe_dump(_front_matter(manifest, merged=dtype is not None), sort_keys=False)}{FENCE}\n",
        f"# {name}\n\n{_opening(manifest, dtype)}\n",
        _table("What it was made of", _origin(manifest)),
        _table("How it was tuned", _tuning(manifest)),
        _table("What was measured", {key: f"{value:.4g}" for key, value in sorted(manifest.metrics.items())}),
        f"## Parity of serving with training\n\n{_parity(manifest.parity)}\n",
    ]
    if dtype is not None:
        parts.append(f"## Merging\n\n{_merging(manifest, dtype, fidelity)}\n")
    parts.append(f"## Licence\n\n{_license(manifest)}\n")
    return "\n".join(parts)


def base_name(manifest: Manifest) -> str:
    """Give the base as others may know it: a folder's name, for its path is of use on one machine only."""
    return Path(manifest.base).name if Path(manifest.base).is_absolute() else manifest.base


def _front_matter(manifest: Manifest, *, merged: bool) -> dict[str, Any]:
    matter: dict[str, Any] = {
        "license": manifest.base_license or UNKNOWN,
        "base_model": base_name(manifest),
        "base_model_relation": "finetune" if merged else "adapter",
        "library_name": "transformers" if merged else "peft",
        "tags": ["loam", manifest.method],
    }
    if manifest.kind in ("adapter", "full"):
        matter["pipeline_tag"] = "text-generation"
    return matter


def _opening(manifest: Manifest, dtype: str | None) -> str:
    method = METHODS.get(manifest.method, manifest.method)
    made = f"{base_name(manifest)} after {method} with loam"
    if dtype is None:
        return f"{made}: what the tuning made, as it is served."
    whole = "with the adapter merged into its weights" if manifest.kind == "adapter" else "tuned as a whole"
    return f"{made}, {whole}, in {dtype}. Plain transformers loads it."


def _origin(manifest: Manifest) -> dict[str, Any]:
    return {
        "Base": base_name(manifest),
        "Revision of the base": manifest.base_revision,
        "sha256 of the base": manifest.base_sha256,
        "Went on from": manifest.parent,
        "sha256 of the training file": manifest.data_sha256,
        "sha256 of the validation file": manifest.validation_sha256,
        "sha256 of the chat template": manifest.template_sha256,
        "sha256 of the tokenizer": manifest.tokenizer_sha256,
        **{f"Version of {name}": version for name, version in sorted(manifest.versions.items())},
    }


def _tuning(manifest: Manifest) -> dict[str, Any]:
    settings = {key: value for key, value in manifest.settings.items() if key != "lora"}
    lora = {f"lora.{key}": value for key, value in (manifest.settings.get("lora") or {}).items()}
    told = {"steps": manifest.steps, "trained_tokens": manifest.trained_tokens, "dtype": manifest.dtype}
    return {**settings, **lora, **told}


def _table(title: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value is not None]
    body = "\n".join(["| | |", "|---|---|", *lines]) if lines else "Nothing."
    return f"## {title}\n\n{body}\n"


def _parity(parity: Mapping[str, Any] | None) -> str:
    if parity is None:
        return "Not measured."
    mean, agreement, apart = (
        parity.get(figure) for figure in ("mean_logprob_difference", "greedy_agreement", "kl_per_token")
    )
    off = "an unknown amount" if mean is None else f"{mean:.1e}"
    lines = [
        f"{'Passed' if parity['passed'] else 'Failed'}, with the tuned model as loam serves it, not with these files.",
        "",
        f"* {parity['identical']} of {parity['sequences']} sequences were rendered to the very tokens of training.",
        f"* Logprobs of {parity['learned_tokens']:,} learned tokens differ by {off} on average "
        f"({parity['tolerance']:.0e} is tolerated).",
        *(f"* {reason['text']}" for reason in parity["reasons"]),
    ]
    if apart is not None:
        lines.append(f"* The KL divergence of what is expected next is {apart:.1e} nats a token.")
    if agreement is not None:
        lines.append(f"* Greedy answers agree in {agreement:.1%} of {parity['greedy_tokens']:,} tokens.")
    return "\n".join(lines)


def _merging(manifest: Manifest, dtype: str, fidelity: Fidelity | None) -> str:
    return "\n\n".join(_merging_parts(manifest, dtype, fidelity))


def _merging_parts(manifest: Manifest, dtype: str, fidelity: Fidelity | None) -> Iterator[str]:
    if manifest.kind == "adapter":
        over = (
            "the dequantized NF4 weights" if manifest.quantization == "nf4" else f"the base's {manifest.dtype} weights"
        )
        yield f"The adapter was added in float32 to {over} that it was trained over, and the sums rounded to {dtype}."
    else:
        yield f"The tuned weights, in {dtype}."
    if fidelity is None:
        yield "How near this is to the model as it is served was not measured: there is no record of its training."
    else:
        yield (
            f"Against the model as it is served, over {fidelity.tokens:,} learned tokens: a KL divergence of "
            f"{fidelity.kl_per_token:.2e} nats a token on average, {fidelity.largest_kl:.2e} at most, and the same "
            f"likeliest token in {fidelity.greedy_agreement:.2%}."
        )


def _license(manifest: Manifest) -> str:
    if manifest.base_license is None:
        return (
            "Unknown: the base's README names no licence. Find out what the base may be used for before you pass on "
            "what was made of it."
        )
    return f"The base is under {manifest.base_license}, which what was made of it has to follow."
