"""The one pool of connections that all hosted engines share."""

import asyncio
from weakref import WeakKeyDictionary

import httpx

MAX_CONNECTIONS = 1000
MAX_IDLE_CONNECTIONS = 100


class ClientPool:
    """An HTTP client for each event loop that needs one: a connection belongs to its loop.

    A server has one loop, and another in the thread that asks a tuned model for parity; the command line runs one
    a question.
    """

    def __init__(self) -> None:
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_IDLE_CONNECTIONS)
            found = self._clients[loop] = httpx.AsyncClient(limits=limits)
        return found

    async def aclose(self) -> None:
        """Close what is open in this loop; the pool can be used again."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
