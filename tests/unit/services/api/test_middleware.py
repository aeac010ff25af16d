import pytest

from services.api.middleware import MULTIPART_ALLOWANCE_BYTES, RequestGuard
from services.wiring import Services


@pytest.mark.parametrize(
    ("path", "takes_files"),
    [
        ("/v1/files", True),
        ("/v1/uploads/upload_1/parts", True),
        ("/v1/uploads", False),
        ("/v1/uploads/upload_1/complete", False),
        ("/v1/files/file-1/parts", False),
        ("/v1/chat/completions", False),
    ],
)
def test_only_routes_that_take_files_take_bodies_as_large(services: Services, path: str, takes_files: bool) -> None:
    settings = services.settings
    large = settings.max_file_bytes + MULTIPART_ALLOWANCE_BYTES
    guard = RequestGuard(lambda *_: None, services)  # type: ignore[arg-type,return-value]
    assert guard.body_limit(path) == (large if takes_files else settings.max_body_bytes)
