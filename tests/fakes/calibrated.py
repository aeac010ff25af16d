"""A calibration by which every answer is as likely right as wrong: the threshold alone decides."""

from rag.confidence import FEATURES
from services.calibrations import ModelCalibration
from tests.fakes.embedder import WordEmbedder


def kept(model: str, *, threshold: float, embedder: str = WordEmbedder.id) -> ModelCalibration:
    return ModelCalibration(
        model=model,
        engine="writer",
        source="acme/one",
        embedder=embedder,
        made_at=1_800_000_000,
        collection="asked.jsonl",
        questions=200,
        answer_share=0.9,
        threshold=threshold,
        intercept=0.0,
        weights=dict.fromkeys(FEATURES, 0.0),
    )
