"""The spine of embedding tuning: queries and passages in, an embedder that ranks them better out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from finetune.encoder import negatives
from finetune.encoder.ground import Ground, gather
from finetune.encoder.ranking import Encode, ndcg
from finetune.encoder.session import EncoderSession
from finetune.encoder.triplets import rows_of
from finetune.encoder.weights import encoding, load_encoder, remembering
from finetune.events import EventSink, Message, ShouldStop, Stop
from finetune.job import CHECKPOINTS, MODEL, Outcome, TuningJob
from finetune.train.checkpoints import drop_trainer_state, writing

BEFORE = "before.json"
NDCG, NDCG_BEFORE = "valid_ndcg_at_10", "valid_ndcg_at_10_before"


class Stopped(Exception):
    """The job is to stop, and was told so while texts were embedded."""

    def __init__(self, why: Stop) -> None:
        super().__init__(why)
        self.why = why


def tune_embedder(job: TuningJob, sink: EventSink, should_stop: ShouldStop) -> Outcome:
    """Mine wrong passages, train, and rank the held-out queries before and after; run again, go on.

    Wrong passages that lie in the job's folder (`finetune.encoder.negatives`) are taken; else they are mined from
    the training file's own passages. Raises TrainingFailed, ModelUnavailable, InvalidDataset, UnreadableFile.
    """
    ground = gather(job)
    model = load_encoder(ground.source.folder, job.device)
    encode = encoding(model, _stopping(should_stop))
    session = None
    try:
        untuned = remembering(encode)
        before = _kept_before(job.folder) or _keep_before(job.folder, _measured(ground, untuned, NDCG_BEFORE))
        mined = negatives.read(job.folder) or _mined(job, ground, untuned)
        del untuned
        rows = rows_of(ground.queries, mined)
        session = EncoderSession(job, ground, model, rows, sink, should_stop, measured=before)
        _tell(job, ground, session, len(rows), sink)
        if stop := session.train():
            return Outcome(step=session.step, trained_tokens=session.tokens, stopped=stop)
        after = _measured(ground, encode, NDCG)
    except Stopped as stopped:
        return Outcome(step=session.step if session else 0, stopped=stopped.why)
    session.tell(after)
    if after:
        sink(Message(text=f"nDCG@10 of {ground.split.how}: {before[NDCG_BEFORE]:.3f} before, {after[NDCG]:.3f} after."))
    return _result(job, session)


def _stopping(should_stop: ShouldStop) -> Callable[[], None]:
    def checkpoint() -> None:
        if why := should_stop():
            raise Stopped(why)

    return checkpoint


def _measured(ground: Ground, encode: Encode, name: str) -> dict[str, float]:
    """Rank the held-out queries, if there are any."""
    held_out = ground.split.held_out
    return {name: ndcg(held_out, ground.field, encode)} if held_out else {}


def _mined(job: TuningJob, ground: Ground, untuned: Encode) -> list[tuple[str, ...]]:
    search = negatives.own_search(ground.queries, untuned)
    mined = list(negatives.mine(ground.queries, search, seed=job.settings.seed))
    negatives.write(job.folder, mined)
    return mined


def _tell(job: TuningJob, ground: Ground, session: EncoderSession, rows: int, sink: EventSink) -> None:
    settings = job.settings
    products = ", products in bfloat16" if session.precision.autocast else ""
    pairs = sum(len(query.passages) for query in ground.queries)
    sink(Message(text=f"{len(ground.queries):,} queries with {pairs:,} passages are trained on, as {rows:,} rows."))
    if ground.split.held_out:
        sink(Message(text=f"Measured by {ground.split.how}, among {len(ground.field):,} passages."))
    sink(
        Message(
            text=f"{session.schedule.steps:,} steps of {settings.batch_size} rows over {settings.n_epochs} epochs; the "
            f"learning rate falls from {settings.learning_rate:g} to 0; seed {settings.seed}. All weights are trained, "
            f"in float32{products}, without dropout."
        )
    )


def _kept_before(folder: Path) -> dict[str, float] | None:
    """Give what an earlier run of the job has measured."""
    try:
        kept: dict[str, float] = json.loads((folder / BEFORE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return kept


def _keep_before(folder: Path, measured: Mapping[str, float]) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEFORE).write_text(json.dumps(measured), encoding="utf-8")
    return dict(measured)


def _result(job: TuningJob, session: EncoderSession) -> Outcome:
    manifest = session.manifest()
    with writing(job.folder / MODEL) as folder:
        session.save(folder)
        manifest.write(folder)
    drop_trainer_state(job.folder / CHECKPOINTS, keep=0)
    return Outcome(
        step=manifest.steps, trained_tokens=manifest.trained_tokens, folder=job.folder / MODEL, manifest=manifest
    )
