import pytest

from rag.chunk import ChunkingStrategy
from services.generations import TRANSITIONS, changed_chunking, move
from services.storage.tables import GenerationRow, GenerationState

LIVE = GenerationRow(chunking={"max_tokens": 192, "overlap_tokens": 0, "whole_tokens": 800})


def test_every_state_says_what_follows() -> None:
    assert set(TRANSITIONS) == set(GenerationState)


def test_only_a_verified_generation_goes_live() -> None:
    assert {state for state, following in TRANSITIONS.items() if GenerationState.LIVE in following} == {"ready"}


def test_a_way_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="that is live cannot become building"):
        move(GenerationRow(state="live"), GenerationState.BUILDING)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ((None, None), None),
        ((300, None), ChunkingStrategy(max_tokens=300)),
        ((300, 40), ChunkingStrategy(max_tokens=300, overlap_tokens=40)),
        ((None, 40), ChunkingStrategy(max_tokens=192, overlap_tokens=40, whole_tokens=800)),
    ],
)
def test_what_is_not_given_of_the_chunking_stays(
    given: tuple[int | None, int | None], made: ChunkingStrategy | None
) -> None:
    assert changed_chunking(LIVE, *given) == made
