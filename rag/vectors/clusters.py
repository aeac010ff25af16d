"""Search among many rows: each in the list of its nearest centre, in 8 bits, and only the nearest lists are looked at.

The lists are FAISS's IVF with an 8-bit scalar quantiser. They lie in files that never change, each for a run of rows
(a part), and are mapped: a start reads only the centres, and all processes share one copy in memory. What is found is
ordered anew by the exact vectors, so eight bits cost nothing in the end. `clusters.json` names the parts and how many
lists to look at, which was measured; it is replaced whole, so that a reader sees the old parts or the new.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss as untyped
import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors

# Its own stubs leave out what is used here.
faiss: Any = untyped

MANIFEST = "clusters.json"
LISTS_PER_ROOT = 4
"""Lists for the square root of the rows: 4,096 for a million."""
SAMPLE_ROWS_PER_LIST = 40
ITERATIONS = 8
REFINED = 1.5
"""What is found by 8 bits is so many times what was asked for, before the exact vectors choose."""
MORE_REFINED = 20
FILTERED_ROWS = 32_768
"""So many rows are looked at in 8 bits in about a millisecond."""
MOST = 0.9
"""Rows that have gone are no filter, unless they are many."""
ADD_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file with the lists of the rows `start` to `end`, and what it must be."""

    file: str
    start: int
    end: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The parts in the order of their rows, the first trained on its own; `recall` is what `probes` lists gave.

    `effort` is that of a search when the lists were trained (`Clusters.effort`).
    """

    parts: tuple[Part, ...]
    probes: int
    effort: float
    recall: float

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """Give None where there is none. Raises ValueError where it is damaged."""
        try:
            fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            return cls(**fields | {"parts": tuple(Part(**part) for part in fields["parts"])})
        except FileNotFoundError:
            return None
        except (TypeError, KeyError) as exc:
            raise ValueError(f"{MANIFEST} does not say what it should.") from exc

    def write(self, folder: Path) -> None:
        partial = folder / f"{MANIFEST}.partial"
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(folder / MANIFEST)


class Clusters:
    """The lists of the rows before `rows`, to be searched from any number of threads."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Map the parts. Raises ValueError where one is missing or cut short."""
        for part in manifest.parts:
            path = folder / part.file
            if not path.is_file() or path.stat().st_size != part.size:
                raise ValueError(f"{part.file} has not the {part.size} bytes that were written.")
        self.manifest = manifest
        self.rows = manifest.parts[-1].end
        self.probes = manifest.probes
        self._parts = [_mapped(folder / part.file) for part in manifest.parts]

    @property
    def lists(self) -> int:
        return int(self._parts[0].nlist)

    def _more(self, wanted: NDArray[np.bool_]) -> float:
        """Give how many times the lists are looked at where only these rows are wanted: the nearest of few lie far off.

        12 times for a half, all lists from a tenth on; and at least as many as hold `FILTERED_ROWS` that are wanted.
        """
        count = max(1, int(np.count_nonzero(wanted)))
        share = count / len(wanted)
        more = (1 + 4 * (1 - share)) / share**2
        return more if share > MOST else max(more, self.lists * FILTERED_ROWS / count / self.probes)

    def effort(self, probes: int) -> float:
        """Give how many times the rows of an even list a search looks at, which finds the long lists more often."""
        sizes = np.array([[part.get_list_size(place) for place in range(self.lists)] for part in self._parts]).sum(0)
        return probes * self.lists * float(np.sum(sizes**2)) / max(1, int(sizes.sum())) ** 2

    def search(
        self, query: Vectors, depth: int, wanted: NDArray[np.bool_] | None = None, probes: int | None = None
    ) -> NDArray[np.int64]:
        """Give the rows near the query, in no order, the best `depth` among them; of those `wanted` where given.

        `wanted` is `bool [rows]` or longer. The rarer they are, the more lists are looked at.
        """
        parameters = faiss.SearchParametersIVF(nprobe=probes or self.probes)
        if wanted is not None:
            # FAISS keeps only a pointer to the selector, and that one to the bits: these names keep them alive.
            bits = np.packbits(wanted, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            parameters.sel = selector
            parameters.nprobe = min(self.lists, math.ceil(parameters.nprobe * self._more(wanted)))
        fetched = math.ceil(depth * REFINED) + MORE_REFINED
        # One query is too little for two threads, and idle OpenMP threads spin; the setting is per calling thread.
        faiss.omp_set_num_threads(1)
        found = [part.search(query.reshape(1, -1), fetched, params=parameters)[1][0] for part in self._parts]
        rows = np.concatenate(found)
        return rows[rows >= 0]


def train(vectors: Vectors, numbers: NDArray[np.int64]) -> Any:
    """Give empty lists whose centres are those of the rows of these numbers."""
    lists = 2 ** round(math.log2(LISTS_PER_ROOT * math.sqrt(len(numbers))))
    dimensions = vectors.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimensions),
        dimensions,
        lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.niter = ITERATIONS
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = SAMPLE_ROWS_PER_LIST
    size = min(len(numbers), SAMPLE_ROWS_PER_LIST * lists)
    sample = np.sort(np.random.default_rng(0).choice(numbers, size, replace=False))
    index.train(np.ascontiguousarray(vectors[sample]))
    return index


def write_part(index: Any, path: Path, vectors: Vectors, numbers: Sequence[int] | NDArray[np.int64]) -> None:
    """Write the lists of these rows, by the centres of `index`, which is left empty."""
    wanted = np.asarray(numbers, dtype=np.int64)
    for start in range(0, len(wanted), ADD_ROWS):
        some = wanted[start : start + ADD_ROWS]
        index.add_with_ids(np.ascontiguousarray(vectors[some]), some)
    faiss.write_index(index, str(path))
    index.reset()


def emptied(path: Path) -> Any:
    """Give the lists of a part with their centres, without their rows."""
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    lists = faiss.ArrayInvertedLists(index.nlist, index.code_size)
    index.replace_invlists(lists, True)
    lists.this.disown()
    index.ntotal = 0
    return index


def _mapped(path: Path) -> Any:
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as exc:
        raise ValueError(f"{path.name} cannot be read: {exc}") from exc
    # Threads that read ahead cost more than the pages that they would bring.
    lists = faiss.downcast_InvertedLists(index.invlists)
    lists.prefetch_nthread = 0
    return index
