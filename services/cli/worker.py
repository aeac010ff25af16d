"""`loam worker`: the work in the background, beside or instead of the worker inside `loam serve`."""

import signal
import threading

import click

from services.cli.session import Session, pass_session

# How often it is looked whether a thread has ended by itself, which ends the others.
LOOK_S = 1.0


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
    threads = [services.start_upkeep(stop), *services.start_workers(stop)]
    while all(thread.is_alive() for thread in threads) and not stop.wait(LOOK_S):
        pass
    stop.set()
    for thread in threads:
        thread.join()
    services.close()
