"""Two small documents with known answers, and what every citation of them must be."""

from typing import Any

from openai import OpenAI

SOIL = """# Soil

Loam is made of sand, silt and clay in nearly equal parts.

Clay holds water for weeks. Sand drains within two hours.
"""

PLANTING = """# Planting

Tomatoes are planted in the middle of May, after the last frost. They need six hours of sun a day.

Café owners — and 東京 gardeners — grow basil beside them.
"""

TEXTS = {"soil.md": SOIL, "planting.md": PLANTING}

QUESTION = "When are tomatoes planted?"
ANSWER = "Tomatoes are planted in the middle of May, after the last frost."
UNANSWERED = "Who won the chess world championship in 1972?"
REFUSAL = "The documents do not say."


def make_handbook(client: OpenAI) -> str:
    store = client.vector_stores.create(name="handbook")
    files = [(name, text.encode()) for name, text in TEXTS.items()]
    batch = client.vector_stores.file_batches.upload_and_poll(store.id, files=files)
    assert batch.file_counts.completed == len(TEXTS)
    return store.id


def check_citations(text: str, cited: list[dict[str, Any]]) -> None:
    """Every mark stands where its citation says, and every quote is in its file to the letter."""
    for one in cited:
        assert text[one["start_index"] : one["end_index"]] == f"[{one['index']}]"
        assert TEXTS[one["filename"]][one["source_start"] : one["source_end"]] == one["quote"] != ""
