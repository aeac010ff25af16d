"""A store's index is made anew beside the live one and switched to whole; the one before is there to go back to."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from rag.chunk import ChunkingStrategy
from rag.errors import EmbedderMismatch
from rag.ports import Vectors
from services.embedders import Embedders
from services.errors import BadRequest, NotFound
from services.jobs import queue
from services.storage.documents import delete_document, delete_store
from services.storage.tables import DEFAULT_PROJECT, ChunkRow, DocumentRow, GenerationRow, VectorStoreRow
from services.storage.vector_stores import create_store, find_store
from services.wiring import Services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.indexed import (
    SMALL,
    begin,
    cosines,
    done,
    errors,
    filled,
    generations_with_documents,
    ingest,
    live,
    problems,
    roll_back,
    row_of,
    run_jobs,
    states,
    update,
    vectors_are_all_used,
    write,
)
from tests.fakes.two_embedders import TUNED, Tuned, Two

OTTERS = " ".join(f"Otters number {number} swim in rivers." for number in range(60))


class Acting(Tuned):
    """Does something once, in the middle of a making."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def embed(self, texts: Sequence[str]) -> Vectors:
        act, self._act = self._act, lambda: None
        act()
        return super().embed(texts)


@pytest.fixture
def tuned() -> Tuned:
    return Tuned()


@pytest.fixture
def both(services: Services, tuned: Tuned) -> Services:
    services.embedders = Two(services, tuned)
    return services


@pytest.fixture
def store(both: Services, tmp_path: Path) -> str:
    return filled(both, tmp_path / "docs")


def meanwhile(services: Services, act: Callable[[], None]) -> None:
    services.embedders = Two(services, Acting(act))


def chunks(services: Services, generation_id: int) -> int:
    with services.database.read() as session:
        return len(session.scalars(select(ChunkRow.id).where(ChunkRow.generation_id == generation_id)).all())


def delete_named(services: Services, filename: str) -> None:
    with services.database.write() as session:
        delete_document(session, session.scalars(select(DocumentRow).where(DocumentRow.filename == filename)).one())


def test_a_store_is_searched_with_its_new_embedder_alone(both: Services, store: str) -> None:
    assert cosines(both, store)["pipes.txt"] == 0
    update(both, store, embedder=TUNED)
    assert cosines(both, store)["pipes.txt"] > 0.4
    assert (live(both, store).embedder, problems(both, store)) == (TUNED, [])


def test_no_file_is_read_again(both: Services, store: str) -> None:
    for sha256 in list(both.blobs.all()):
        both.blobs.delete(sha256)
    update(both, store, embedder=TUNED)
    assert cosines(both, store)["pipes.txt"] > 0.4


def test_other_chunks_use_the_vectors_that_are_known(both: Services, store: str) -> None:
    embedder = both.embedder = WordEmbedder()
    update(both, store, chunking=SMALL)
    assert (embedder.seen, live(both, store).chunking["max_tokens"]) == ([], 100)


def test_documents_are_cut_as_the_store_says_and_as_was_asked_for_them(
    both: Services, store: str, tmp_path: Path
) -> None:
    write(tmp_path / "docs", "otters.txt", OTTERS)
    ingest(both, store, tmp_path / "docs")
    before = chunks(both, live(both, store).id)
    update(both, store, chunking=SMALL)
    assert chunks(both, live(both, store).id) > before
    write(tmp_path / "more", "others.txt", OTTERS.replace("Otters", "Others"))
    coarse = ChunkingStrategy(max_tokens=2000)
    ingest(both, store, tmp_path / "more", coarse)
    after = chunks(both, live(both, store).id)
    update(both, store, chunking=ChunkingStrategy(max_tokens=100, overlap_tokens=20))
    with both.database.read() as session:
        other = session.scalars(select(DocumentRow.seq).where(DocumentRow.filename == "others.txt")).one()
        cut = session.scalars(select(ChunkRow.id).where(ChunkRow.document_seq == other)).all()
    assert len(cut) == 2, "one chunk in each of two generations"
    assert chunks(both, live(both, store).id) > after - 1


