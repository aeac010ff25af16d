from services.api.responses.schemas import ResponseRequest, TextOptions, response_format


def test_a_schema_is_spelled_as_chat_completions_do() -> None:
    given = TextOptions(format={"type": "json_schema", "name": "n", "schema": {}, "strict": True})

    assert response_format(given) == {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}
    assert response_format(TextOptions(format={"type": "text"})) == {"type": "text"}
    assert response_format(None) is None


def test_a_search_that_may_not_be_called_is_not() -> None:
    asked = {"model": "m", "input": "q", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}

    assert ResponseRequest.model_validate(asked).file_search() is not None
    assert ResponseRequest.model_validate(asked | {"tool_choice": "none"}).file_search() is None
