"""A server that speaks as much of vLLM's API as loam asks for, started by vLLM's own command line.

    python = python_of(folder)      # to be set as LOAM_VLLM_PYTHON
    started(folder)                 # one entry a start: its arguments, process and environment
    asked(folder)                   # what it was told of adapters

What it does is settled by what it is asked: the text of the last message is said back, `crash` ends the process before
an answer, `crash halfway` within one, `die` leaves the server there and its engine dead. A file `broken` in the folder
keeps it from starting, a file `slow` from getting ready.
"""

import json
import os
import stat
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def python_of(folder: Path) -> Path:
    """Write a program that takes the place of the python that has vLLM."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -P {__file__} {folder} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    return python


def started(folder: Path) -> list[dict[str, Any]]:
    return _read(folder / "starts.jsonl")


def asked(folder: Path) -> list[dict[str, Any]]:
    return _read(folder / "adapters.jsonl")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _note(path: Path, value: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(value) + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    model: str
    weights: Path
    key: str | None
    adapters: dict[str, str]
    dead = False

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(503 if type(self).dead else 200, {})
        elif self._is_allowed():
            self._send(200, {"data": [{"id": self.model, "root": str(self.weights)}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._is_allowed():
            return
        if self.path.endswith("_lora_adapter"):
            self._adapter(body)
        elif self.path == "/tokenize":
            self._send(200, {"tokens": self._tokens(body["chat_template_kwargs"]["rendered"])})
        elif body["model"] not in (self.model, *self.adapters):
            self._error(404, f"The model `{body['model']}` does not exist.")
        elif type(self).dead:
            self._error(500, "EngineCore encountered an issue.")
        else:
            self._complete(body)

    def _is_allowed(self) -> bool:
        if self.path.startswith("/v1") and self.key and self.headers["authorization"] != f"Bearer {self.key}":
            self._error(401, "Unauthorized")
            return False
        return True

    def _adapter(self, body: dict[str, Any]) -> None:
        _note(self.folder / "adapters.jsonl", {"path": self.path, **body})
        if "unload" in self.path:
            self.adapters.pop(body["lora_name"], None)
        elif "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in os.environ:
            self._send(404, {"detail": "Not Found"})
            return
        elif body["lora_name"] in self.adapters:
            self._error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
            return
        else:
            self.adapters[body["lora_name"]] = body["lora_path"]
        self._send(200, "Success")

    def _tokens(self, text: str) -> list[int]:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.weights / "tokenizer.json"))
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _complete(self, body: dict[str, Any]) -> None:
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if text == "crash":
            os._exit(9)
        if text == "die":
            type(self).dead = True
            self._error(500, "EngineCore encountered an issue.")
            return
        said = f"{body['model']}: {body.get('chat_template_kwargs', {}).get('rendered', text)}"
        if body.get("stream"):
            self._stream(said, then=text)
        elif "messages" in body:
            self._send(200, {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]})
        else:
            self._send(200, {"choices": [{"index": 0, "text": said, "finish_reason": "stop"}]})

    def _stream(self, said: str, then: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for delta, finish in (({"content": said}, None), ({}, "stop")):
            choices = [{"index": 0, "delta": delta, "text": delta.get("content", ""), "finish_reason": finish}]
            self.wfile.write(b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n")
            self.wfile.flush()
            if then == "crash halfway":
                os._exit(9)
        self.wfile.write(b"data: [DONE]\n\n")

    def _error(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "t", "param": None, "code": status}})

    def _send(self, status: int, body: Any) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main(folder: Path, args: list[str]) -> None:
    if "-c" in args:  # it is asked whether it has vLLM
        return
    given = {name: os.environ[name] for name in os.environ if name.startswith(("VLLM_", "LOAM_", "GROQ_"))}
    _note(folder / "starts.jsonl", {"args": args, "pid": os.getpid(), "environment": given})
    if (folder / "broken").exists():
        sys.exit("ValueError: there is no room for the weights")
    if (folder / "slow").exists():
        time.sleep(600)
    Handler.folder, Handler.adapters, Handler.key = folder, {}, os.environ.get("VLLM_API_KEY")
    Handler.model, Handler.weights = _option(args, "--served-model-name"), Path(_option(args, "--model"))
    ThreadingHTTPServer(("127.0.0.1", int(_option(args, "--port"))), Handler).serve_forever()


def _option(args: list[str], name: str) -> str:
    return args[args.index(name) + 1]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
