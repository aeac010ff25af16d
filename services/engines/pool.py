"""The one pool of connections that all hosted engines share."""

import asyncio

import httpx

MAX_CONNECTIONS = 1000
MAX_IDLE_CONNECTIONS = 100


class ClientPool:
    """An HTTP client made when first needed, in the event loop that needs it.

    A connection belongs to its loop; the command line runs one loop a question.
    """

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_IDLE_CONNECTIONS)
            self._client, self._loop = httpx.AsyncClient(limits=limits), loop
        return self._client

    async def aclose(self) -> None:
        """Close what is open in this loop; the pool can be used again."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()
        self._client = None
