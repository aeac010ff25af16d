"""What is done now and then beside all else: what has expired goes, and what kills have left behind."""

import logging
import math
import threading
import time

from services.expiry import sweep
from services.indexes import Indexes
from services.pruning import prune
from services.steady_clock import SteadyClock
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.tidy import tidy

SWEEP_S = 30.0
TIDY_S = 86_400.0

log = logging.getLogger(__name__)


def keep_up(stop: threading.Event, database: Database, blobs: Blobs, indexes: Indexes) -> None:
    """Sweep and tidy at once, and again and again until `stop` is set."""
    tidied = -math.inf
    clock = SteadyClock()
    while not stop.is_set():
        try:
            if time.monotonic() - tidied >= TIDY_S:
                tidied = time.monotonic()
                tidy(database, blobs, indexes)
            if clock.is_steady():
                sweep(database, blobs)
            prune(database, indexes)
        except Exception:
            # Such as a full disk, or a file that another process removed first: it may pass.
            log.exception("upkeep_failed")
        stop.wait(SWEEP_S)
