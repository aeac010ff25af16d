"""How many rows packing makes of sequences, and how long they get: the fullest row that a sequence fits takes it."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def packed_rows(lengths: Sequence[int], limit: int) -> list[int]:
    """Give the lengths of the rows that TRL's best-fit-decreasing packing makes. No length is over the limit."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        index = bisect_left(rooms, length)
        room = rooms.pop(index) if index < len(rooms) else limit
        insort(rooms, room - length)
    return [limit - room for room in rooms]