def test_what_is_as_wanted_already_is_left_alone(both: Services, store: str) -> None:
    assert begin(both, store, embedder="words") is None
    assert states(both) == [(1, "live")]


def test_searches_see_the_live_generation_until_the_switch(both: Services, store: str) -> None:
    seen: list[float] = []
    meanwhile(both, lambda: seen.append(cosines(both, store, "copper")["pipes.txt"]))
    before = cosines(both, store, "copper")["pipes.txt"]
    update(both, store, embedder=TUNED)
    assert seen == [before]


def test_documents_that_come_change_and_go_meanwhile_are_in_both(both: Services, store: str, tmp_path: Path) -> None:
    def act() -> None:
        write(tmp_path / "docs", "coins.txt", "a metal coin\n")
        write(tmp_path / "docs", "pipes.txt", "leaden pipes\n")
        ingest(both, store, tmp_path / "docs")
        delete_named(both, "ships.txt")
        assert set(cosines(both, store)) == {"coins.txt", "pipes.txt"}

    meanwhile(both, act)
    update(both, store, embedder=TUNED)
    assert set(cosines(both, store)) == {"coins.txt", "pipes.txt"}
    assert cosines(both, store, "copper")["coins.txt"] > 0.4
    assert cosines(both, store, "leaden")["pipes.txt"] > 0.4
    assert (problems(both, store), vectors_are_all_used(both)) == ([], True)


def test_what_was_read_for_the_old_generation_and_stored_after_the_switch_is_in_the_new_one(
    both: Services, store: str, tmp_path: Path
) -> None:
    class Slow(WordEmbedder):
        """The store gets its other generation while this one embeds."""

        def embed(self, texts: Sequence[str]) -> Vectors:
            if "a metal coin" in texts:
                update(both, store, embedder=TUNED)
            return super().embed(texts)

    both.embedder = Slow()
    write(tmp_path / "docs", "coins.txt", "a metal coin\n")
    ingest(both, store, tmp_path / "docs")
    assert cosines(both, store, "copper")["coins.txt"] > 0.4
    assert (problems(both, store), vectors_are_all_used(both)) == ([], True)


def test_a_search_that_began_before_the_switch_is_answered_from_one_generation(both: Services, store: str) -> None:
    """Of one that is not kept too: then the search is begun again on the live one."""
    both.settings = both.settings.model_copy(update={"index_generations_kept": 0})
    began, may_go_on = threading.Event(), threading.Event()

    class Waiting(WordEmbedder):
        @property
        def dimensions(self) -> int:  # type: ignore[override]
            # Asked for between the look at the store and the reading of its vectors.
            began.set()
            may_go_on.wait(10)
            return 64

    both.embedder = Waiting()
    found: list[dict[str, float]] = []
    searching = threading.Thread(target=lambda: found.append(cosines(both, store)))
    searching.start()
    assert began.wait(10)
    update(both, store, embedder=TUNED)
    may_go_on.set()
    searching.join(10)
    assert found[0]["pipes.txt"] > 0.4
    assert [state for _, state in states(both)] == ["live"]


def test_a_rollback_brings_back_the_old_one_with_what_has_changed_since(
    both: Services, store: str, tmp_path: Path
) -> None:
    update(both, store, embedder=TUNED)
    write(tmp_path / "docs", "coins.txt", "a metal coin\n")
    write(tmp_path / "docs", "pipes.txt", "leaden pipes\n")
    ingest(both, store, tmp_path / "docs")
    delete_named(both, "ships.txt")
    embedder = both.embedder = WordEmbedder()
    roll_back(both, store)
    assert (live(both, store).id, states(both)) == (1, [(1, "live"), (2, "retired")])
    assert set(cosines(both, store)) == {"coins.txt", "pipes.txt"}
    assert sorted(embedder.seen) == ["a metal coin", "leaden pipes", "metal"]
    assert (problems(both, store), vectors_are_all_used(both)) == ([], True)


