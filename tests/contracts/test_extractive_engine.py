"""What of the contract of engines goes for the extractive one, which writes no words of its own."""

import pytest

from prompts import Templates
from services.engines.extractive import Extractive
from tests.contracts import test_engine as contract
from tests.fakes.embedder import WordEmbedder

test_a_stream_says_what_the_whole_says = contract.test_a_stream_says_what_the_whole_says
test_a_client_that_goes_frees_its_slot = contract.test_a_client_that_goes_frees_its_slot
test_stop_strings_never_leak = contract.test_stop_strings_never_leak


@pytest.fixture
def subject() -> Extractive:
    embedder = WordEmbedder()
    return Extractive(lambda: embedder, Templates())
