"""A trace of three learned tokens, of the text `<s>system: Hi user: Yo bot: a b c`, and a serving told what to say."""

from collections.abc import Mapping
from typing import Any

from finetune.parity.trace import Continuation, Trace

PIECES = {
    1: "<s>",
    2: "system:",
    3: " Hi",
    4: " user:",
    5: " Yo",
    6: " bot:",
    7: " a",
    8: " b",
    9: " c",
    10: "developer:",
}
IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9]
TRACE = Trace(
    split="training",
    index=4,
    messages=[
        {"role": "system", "content": "Hi"},
        {"role": "user", "content": "Yo"},
        {"role": "assistant", "content": "a b c"},
    ],
    tools=[],
    token_ids=IDS,
    mask=[False] * 6 + [True] * 3,
    pieces=[PIECES[token] for token in IDS],
    logprobs=[-1.0, -2.0, -3.0],
    untuned_logprobs=[-4.0, -4.0, -4.0],
    cut=False,
    dtype="float32",
    quantization="none",
    bos_token_id=1,
    likeliest=[[(7, -1.0)], [(8, -2.0)], [(9, -3.0)]],
    continuation=Continuation(turn=2, prompt_token_ids=IDS[:6], token_ids=[7, 8, 9], margins=[1.0, 1.0, 0.001]),
)


class Serving:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(
        self,
        token_ids: list[int] | None = None,
        logprobs: list[float] | None = None,
        prompt: list[int] | None = None,
        answer: list[int] | None = None,
        pieces: Mapping[int, str] = PIECES,
    ) -> None:
        self._ids = IDS if token_ids is None else token_ids
        given = [-1.0, -2.0, -3.0] if logprobs is None else logprobs
        self._logprobs = [0.0] * (len(self._ids) - 1 - len(given)) + given
        self._prompt = IDS[:6] if prompt is None else prompt
        self._answer = [7, 8, 9] if answer is None else answer
        self._pieces = pieces
        self.asked: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        if "prompt_logprobs" not in body:
            return {"prompt_token_ids": self._prompt, "choices": [{"token_ids": self._answer}]}
        told = zip(self._ids[1:], self._logprobs, strict=True)
        entries = [{str(token): {"logprob": value, "decoded_token": self._pieces[token]}} for token, value in told]
        return {"prompt_token_ids": self._ids, "prompt_logprobs": [None, *entries], "choices": [{"token_ids": [0]}]}