def test_a_rollback_can_be_rolled_back(both: Services, store: str) -> None:
    update(both, store, embedder=TUNED)
    roll_back(both, store)
    roll_back(both, store)
    assert live(both, store).embedder == TUNED


def test_where_nothing_was_live_before_there_is_no_rollback(both: Services, store: str) -> None:
    with pytest.raises(BadRequest, match="no generation to go back to"):
        roll_back(both, store)


@pytest.mark.parametrize(("kept", "left"), [(0, [3]), (1, [2, 3]), (2, [1, 2, 3])])
def test_so_many_generations_are_kept(both: Services, store: str, kept: int, left: list[int]) -> None:
    both.settings = both.settings.model_copy(update={"index_generations_kept": kept})
    update(both, store, embedder=TUNED)
    update(both, store, chunking=SMALL)
    assert [id_ for id_, _ in states(both)] == left
    folders = {int(path.name) for path in (both.settings.indexes_dir / store).glob("*")}
    assert (generations_with_documents(both), folders <= set(left)) == (set(left), True)
    assert vectors_are_all_used(both)


def test_a_making_goes_on_where_it_was_broken_off(both: Services, store: str, tmp_path: Path) -> None:
    class Killed(Tuned):
        def embed(self, texts: Sequence[str]) -> Vectors:
            if any("word8x" in text for text in texts):
                raise KeyboardInterrupt
            return super().embed(texts)

    for number in range(9):
        words = " ".join(f"word{number}x{word}." for word in range(2_000))
        write(tmp_path / "docs", f"{number}.txt", words)
    ingest(both, store, tmp_path / "docs")
    both.embedders = Two(both, Killed())
    begun = begin(both, store, embedder=TUNED)
    assert begun is not None
    with pytest.raises(KeyboardInterrupt):
        run_jobs(both)
    assert live(both, store).embedder == "words"
    already = done(both, begun.id)
    assert already > 0
    both.embedders = Two(both, again := Tuned())
    run_jobs(both)
    assert live(both, store).embedder == TUNED
    assert not any("word0x" in text for text in again.seen)


def test_a_making_that_is_called_off_leaves_nothing(both: Services, store: str) -> None:
    def cancel() -> None:
        with both.database.write() as session:
            both.generations.cancel(session, session.get_one(VectorStoreRow, row_of(both, store).seq))

    meanwhile(both, cancel)
    update(both, store, embedder=TUNED)
    assert (states(both), generations_with_documents(both)) == ([(1, "live")], {1})
    assert (cosines(both, store, "copper")["pipes.txt"] > 0.4, vectors_are_all_used(both)) == (True, True)


def test_a_rollback_that_is_called_off_can_be_asked_for_again(both: Services, store: str) -> None:
    update(both, store, embedder=TUNED)
    with both.database.write() as session:
        row = session.get_one(VectorStoreRow, row_of(both, store).seq)
        both.generations.roll_back(session, row)
        both.generations.cancel(session, row)
    assert states(both) == [(1, "retired"), (2, "live")]
    roll_back(both, store)
    assert live(both, store).id == 1


def test_one_that_fails_says_why_and_can_be_tried_again(both: Services, store: str, quick_workers: None) -> None:
    class Broken(Tuned):
        def embed(self, texts: Sequence[str]) -> Vectors:
            raise ValueError("no memory")

    both.embedders = Two(both, Broken())
    update(both, store, embedder=TUNED)
    assert states(both) == [(1, "live"), (2, "failed")]
    assert "unexpected error (ValueError)" in str(errors(both)[-1])
    assert cosines(both, store, "copper")["pipes.txt"] > 0.4
    both.embedders = Two(both, Tuned())
    update(both, store, embedder=TUNED)
    assert states(both) == [(1, "retired"), (2, "live")]


