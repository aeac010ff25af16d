"""A vLLM server that somebody else runs: asked as it is, given adapters if it takes them, and never ended."""

from concurrent.futures import Future
from pathlib import Path

from pydantic import SecretStr

from finetune.errors import FinetuneError
from finetune.model import Base
from finetune.source import locate
from services.engines.vllm.adapters import Adapters
from services.engines.vllm.control import Control, Refusal
from services.engines.vllm.server import Running
from services.engines.vllm.tuned import Tuned, checked, mismatch
from services.errors import UpstreamFailed

MOST_ADAPTERS = 64
"""How many are kept on a server whose limits are not known here."""


class Attached:
    """The server at a base URL, which serves a model by the name `source`."""

    def __init__(self, model_id: str, base_url: str, source: str, key: SecretStr | None) -> None:
        control = Control(base_url=base_url.rstrip("/"), key=key)
        adapters = Adapters(
            control,
            lambda tuned: checked(tuned, base_at(control, source, tuned)),
            most=MOST_ADAPTERS,
            rank=None,
            owner=model_id,
        )
        self._future: Future[Running] = Future()
        self._future.set_result(Running(base_url=control.base_url, key=key, adapters=adapters))

    def running(self) -> "Future[Running]":
        return self._future

    def suspect(self) -> "Future[bool]":
        """Do nothing: whoever runs it looks after it."""
        looked: Future[bool] = Future()
        looked.set_result(False)
        return looked

    def close(self) -> None:
        """Leave it as it is."""


def base_at(control: Control, source: str, tuned: Tuned) -> Path:
    """Give the weights that a server serves, to hold a passport against. Raises ModelMismatch where they are not here.

    The server says where it has them: a folder, or a hub id, of which this machine's own copy is taken for the same.
    """
    try:
        root = control.root_of(source)
    except Refusal as refusal:
        said = f"vllm does not say what it serves: {refusal.message}"
        raise UpstreamFailed(said, code="upstream_failed") from refusal
    if root is None:
        raise mismatch(tuned, f"the vLLM server has no model {source!r} to serve it over.")
    try:
        return locate(Base(source=root)).folder
    except FinetuneError as exc:
        raise mismatch(
            tuned, f"whether the server's base {root!r} is what it was trained over cannot be seen from here: {exc}"
        ) from exc
