"""The trainer as a process of its own, so that nothing it does can take its parent down.

    trainer = start(job)
    for event in trainer.events():       # until the training ends, however it ends
        ...                              # trainer.stop(Stop.PAUSE) from any thread
    outcome = trainer.outcome()          # raises TrainingFailed

The job lies in its folder as `job.json`. What the trainer tells comes as lines over a pipe of its own, what is asked
of it goes in by stdin, and what libraries print goes to `trainer.log`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from finetune.errors import TrainerKilled, TrainingFailed
from finetune.events import Event, Stop
from finetune.job import ALL_GPUS, JOB_FILE, LOG, Outcome, TuningJob
from finetune.processes.wire import JOB, told_by

ONE_GPU = "cuda:"


class TrainerProcess:
    """A training that runs. It ends at once when its parent does."""

    def __init__(self, process: "subprocess.Popen[bytes]", told: IO[str], log: Path) -> None:
        self._process, self._told, self._log = process, told, log
        self._asking = threading.Lock()
        self._end: Outcome | TrainingFailed | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def events(self) -> Iterator[Event]:
        """Give the events as they come, until the trainer has ended."""
        with self._told:
            for line in self._told:
                # A process that is killed may leave half a line.
                if not line.endswith("\n"):
                    break
                match told := told_by(line):
                    case Outcome() | TrainingFailed():
                        self._end = told
                    case _:
                        yield told
        self._process.wait()
        with self._asking, contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def stop(self, why: Stop) -> None:
        """Ask it to stop; a pause keeps a checkpoint of the step it is at. Does nothing once it has ended."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._asking, contextlib.suppress(BrokenPipeError):
            if not stdin.closed:
                stdin.write(f"{why.value}\n".encode())
                stdin.flush()

    def kill(self) -> None:
        """End it at once; the last checkpoint stays. Does nothing once it has ended."""
        self._process.kill()
        self._process.wait()

    def outcome(self) -> Outcome:
        """Wait for its end and give it. Raises TrainingFailed, and TrainerKilled if a signal ended it."""
        if not self._told.closed:
            for _ in self.events():
                pass
        self._process.wait()
        match self._end:
            case Outcome():
                return self._end
            case TrainingFailed():
                raise self._end
        raise _ended(self._process.returncode, self._log)


def start(job: TuningJob) -> TrainerProcess:
    """Start to train, or to go on from where the job's folder is."""
    job.folder.mkdir(parents=True, exist_ok=True)
    environment, device = _environment(job.device, job.environment)
    (job.folder / JOB_FILE).write_bytes(JOB.dump_json(replace(job, device=device), indent=2))
    told, tells = os.pipe()
    # -P: a folder that is called like a package of ours must not be taken for it. A session of its own, so that
    # Ctrl-C reaches the parent alone.
    command = [sys.executable, "-P", "-m", "finetune.processes.trainer_process", str(job.folder), str(tells)]
    with (job.folder / LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[tells],
            env=environment,
            start_new_session=True,
        )
    os.close(tells)
    return TrainerProcess(process, os.fdopen(told, encoding="utf-8"), job.folder / LOG)


def _environment(device: str, more: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Let the trainer of one GPU see no other, lest it spread over all; give what it is called then."""
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    if device == ALL_GPUS or device.startswith(ONE_GPU):
        # Sequences of many lengths would otherwise leave gaps in the memory, which then does not suffice.
        environment.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    if not device.startswith(ONE_GPU):
        return environment, device
    index = int(device.removeprefix(ONE_GPU))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)
    return environment, f"{ONE_GPU}0"


def _ended(code: int, log: Path) -> TrainingFailed:
    if code >= 0:
        return TrainingFailed(f"The trainer ended with {code} and no word.", hint=f"{str(log)!r} says more.")
    name = signal.Signals(-code).name
    hint = "The system ends processes so when the memory runs out." if name == "SIGKILL" else f"See {str(log)!r}."
    return TrainerKilled(f"The trainer was ended by {name}.", code="killed", hint=hint)
