"""The preparation of a training as a process of its own, so that a server neither loads transformers nor waits.

    preparation = start(preparing, folder)
    preparation.result(0.2)                 # None while it is under way; raises TrainingFailed
    preparation.kill()

Run as `python -m finetune.processes.prepare_process FOLDER`: it reads `prepare.json` there and leaves
`prepared.json`; what libraries print goes to `prepare.log`. It ends at once when its stdin does, as when
its parent is killed.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from finetune.errors import FinetuneError, ModelUnavailable, TrainingFailed, UnreadableFile
from finetune.prepare import Prepared, Preparing, prepare
from prompts.errors import ChatFormatError

REQUEST, RESULT, LOG = "prepare.json", "prepared.json", "prepare.log"
NICENESS = 5
CODES: dict[type[Exception], str] = {
    ModelUnavailable: "unavailable_model",
    ChatFormatError: "no_chat_template",
    UnreadableFile: "invalid_file",
}

_REQUEST = TypeAdapter(Preparing)
_RESULT = TypeAdapter(Prepared)


class Preparation:
    """A preparation that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self._process = process
        self._folder = folder

    def result(self, timeout_s: float) -> Prepared | None:
        """Wait for its end so long; None where it has not come. Raises TrainingFailed."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if code != 0:
            raise TrainingFailed(
                f"The files could not be checked: the process that did it ended with {code}.",
                hint=f"{self._folder / LOG} says more.",
            )
        answer = json.loads((self._folder / RESULT).read_bytes())
        if "error" in answer:
            raise TrainingFailed(answer["error"], code=answer["code"])
        return _RESULT.validate_python(answer)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def start(preparing: Preparing, folder: Path) -> Preparation:
    """Start to prepare, in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REQUEST).write_bytes(_REQUEST.dump_json(preparing))
    (folder / RESULT).unlink(missing_ok=True)
    # -P: a folder that is called like a package of ours must not be taken for it. A session of its own, so that
    # Ctrl-C reaches the parent alone.
    command = [sys.executable, "-P", "-m", "finetune.processes.prepare_process", str(folder)]
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    return Preparation(process, folder)


def main(folder: Path) -> None:
    os.nice(NICENESS)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    answer = _answer(_REQUEST.validate_json((folder / REQUEST).read_bytes()))
    beside = folder / f"{RESULT}.new"
    beside.write_text(json.dumps(answer), encoding="utf-8")
    beside.replace(folder / RESULT)


def _answer(preparing: Preparing) -> dict[str, Any]:
    try:
        prepared: dict[str, Any] = _RESULT.dump_python(prepare(preparing), mode="json")
        return prepared
    except (FinetuneError, ChatFormatError) as exc:
        return {"error": str(exc), "code": getattr(exc, "code", CODES.get(type(exc), "failed"))}


def _leave_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
