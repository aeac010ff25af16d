"""Generation without loam: transformers and PEFT by themselves, to hold the local engine against."""

from pathlib import Path
from typing import Any

from finetune.model import Base, load_model
from finetune.tokenizer import load_tokenizer
from prompts.chat_format import render, template_of
from tests.fakes.local import QUESTION


class Plain:
    """transformers and PEFT by themselves."""

    def __init__(
        self, base: Path, adapter: Path | None = None, *, quantization: Any = "none", device: str = "cpu"
    ) -> None:
        self.tokenizer = load_tokenizer(str(base))
        self.model: Any = load_model(Base(source=str(base)), quantization=quantization, device=device)
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).eval()

    def prompt(self, *messages: dict[str, Any], prompt: bool = True) -> list[int]:
        rendered = render(messages or (QUESTION,), (), template_of(self.tokenizer), self.tokenizer, prompt=prompt)
        return rendered.token_ids

    def generated(self, *messages: dict[str, Any], **options: Any) -> list[int]:
        import torch

        ids = torch.tensor([self.prompt(*messages)], device=self.model.device)
        mask = torch.ones_like(ids)
        options = {"max_new_tokens": 12, "do_sample": False} | options
        whole = self.model.generate(input_ids=ids, attention_mask=mask, **options)
        return list(map(int, whole[0, ids.shape[1] :]))

    def logprobs(self, ids: list[int]) -> Any:
        """Give what a forward pass says of each place, float32 [n, vocabulary]."""
        import torch

        with torch.inference_mode():
            return self.model(input_ids=torch.tensor([ids], device=self.model.device)).logits[0].float().log_softmax(-1)
