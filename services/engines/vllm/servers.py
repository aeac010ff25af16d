"""The vLLM servers of a process: one a declared model, started on its first use and ended with the process."""

import re
import threading
from typing import TYPE_CHECKING, Final

from services.settings import ModelSettings, Settings, secret_of_environment

if TYPE_CHECKING:
    from services.engines.pool import ClientPool
    from services.engines.vllm.engine import Vllm
    from services.engines.vllm.server import Server
    from services.engines.vllm.tuned import Tuned

_NOT_IN_FILES: Final = re.compile(r"[^A-Za-z0-9._-]+")


class VllmServers:
    """Making one costs nothing: no server is started before it is asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: dict[str, tuple[ModelSettings, Server]] = {}
        self._lock = threading.Lock()

    def engine(self, model: ModelSettings, pool: "ClientPool", tuned: "Tuned | None" = None) -> "Vllm":
        """Give the engine for a declared model, or for one that was tuned over it, served on its server.

        Raises BadRequest where no vLLM is set up. Whether a tuned model fits its base is found out when it is asked.
        """
        from services.engines.vllm.engine import Asking, Vllm

        asking = Asking(
            served_name=model.source if model.base_url else model.id,
            key_hint=model.api_key_env or "its api_key_env",
            timeout_s=model.timeout_s or self._settings.upstream_timeout_s,
        )
        return Vllm(self._server(model), asking, pool, tuned)

    def close(self) -> None:
        """End all servers that were started here, and wait until they have."""
        with self._lock:
            servers = [server for _, server in self._servers.values()]
            self._servers.clear()
        _close(servers)

    def _server(self, model: ModelSettings) -> "Server":
        with self._lock:
            known, server = self._servers.get(model.id, (None, None))
            if server is not None and known == model:
                return server
            made = self._attached(model, model.base_url) if model.base_url else self._supervised(model)
            self._servers[model.id] = (model, made)
        if server is not None:
            # A model that was removed and added again as another.
            threading.Thread(target=server.close, name="vllm-close").start()
        return made

    def _supervised(self, model: ModelSettings) -> "Server":
        from services.engines.vllm.launch import launch_of, python_with_vllm
        from services.engines.vllm.server import Supervised

        python_with_vllm(self._settings)
        log = self._settings.vllm_dir / f"{_NOT_IN_FILES.sub('-', model.id)}.log"
        return Supervised(model.id, lambda: launch_of(model, self._settings), log, start_s=self._settings.vllm_start_s)

    def _attached(self, model: ModelSettings, base_url: str) -> "Server":
        from services.engines.vllm.attached import Attached

        key = secret_of_environment(model.api_key_env) if model.api_key_env else None
        return Attached(model.id, base_url, model.source, key)


def _close(servers: "list[Server]") -> None:
    closing = [threading.Thread(target=server.close, name="vllm-close") for server in servers]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
