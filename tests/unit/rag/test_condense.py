import pytest

from prompts import Message, Templates
from rag.condense import condense
from rag.errors import GeneratorFailed

TEMPLATE = Templates().get("condense_question")
TALK = [Message("user", "How do I renew my passport?"), Message("assistant", "At the town hall. [1]")]


class _Scripted:
    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def generate(self, messages, *, max_tokens):
        self.asked.append(messages[0].content)
        if self.reply is None:
            raise GeneratorFailed("down")
        return self.reply


def test_first_question_is_left_alone():
    assert condense("And how long does it take?", [], template=TEMPLATE) == "And how long does it take?"


def test_question_that_points_back_is_joined_to_the_one_it_points_to():
    found = condense("And how long does it take?", TALK, template=TEMPLATE)
    assert found == "How do I renew my passport? And how long does it take?"


def test_question_that_stands_alone_is_left_alone_within_a_conversation():
    question = "Which documents are needed for a driving licence?"
    assert condense(question, TALK, template=TEMPLATE) == question


@pytest.mark.parametrize("question", ["Why?", "How much?", "And for children?", "What about Sundays?", "Is it free?"])
def test_question_that_is_none_by_itself_is_a_follow_up(question):
    assert condense(question, TALK, template=TEMPLATE) == f"How do I renew my passport? {question}"


@pytest.mark.parametrize("question", ["quit", "🚀", "Driving licence?", "Who is the mayor?", "Where is the town hall?"])
def test_short_question_on_a_new_subject_is_left_alone(question):
    assert condense(question, TALK, template=TEMPLATE) == question


def test_chain_of_follow_ups_goes_back_to_the_question_that_stood_alone():
    talk = [*TALK, Message("user", "And what does it cost?"), Message("assistant", "60 euros. [1]")]
    assert condense("Why?", talk, template=TEMPLATE) == "How do I renew my passport? Why?"


def test_generator_rewrites_when_there_is_one():
    generator = _Scripted(" How long does a passport renewal take? ")
    found = condense("And how long does it take?", TALK, template=TEMPLATE, generator=generator)
    assert found == "How long does a passport renewal take?"
    assert "user: How do I renew my passport?" in generator.asked[0]


def test_generator_that_fails_or_says_nothing_does_not_lose_the_question():
    question = "And how long does it take?"
    assert condense(question, TALK, template=TEMPLATE, generator=_Scripted("")) == question
    joined = condense(question, TALK, template=TEMPLATE, generator=_Scripted(None))
    assert joined == "How do I renew my passport? And how long does it take?"
