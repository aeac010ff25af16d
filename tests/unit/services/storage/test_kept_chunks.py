import numpy as np

from rag.ports import ChunkVectors
from rag.types import ChunkId, Passage
from services.storage.kept_chunks import KeptChunks, KeptPassage

ONE, TWO, THREE = (ChunkId(number) for number in (1, 2, 3))


def kept_passage(chunk_id: ChunkId) -> KeptPassage:
    passage = Passage(chunk_id=chunk_id, file_id="file-1", filename="a.txt", text="otters", start=0, end=6)
    return KeptPassage(passage=passage, document_seq=1)


def test_what_was_used_longest_ago_goes_first() -> None:
    kept = KeptChunks(most=2).of(1, 1)
    kept.add_passages({one: kept_passage(one) for one in (ONE, TWO)})
    kept.passages([ONE])
    kept.add_passages({THREE: kept_passage(THREE)})
    assert kept.passages([ONE, TWO, THREE]).keys() == {ONE, THREE}


def test_another_revision_or_generation_has_its_own() -> None:
    chunks = KeptChunks()
    chunks.of(1, 1).add_passages({ONE: kept_passage(ONE)})
    assert [len(chunks.of(*each).passages([ONE])) for each in ((1, 1), (1, 2), (2, 1))] == [1, 0, 0]


def test_vectors_are_kept_without_what_they_were_read_with() -> None:
    read = np.ones((50, 2), dtype=np.float32)
    kept = KeptChunks().of(1, 1)
    kept.add_vectors({ONE: ChunkVectors(windows=read[:1], sentences=read[1:4])})
    vectors = kept.vectors([ONE])[ONE]
    assert (vectors.windows.base, vectors.sentences.base) == (None, None)
    assert (vectors.windows.tolist(), len(vectors.sentences)) == ([[1.0, 1.0]], 3)
