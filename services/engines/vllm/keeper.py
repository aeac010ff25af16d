"""Keeps one vLLM server: `python -m services.engines.vllm.keeper COMMAND…`, started by `process`.

It stands between loam and vLLM, which is several processes that do not end with one another: they are one process
group with this one, and end with it when loam does (its end of stdin closes), when it is told to (the same), or when
the server itself has ended.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

GRACE_S = 5.0
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


def main(command: list[str]) -> None:
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)  # noqa: S603
    threading.Thread(target=_end_with_loam, args=(server,), daemon=True).start()
    server.wait()
    # All there is, this process too: what the server has left behind would keep its memory and its port.
    os.killpg(0, signal.SIGKILL)


def _end_with_loam(server: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    server.terminate()
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
