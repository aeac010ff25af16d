import pytest

from rag.errors import EmbedderUnavailable
from rag.ports import Embedder
from services.api.health import Readiness
from services.errors import NotReady
from services.settings import Settings
from services.wiring import open_services
from tests.fakes.embedder import WordEmbedder


def test_server_is_ready_once_a_request_has_loaded_what_the_warm_up_could_not(settings: Settings) -> None:
    weights: list[Embedder] = []

    def load() -> Embedder:
        if not weights:
            raise EmbedderUnavailable("no weights")
        return weights[0]

    services = open_services(settings, load)
    readiness = Readiness(services)
    readiness.warm()
    with pytest.raises(NotReady, match="no weights"):
        readiness.check()
    weights.append(WordEmbedder())
    assert services.embedder.embed(["a"]).shape == weights[0].embed(["a"]).shape
    readiness.check()
    services.close()
