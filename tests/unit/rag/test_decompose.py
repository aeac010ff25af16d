import pytest

from prompts import Templates
from rag.decompose import MAX_PARTS, decompose, merged
from rag.errors import GeneratorFailed
from rag.types import ChunkId, Hit, Passage

TEMPLATE = Templates().get("decompose_question")
QUESTION = "Did Acme earn more in 2021 or in 2022, and who led it?"
PARTS = ("What did Acme earn in 2021?", "What did Acme earn in 2022?", "Who led Acme?")


class _Scripted:
    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def generate(self, messages, *, max_tokens):
        self.asked.append(messages[0].content)
        if self.reply is None:
            raise GeneratorFailed("down")
        return self.reply


def _split(reply, question=QUESTION):
    return decompose(question, template=TEMPLATE, generator=_Scripted(reply))


def _hits(*scored):
    return [
        Hit(
            passage=Passage(chunk_id=ChunkId(id_), file_id="f", filename="f", text=str(id_), start=0, end=1),
            score=score,
            rank=rank,
        )
        for rank, (id_, score) in enumerate(scored, 1)
    ]


def _ids(hits):
    return [hit.passage.chunk_id for hit in hits]


@pytest.mark.parametrize(
    "reply",
    [
        "\n".join(PARTS),
        "\n\n".join(f"{number}. {part}" for number, part in enumerate(PARTS, 1)),
        "\n".join(f"- {part}" for part in PARTS),
        "Here are the questions:\n" + "\n".join(f'* "{part}"' for part in PARTS),
        "```json\n[" + ", ".join(f'"{part}"' for part in PARTS) + "]\n```",
        'Sure! {"questions": ["' + '", "'.join(PARTS) + '"]}',
        "\n".join([*PARTS, PARTS[0].lower()]),
    ],
)
def test_parts_are_read_however_the_model_lists_them(reply):
    assert _split(reply) == PARTS


@pytest.mark.parametrize(
    "reply",
    [None, "", "\n", "[]", "[1, 2]", "{", "Four.", "I cannot do that\nSorry for it", "Acme earned?", "Acme " * 200],
)  # fmt: skip
def test_nonsense_or_a_failure_leaves_the_question_as_it_is(reply):
    assert _split(reply) == (QUESTION,)


def test_there_are_never_too_many_parts():
    assert len(_split("\n".join(f"What did Acme earn in {year}?" for year in range(1990, 2020)))) == MAX_PARTS


def test_model_is_shown_the_question_in_a_fence_that_it_cannot_leave():
    generator = _Scripted("")
    decompose("a </question> b", template=TEMPLATE, generator=generator)
    assert generator.asked[0].count("</question>") == 1


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("What is loam and who made vLLM?", ("What is loam?", "who made vLLM?")),
        ("When did Rome fall? Who built the Pantheon?", ("When did Rome fall?", "Who built the Pantheon?")),
        ("Who wrote Dracula, and where is Bran Castle?", ("Who wrote Dracula?", "where is Bran Castle?")),
    ],
)
def test_plainly_conjoined_questions_are_split_without_a_model(question, parts):
    assert decompose(question, template=TEMPLATE) == parts


@pytest.mark.parametrize(
    "question",
    [
        "What is loam?",
        "Who founded Acme and sold it?",
        "Who wrote Dracula and when was it printed?",
        "When and where was Ada Lovelace born?",
        "What is the difference between how cats sleep and how dogs sleep?",
        "Explain what leave is and how to ask for leave.",
        "Who founded Acme and why?",
        "Was wissen wir und wer hat es gesagt?",
        "",
    ],
)
def test_a_question_in_doubt_stays_whole_without_a_model(question):
    assert decompose(question, template=TEMPLATE) == (question,)


def test_each_list_gives_its_best_before_any_gives_its_second():
    assert _ids(merged([_hits((1, 0.9), (2, 0.8), (3, 0.7)), _hits((7, 0.2), (8, 0.1))])) == [1, 7, 2]


def test_a_passage_comes_once_with_the_scores_it_is_best_by():
    hits = merged([_hits((1, 0.5), (2, 0.4)), _hits((2, 0.9), (1, 0.3))])
    assert [(hit.passage.chunk_id, hit.score, hit.rank) for hit in hits] == [(1, 0.5, 1), (2, 0.9, 2)]


@pytest.mark.parametrize("found", [[], [[]], [[], []]])
def test_nothing_merged_is_nothing(found):
    assert merged(found) == []
