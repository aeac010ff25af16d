from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, ProjectRow, VectorStoreRow
from services.storage.vector_stores import (
    create_store,
    expires_at,
    find_store,
    find_store_by_name,
    is_expired,
    is_made_with,
    mismatch,
)
from tests.fakes.embedder import WordEmbedder


def made(session: Session, name: str) -> VectorStoreRow:
    return create_store(session, DEFAULT_PROJECT, name=name, embedder="words")


def test_name_is_the_oldest_stores(database: Database) -> None:
    with database.write() as session:
        first, _second = made(session, "docs"), made(session, "docs")
        assert find_store_by_name(session, DEFAULT_PROJECT, "docs") is first


def test_id_goes_before_a_name(database: Database) -> None:
    with database.write() as session:
        store = made(session, "docs")
        made(session, store.id)
        assert find_store_by_name(session, DEFAULT_PROJECT, store.id) is store


def test_another_projects_store_is_not_found(database: Database) -> None:
    with database.write() as session:
        session.add(ProjectRow(id="other", created_at=0))
        store = made(session, "docs")
        assert find_store(session, "other", store.id) is None
        assert find_store_by_name(session, "other", "docs") is None


def test_store_expires_after_its_days_without_activity() -> None:
    store = VectorStoreRow(expires_after_days=2, last_active_at=1000)
    assert expires_at(store) == 173_800
    assert (is_expired(store, 173_799), is_expired(store, 173_800)) == (False, True)


def test_store_without_a_policy_never_expires() -> None:
    assert not is_expired(VectorStoreRow(expires_after_days=None, last_active_at=0), 10**12)


@pytest.mark.parametrize("setting", ["words", "organisation/words", "models/words/", str(Path("/models/words"))])
def test_embedder_may_be_set_by_name_hub_id_or_directory(setting: str) -> None:
    assert is_made_with(setting, WordEmbedder())


def test_another_embedder_is_told_by_name() -> None:
    assert not is_made_with("other", WordEmbedder())
    assert "made with the embedder 'other', not 'words'" in str(mismatch("other", WordEmbedder()))
