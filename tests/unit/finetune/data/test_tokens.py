from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.data.tokens import IGNORED, Encoder, NothingLearned, Row, encode, length_of
from finetune.errors import InvalidDataset
from finetune.types import Preference, Supervised, Turn, Unpaired
from prompts.errors import ChatFormatError
from tests.fakes.tokenizer import tiny_tokenizer

# A message is one token for its role, one for each letter, and one for its end.
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MARKS = "<|user|><|assistant|>"
ASKED = Turn(role="user", content="q")
ANSWER = Turn(role="assistant", content="x", trained=True)
OTHER = Turn(role="assistant", content="y", trained=True)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer(f"{{# {MARKS} #}}{TEMPLATE}")


def words(tokenizer: Any, row: Row, ids: str, mask: str | None = None) -> str:
    kept = row[ids] if mask is None else [token for token, one in zip(row[ids], row[mask], strict=True) if one]
    return str(tokenizer.decode(kept))


def test_only_what_is_trained_is_learned(tokenizer: Any) -> None:
    untrained = Turn(role="assistant", content="x")
    row = Encoder(tokenizer).row(Supervised(messages=(ASKED, untrained, ASKED, ANSWER)))
    learned = [token for token in row["labels"] if token != IGNORED]
    assert tokenizer.decode(learned) == "x<|im_end|>"
    assert row["labels"][-2:] == row["input_ids"][-2:]
    assert len(row["labels"]) == len(row["input_ids"]) == length_of(row)


def test_in_an_answer_of_several_turns_the_users_are_not_learned(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer)
    row = encoder.row(Preference(prompt=(ASKED,), chosen=(ANSWER, ASKED, ANSWER), rejected=(OTHER,)))
    assert words(tokenizer, row, "chosen_ids", "chosen_mask") == "x<|im_end|>x<|im_end|>"
    assert words(tokenizer, row, "rejected_ids", "rejected_mask") == "y<|im_end|>"
    assert encoder.learned == 6


def test_a_labelled_answer_is_split_where_learning_begins(tokenizer: Any) -> None:
    row = Encoder(tokenizer).row(Unpaired(prompt=(ASKED,), completion=(ANSWER,), label=False))
    assert words(tokenizer, row, "prompt_ids") == "<|user|>q<|im_end|><|assistant|>"
    assert words(tokenizer, row, "completion_ids", "completion_mask") == "x<|im_end|>"
    assert (row["label"], length_of(row)) == (False, 6)


def test_a_sequence_over_the_limit_loses_its_end(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, limit=5)
    row = encoder.row(Supervised(messages=(ASKED, ANSWER)))
    assert words(tokenizer, row, "input_ids") == "<|user|>q<|im_end|><|assistant|>x"
    assert (encoder.cut, encoder.learned) == (1, 1)


def test_a_pair_that_is_cut_twice_is_one_example(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, limit=5)
    encoder.row(Preference(prompt=(ASKED,), chosen=(ANSWER,), rejected=(OTHER,)))
    assert encoder.cut == 1


def test_what_leaves_nothing_to_learn_is_refused(tokenizer: Any) -> None:
    with pytest.raises(NothingLearned, match="the limit of 4 tokens cuts everything") as caught:
        Encoder(tokenizer, limit=4).row(Supervised(messages=(ASKED, ANSWER)))
    assert caught.value.code == "cut_target"


def test_all_tokens_are_learned_if_so_asked(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, learn_all=True)
    row = encoder.row(Supervised(messages=(ASKED, ANSWER)))
    assert row["labels"] == row["input_ids"]
    assert encoder.learned == 5


def test_a_file_becomes_rows_in_its_order(tmp_path: Path, tokenizer: Any, write: Callable[..., Path]) -> None:
    chats = [chat("q", "x"), chat("x", "yy")]
    tokens = encode(write(*chats), Encoder(tokenizer), method="supervised", into=tmp_path / "rows" / "a.arrow")
    assert [tokenizer.decode(row["input_ids"]) for row in tokens.rows] == [
        "<|user|>q<|im_end|><|assistant|>x<|im_end|>",
        "<|user|>x<|im_end|><|assistant|>yy<|im_end|>",
    ]
    assert tokens.longest == max(tokens.lengths) == length_of(tokens.rows[1])
    assert tokens.learned == 2 + length_of(tokens.rows[1]) - 4
    assert len(tokens.file.sha256) == 64


def test_every_example_that_cannot_be_learned_from_is_told(
    tmp_path: Path, tokenizer: Any, write: Callable[..., Path]
) -> None:
    chats = [chat("q", "x"), chat("qqqq", "x"), chat("q", "y"), chat("x" * 9, "x")]
    with pytest.raises(InvalidDataset) as caught:
        encode(write(*chats), Encoder(tokenizer, limit=6), method="supervised", into=tmp_path / "a.arrow")
    assert [(problem.code, problem.place.line) for problem in caught.value.problems] == [
        ("cut_target", 2),
        ("cut_target", 4),
    ]


def test_a_file_of_another_method_is_told(tmp_path: Path, tokenizer: Any, write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidDataset, match="is a file for supervised, and the method is dpo"):
        encode(write(chat("q", "x")), Encoder(tokenizer), method="dpo", into=tmp_path / "a.arrow")


def test_a_tokenizer_without_a_template_is_told_at_once() -> None:
    with pytest.raises(ChatFormatError, match="has no chat template"):
        Encoder(tiny_tokenizer(None))


def chat(asked: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