def test_another_wish_waits_for_the_making_to_end(both: Services, store: str) -> None:
    first = begin(both, store, embedder=TUNED)
    again = begin(both, store, embedder=TUNED)
    assert first is not None
    assert again is not None
    assert again.id == first.id
    with pytest.raises(BadRequest, match="is being made"):
        begin(both, store, chunking=SMALL)


def test_the_size_of_the_vectors_counts(both: Services, store: str) -> None:
    def usage() -> list[int]:
        with both.database.read() as session:
            return list(session.scalars(select(DocumentRow.usage_bytes).order_by(DocumentRow.seq)))

    before = usage()
    update(both, store, embedder=TUNED)
    assert usage() == [size + 64 * 4 for size in before]
    roll_back(both, store)
    assert usage() == before


def test_an_embedder_that_reads_less_at_once_gets_smaller_windows(both: Services, store: str) -> None:
    class Short(Tuned):
        max_tokens = 3

    both.embedders = Two(both, Short())
    update(both, store, embedder=TUNED)
    assert (live(both, store).embedder, problems(both, store)) == (TUNED, [])


def test_two_stores_with_two_embedders_answer_side_by_side(both: Services, store: str, tmp_path: Path) -> None:
    other = filled(both, tmp_path / "more", "more")
    update(both, store, embedder=TUNED)
    assert cosines(both, store)["pipes.txt"] > 0.4
    assert cosines(both, other)["pipes.txt"] == 0
    assert len(both.searching.search(DEFAULT_PROJECT, [store, other], "copper")) == 4


def test_a_store_that_is_deleted_meanwhile_is_gone(both: Services, store: str) -> None:
    def delete() -> None:
        with both.database.write() as session:
            found = find_store(session, DEFAULT_PROJECT, store)
            assert found is not None
            delete_store(session, found)

    meanwhile(both, delete)
    update(both, store, embedder=TUNED)
    with pytest.raises(NotFound):
        cosines(both, store)
    assert (states(both), vectors_are_all_used(both)) == ([], True)


def test_an_empty_store_gets_its_generation_too(both: Services) -> None:
    with both.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="empty", embedder="words").id
    update(both, store, embedder=TUNED)
    assert live(both, store).embedder == TUNED


def test_a_worker_that_comes_late_cannot_switch(both: Services, store: str) -> None:
    worker = both.new_index_worker()

    def take_over() -> None:
        with both.database.write() as session:
            (job,) = queue.held_by(session, worker.owner)
            queue.release(session, job)
            queue.claim(session, "index", "nowhere:1:1:1", 1)

    begin(both, store, embedder=TUNED)
    acting = Acting(take_over)
    both.embedders = Two(both, acting)
    late = both.new_index_worker()
    late.owner = worker.owner
    assert late._work(lambda: False, lambda _finished: None)
    assert states(both) == [(1, "live"), (2, "building")]


def test_a_store_of_a_tuned_embedder_that_is_gone_is_not_searched_with_another(services: Services) -> None:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="lost", embedder=TUNED).id
    with pytest.raises(EmbedderMismatch, match="There is no tuned embedder"):
        services.searching.search(DEFAULT_PROJECT, [store], "anything")


def test_a_store_is_searched_with_its_own_embedder_until_it_gets_the_one_that_the_settings_name_now(
    services: Services, tmp_path: Path
) -> None:
    class Better(WordEmbedder):
        name, id = "better", "better-1"

    services.embedders = Embedders(
        services.database, lambda: services.embedder, lambda folder, name: Tuned(), lambda name: WordEmbedder()
    )
    store = filled(services, tmp_path / "docs")
    before = cosines(services, store, "copper")
    services.embedder = Better()
    assert cosines(services, store, "copper") == before
    update(services, store, embedder="better")
    assert (live(services, store).embedder, cosines(services, store, "copper")) == ("better", before)


def test_of_a_store_two_generations_are_never_live(both: Services, store: str) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), both.database.write() as session:
        values = {"project_id": DEFAULT_PROJECT, "embedder": "words", "chunking": {}, "created_at": 0}
        session.add(GenerationRow(store_id=store, state="live", **values))
