"""Serving at its plainest, to hold parity against: transformers and PEFT, one request at a time, no server."""

import json
from pathlib import Path
from typing import Any

from prompts.chat_format import render


class PlainServing:
    """Answers chat completions as `finetune.parity` asks for them, in vLLM's words."""

    def __init__(
        self,
        base: Path,
        adapter: Path | None = None,
        *,
        quantization: str = "none",
        dtype: str = "float32",
        template: str | None = None,
        roles: dict[str, str] | None = None,
        tokenizer: Any = None,
    ) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoTokenizer

        from finetune.model import Base, load_model

        self.tokenizer = tokenizer or AutoTokenizer.from_pretrained(base)
        self._template = template or self.tokenizer.chat_template
        self._roles = roles or {}
        model: Any = load_model(
            Base(source=str(base)), quantization=quantization, device="cpu", dtype=getattr(torch, dtype)
        )
        self._model = PeftModel.from_pretrained(model, adapter).eval() if adapter is not None else model

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = self._prompt(body)
        answer: dict[str, Any] = {"prompt_token_ids": ids, "choices": [{"token_ids": self._greedy(ids, body)}]}
        if "prompt_logprobs" in body:
            answer["prompt_logprobs"] = self._logprobs(ids)
        return answer

    def _prompt(self, body: dict[str, Any]) -> list[int]:
        messages = [{**_parsed(one), "role": self._roles.get(one["role"], one["role"])} for one in body["messages"]]
        prompt = body.get("add_generation_prompt", True)
        return render(messages, body.get("tools", []), self._template, self.tokenizer, prompt=prompt).token_ids

    def _logprobs(self, ids: list[int]) -> list[dict[str, Any] | None]:
        import torch

        with torch.inference_mode():
            told = self._model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        entries = [
            {str(token): {"logprob": float(told[place, token]), "decoded_token": self.tokenizer.decode([token])}}
            for place, token in enumerate(ids[1:])
        ]
        return [None, *entries]

    def _greedy(self, ids: list[int], body: dict[str, Any]) -> list[int]:
        import torch

        given = torch.tensor([ids])
        whole = self._model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=body["max_tokens"],
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        return list(map(int, whole[0, len(ids) :]))


def _parsed(message: dict[str, Any]) -> dict[str, Any]:
    """Chat templates take the arguments of a call as an object."""
    calls = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls", ())
    ]
    return {**message, **({"tool_calls": calls} if calls else {})}
