"""`loam serve`: the API, and a worker beside it unless told otherwise."""

import gc
import os
import signal
import socket
import sys
from types import FrameType

import click

from services.cli.session import Session, pass_session

GRACE_S = 10
SWITCH_S = 0.0005
"""A tenth of what it is otherwise: for so long a worker's thread may keep a request waiting, each time it comes by."""


@click.command()
@click.option("--host", help="Address to listen on; any but loopback needs a key.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--no-worker", is_flag=True, help="Leave the work in the background to 'loam worker'.")
@pass_session
def serve(session: Session, host: str | None, port: int | None, no_worker: bool) -> None:
    """Serve the API until interrupted."""
    import uvicorn

    from services.api.app import create_app
    from services.auth import check_exposure
    from services.telemetry import configure_logging
    from services.wiring import open_services

    given = {"host": host, "port": port, "worker": False if no_worker else None}
    settings = session.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    configure_logging("debug" if session.verbose else settings.log_level)
    services = open_services(settings)
    check_exposure(settings, services.database)
    # What cannot be loaded is told here, not by the first search.
    _ = services.reranker, services.entailment
    listening = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        create_app(services),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    signal.signal(signal.SIGTERM, _leave)
    # What is loaded by now stays: to look through it for garbage now and then holds every request up for that long.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    click.echo(f"Serving {_url(settings.host, listening)} (documentation at {_url(settings.host, listening, '/docs')})")
    for model in settings.models:
        if model.starts_vllm:
            click.echo(f"The vLLM server of {model.id!r} starts when the model is first asked.")
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything starts, so that a port in use is said plainly."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as exc:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {os.strerror(exc.errno or 0)}. Choose another with --port or LOAM_PORT."
        ) from exc


def _url(host: str, listening: socket.socket, path: str = "/v1") -> str:
    name = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}{path}"


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn raises the signal again once it has shut down in order: that is a success."""
    raise SystemExit(0)
