"""Which one this is of the processes that train one model together, each on its GPU, by torchrun's names.

The first tells, saves and decides; the others do as it does. Each holds the whole model (DDP) or, where the weights
are shared out, its part of it (`finetune.train.shards`).
"""

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.job import TuningJob


def rank() -> int:
    """Give the number of this process, 0 for the first."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Give how many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shares_out(job: "TuningJob") -> bool:
    """Say whether a job's weights are shared out: as its plan has it, without one as was asked for."""
    return processes() > 1 and (job.plan.sharded if job.plan else job.settings.sharding == "full")


def names_of(number: int, count: int, port: int) -> dict[str, str]:
    """Give the environment of one of several on this machine."""
    return {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
