"""Makes a store's index anew, and goes back, in a process that kills itself, without warning, at one of its steps.

    python -m tests.fakes.killed_update HOME STEP

A step is a statement of SQL, a commit, or a file put on the disk. Each switch that was acknowledged is printed at
once; a run that lives to its end prints how many steps it took.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from services.settings import Settings
from services.wiring import open_services
from tests.fakes.indexed import SMALL, live, roll_back, update
from tests.fakes.killed_ingest import STORE, count_steps


def main() -> None:
    home, last = Path(sys.argv[1]), int(sys.argv[2])
    services = open_services(Settings(home=home))
    steps = count_steps(services, last)
    acts: list[Callable[[], None]] = [
        lambda: update(services, STORE, chunking=SMALL),
        lambda: roll_back(services, STORE),
    ]
    for act in acts:
        act()
        sys.stdout.write(f"{live(services, STORE).id}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{next(steps)}\n")


if __name__ == "__main__":
    main()
