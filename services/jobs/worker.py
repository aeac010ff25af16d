"""The worker: claims jobs, has them done, and takes back those of workers that have died."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.orm import Session

from rag.errors import RagError
from services.jobs import queue
from services.jobs.job import Job, Stopped
from services.jobs.owner import is_dead, new_owner
from services.jobs.tasks import Report, Task, fail, put_back, try_again_or_fail
from services.storage.database import Database

POLL_S = 1.0
HEARTBEAT_S = 5.0

log = logging.getLogger(__name__)


class Worker:
    """One worker of this process. `bell` wakes it when a job is put in by the same process."""

    def __init__(self, database: Database, tasks: Sequence[Task], bell: threading.Event) -> None:
        self.owner = new_owner()
        self._database = database
        self._tasks = {task.kind: task for task in tasks}
        self._bell = bell

    def run_forever(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what is not finished then goes back to the queue."""
        with self._alive():
            while not stop.is_set():
                try:
                    worked = self._work(stop.is_set, _unheard, None)
                except Exception:
                    # Of the worker itself, such as a full disk: it may pass.
                    log.exception("worker_error owner=%s", self.owner)
                    worked = False
                if not worked:
                    self._rest()

    def run_until_idle(self, job_ids: Sequence[str] | None = None, report: Report | None = None) -> None:
        """Work until these jobs have ended, here or elsewhere; without ids, until there are no live jobs."""
        self.run_until(lambda: not self._live(job_ids), report=report)

    def run_until(
        self,
        done: Callable[[], bool],
        *,
        subject: str | None = None,
        stop: threading.Event | None = None,
        report: Report | None = None,
    ) -> None:
        """Work on one subject or on any until `done` or `stop`; what is then not finished goes back to the queue."""
        stopped = stop.is_set if stop is not None else lambda: False
        with self._alive():
            while not stopped() and not done():
                if not self._work(stopped, report or _unheard, subject):
                    self._rest()

    def _rest(self) -> None:
        self._bell.wait(POLL_S)
        self._bell.clear()

    def _live(self, job_ids: Sequence[str] | None) -> bool:
        with self._database.read() as session:
            live = queue.live_ids(session)
        return bool(live if job_ids is None else live.intersection(job_ids))

    def _work(self, stopped: Callable[[], bool], report: Report, subject: str | None = None) -> bool:
        """Claim and do one batch of each kind; False if there was nothing to do."""
        worked = False
        for task in self._tasks.values():
            if jobs := self._claim(task, subject):
                self._run(task, jobs, stopped, report)
                worked = True
        return worked

    def _claim(self, task: Task, subject: str | None) -> list[Job]:
        with self._database.read() as session:
            # Between batches nothing should be held: what is, an error kept from being put back.
            left = self._held_by(session, self.owner)
            if not left and not queue.waiting(session, task.kind, self.owner, subject=subject):
                return []
        self._settle(left, self._lost)
        with self._database.write() as session:
            return queue.claim(session, task.kind, self.owner, task.batch, subject=subject)

    def _run(self, task: Task, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        try:
            task.run(jobs, stopped, report)
        except Stopped:
            self._settle(jobs, lambda session, job: report(put_back(session, task, job)))
        except KeyboardInterrupt:
            self._settle(jobs, lambda session, job: report(put_back(session, task, job)))
            raise
        except RagError as exc:
            reason = str(exc)
            self._settle(jobs, lambda session, job: report(fail(session, task, job, reason)))
        except Exception as exc:
            log.exception("task_error kind=%s jobs=%d", task.kind, len(jobs))
            reason = f"An unexpected error ({type(exc).__name__}) stopped the work; the log of the worker says more."
            self._settle(jobs, lambda session, job: report(try_again_or_fail(session, task, job, reason)))

    def _settle(self, jobs: Sequence[Job], act: Callable[[Session, Job], None]) -> None:
        """Do something with those of the jobs that are still held."""
        if jobs:
            with self._database.write() as session:
                for job in jobs:
                    if queue.holds(session, job):
                        act(session, job)

    def _lost(self, session: Session, job: Job) -> None:
        reason = f"Its worker was killed or broke off, {job.attempts} times."
        try_again_or_fail(session, self._tasks[job.kind], job, reason, at_once=True)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Renew this worker's leases, and look for lost ones, beside what it does."""
        self._take_back_lost()
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), name="heartbeat", daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                self._renew()
                self._take_back_lost()
            except Exception:
                log.exception("heartbeat_error owner=%s", self.owner)

    def _renew(self) -> None:
        with self._database.read() as session:
            if not queue.has_jobs(session, self.owner):
                return
        with self._database.write() as session:
            queue.renew(session, self.owner)

    def _take_back_lost(self) -> None:
        with self._database.read() as session:
            if not self._lost_owners(session) and not queue.has_long_leases(session):
                return
        with self._database.write() as session:
            queue.shorten_leases(session)
            for owner in self._lost_owners(session):
                log.warning("worker_lost owner=%s", owner)
                queue.free(session, owner)
                for job in self._held_by(session, owner):
                    self._lost(session, job)

    def _held_by(self, session: Session, owner: str) -> list[Job]:
        """The jobs that an owner holds, of the kinds that this worker knows."""
        return [job for job in queue.held_by(session, owner) if job.kind in self._tasks]

    def _lost_owners(self, session: Session) -> list[str]:
        return [owner for owner in queue.lost(session, is_dead, self._tasks) if owner != self.owner]


def _unheard(_finished: object) -> None:
    """For those who wait for no report."""
