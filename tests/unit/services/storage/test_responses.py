from services.storage.database import Database
from services.storage.responses import conversation, delete_response, find_response, save_response
from services.storage.tables import ProjectRow


def save(database: Database, response_id: str, previous_id: str | None = None) -> None:
    with database.write() as session:
        save_response(
            session,
            "default",
            response_id=response_id,
            previous_id=previous_id,
            input_items=[{"id": "i"}],
            body={"a": 1},
        )


def test_a_conversation_is_told_from_its_beginning(database: Database) -> None:
    save(database, "resp_1")
    save(database, "resp_2", "resp_1")
    save(database, "resp_3", "resp_2")

    with database.read() as session:
        assert [row.id for row in conversation(session, "default", "resp_3")] == ["resp_1", "resp_2", "resp_3"]
        assert conversation(session, "default", "resp_none") == []


def test_a_conversation_begins_after_what_was_deleted(database: Database) -> None:
    save(database, "resp_1")
    save(database, "resp_2", "resp_1")
    with database.write() as session:
        assert delete_response(session, "default", "resp_1")
        assert not delete_response(session, "default", "resp_1")

    with database.read() as session:
        assert [row.id for row in conversation(session, "default", "resp_2")] == ["resp_2"]


def test_another_project_s_response_is_not_there(database: Database) -> None:
    save(database, "resp_1")
    with database.write() as session:
        session.add(ProjectRow(id="other", created_at=0))

    with database.read() as session:
        assert find_response(session, "other", "resp_1") is None
        assert conversation(session, "other", "resp_1") == []
    with database.write() as session:
        assert not delete_response(session, "other", "resp_1")
