"""The other processes of a training over several GPUs: begun by the first, and all end with the first that ends."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from finetune.train.ranks import free_port, names_of

BEREFT = 4


def start_siblings(folder: Path, descriptor: int, count: int) -> None:
    """Make this process the first of so many, and start the others; each tells of its failure over `descriptor`.

    They end when their stdin does, so with this process. If one of them fails, so does this, which would otherwise
    wait for it for ever.
    """
    port = free_port()
    os.environ.update(names_of(0, count, port))
    for number in range(1, count):
        sibling = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "finetune.processes.trainer_process", str(folder), str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            env={**os.environ, **names_of(number, count, port)},
        )
        threading.Thread(target=_fail_with, args=(sibling,), daemon=True).start()


def _fail_with(sibling: "subprocess.Popen[bytes]") -> None:
    if sibling.wait():
        os._exit(BEREFT)
