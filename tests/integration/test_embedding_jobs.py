"""An embedding job from its file to a store that is searched with what it made, over HTTP; the embedder is tiny."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from openai import OpenAI
from starlette.testclient import TestClient

from finetune.encoder import negatives
from rag.encoders.embed_torch import SentenceTransformerEmbedder
from services.api.app import create_app
from services.cli.main import cli
from services.folders import walk
from services.settings import Settings
from services.storage.models import TUNED_PREFIX
from services.storage.tables import DEFAULT_PROJECT
from services.storage.vector_stores import create_store
from services.wiring import Services, open_services
from tests.fakes.ciphers import save_ciphers
from tests.fakes.exporting import exporting_here
from tests.fakes.inline_tuning import use_inline
from tests.fakes.tiny_encoder import save_tiny_encoder

EXTRAS = {"learning_rate": 3e-3, "negatives_from": "ciphers"}
EPOCHS = 4


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A home with the tiny embedder, and the store `ciphers` with the passages of 40 unseen queries."""
    folder = tmp_path_factory.mktemp("embedding-jobs")
    encoder = save_tiny_encoder(folder / "tiny")
    services = open_services(Settings(home=folder / "home", embedder=str(encoder), cache_dir=folder / "cache"))
    services.embedder = SentenceTransformerEmbedder(encoder, name="tiny", id="tiny@1")
    use_inline(services)
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="ciphers", embedder=str(encoder)).id
    for row in unseen(folder):
        path = folder / "docs" / f"{row['query'].replace(' ', '')}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(row["passage"], encoding="utf-8")
    worker = services.new_worker()
    added = list(services.ingestion.add_paths(DEFAULT_PROJECT, store, walk([folder / "docs"]), owner=worker.owner))
    worker.run_until_idle([one.job_id for one in added if one.job_id])
    with exporting_here():
        yield services
    services.close()


def unseen(folder: Path) -> list[dict[str, str]]:
    """Give queries that no training file of these tests has, with their passages."""
    rows = [json.loads(line) for line in save_ciphers(folder / "all.jsonl", 240).read_text().splitlines()]
    return rows[200:]


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[OpenAI]:
    with TestClient(create_app(services), base_url="http://127.0.0.1:8000") as http:
        yield OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", http_client=http, max_retries=0)


@pytest.fixture(scope="module")
def tuned(services: Services, client: OpenAI, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an embedder tuned by a job, on 200 queries that the store knows nothing of."""
    everything = save_ciphers(tmp_path_factory.mktemp("training") / "all.jsonl", 240).read_text().splitlines()
    content = "\n".join(everything[:200]).encode()
    uploaded = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=uploaded.id,
        method={"type": "embedding", "embedding": {"hyperparameters": {"n_epochs": EPOCHS}}},  # type: ignore[typeddict-item]
        seed=7,
        extra_body=EXTRAS,
    )
    services.new_tuning_worker().run_until_idle()
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.error.message if done.error else None) == ("succeeded", None)
    assert done.fine_tuned_model is not None
    return done.fine_tuned_model


def found_first(client: OpenAI, services: Services, folder: Path) -> int:
    """Count the unseen queries whose passage the store finds first."""
    (store,) = [one.id for one in client.vector_stores.list() if one.name == "ciphers"]
    count = 0
    for row in unseen(folder):
        best = next(iter(client.vector_stores.search(store, query=row["query"], max_num_results=1)))
        count += Path(best.filename).stem == row["query"].replace(" ", "")
    return count


def test_a_tuned_embedder_is_listed_with_what_it_was_made_from(client: OpenAI, tuned: str) -> None:
    assert tuned.startswith(f"{TUNED_PREFIX}tiny:default::")
    listed = {model.id: model.model_dump() for model in client.models.list()}
    assert (listed[tuned]["kind"], listed[tuned]["parent"]) == ("embedder", "tiny")
    assert listed[f"{tuned}:ckpt-step-12"]["kind"] == "embedder"
    manifest = client.models.retrieve(tuned).model_dump()["manifest"]
    assert manifest["metrics"]["valid_ndcg_at_10"] > manifest["metrics"]["valid_ndcg_at_10_before"] + 0.2


def test_wrong_passages_came_from_the_store(services: Services, tuned: str, tmp_path: Path) -> None:
    (folder,) = [path.parent for path in services.settings.tuning_dir.glob("*/negatives.jsonl")]
    mined = negatives.read(folder)
    assert mined is not None
    passages = {row["passage"] for row in unseen(tmp_path)}
    assert {text for texts in mined for text in texts} <= passages


def test_embeddings_are_made_with_the_embedder_that_is_named(client: OpenAI, tuned: str) -> None:
    def lead(model: str) -> float:
        """How much nearer the query is to its own passage than to another."""
        made = client.embeddings.create(model=model, input=["a b c", "n o p", "q r s"])
        query, right, wrong = (np.array(one.embedding) for one in made.data)
        return float(query @ right - query @ wrong)

    assert lead(tuned) > max(0.3, lead("tiny") + 0.2)


def test_a_store_that_is_moved_finds_what_it_did_not(
    client: OpenAI, services: Services, tuned: str, tmp_path: Path
) -> None:
    before = found_first(client, services, tmp_path)
    home = str(services.settings.home)
    environment = {"LOAM_EMBEDDER": services.settings.embedder, "LOAM_CACHE_DIR": str(services.settings.cache_dir)}
    ran = CliRunner(env=environment).invoke(
        cli, ["--home", home, "stores", "move", "ciphers", "--embedder", tuned, "--json"], catch_exceptions=False
    )
    said = json.loads(ran.stdout)
    assert (said["embedder"], said["generation"]["state"], said["generation"]["documents"]) == (tuned, "live", 40)
    assert found_first(client, services, tmp_path) > before + 10
    with pytest.raises(Exception, match="the vector store 'ciphers'"):
        client.models.delete(tuned)


def test_a_store_that_is_not_there_is_refused_at_once(client: OpenAI, tuned: str) -> None:
    uploaded = client.files.create(file=("train.jsonl", b'{"query": "a", "passage": "n"}\n'), purpose="fine-tune")
    with pytest.raises(Exception, match="There is no vector store 'none'"):
        client.fine_tuning.jobs.create(
            model="tiny",
            training_file=uploaded.id,
            method={"type": "embedding"},  # type: ignore[typeddict-item]
            extra_body={"negatives_from": "none"},
        )


def test_a_tuned_embedder_does_not_chat_and_cannot_be_tuned_as_a_chat_model(client: OpenAI, tuned: str) -> None:
    with pytest.raises(Exception, match="makes embeddings; it cannot chat"):
        client.chat.completions.create(model=tuned, messages=[{"role": "user", "content": "Hi"}])
