"""`loam worker`: the work in the background, beside or instead of the worker inside `loam serve`."""

import signal
import threading

import click

from services.cli.session import Session, pass_session


@click.command()
@pass_session
def worker(session: Session) -> None:
    """Do the work in the background until interrupted."""
    from services.telemetry import configure_logging
    from services.wiring import open_services

    configure_logging("debug" if session.verbose else session.settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    services = open_services(session.settings)
    click.echo(f"Working on the jobs of {session.settings.home}.")
    upkeep = services.start_upkeep(stop)
    try:
        services.new_worker().run_forever(stop)
    finally:
        stop.set()
        upkeep.join()
        services.close()
