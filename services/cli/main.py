"""`loam`: the group of verbs, what they share, and how an error becomes an exit code.

Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. `loam --help` imports every verb's file,
so these import click at their head and what they work with inside the function that needs it.
"""

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import click

from services.cli.session import Session

VERBS = (
    "serve",
    "ingest",
    "search",
    "ask",
    "chat",
    "stores",
    "files",
    "index",
    "keys",
    "models",
    "finetune",
    "eval",
    "worker",
    "doctor",
)


ONE_BLAS_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""NumPy's products are small here, and its threads spin on when one is done: the embedder's cores are worth more."""


class Verbs(click.Group):
    """Finds a verb in the file of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"services.cli.{cmd_name}"), cmd_name)
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file to read instead of loam.yaml in the home."
)
@click.option("--home", type=click.Path(path_type=Path), help="Where everything is kept; LOAM_HOME, else ~/.loam.")
@click.option("--verbose", is_flag=True, help="Log what happens, and show where an error came from.")
@click.version_option(package_name="loam-server", prog_name="loam")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, home: Path | None, verbose: bool) -> None:
    """Answers from your documents, with citations that can be checked."""
    ctx.obj = Session(config=config, home=home, verbose=verbose)


def main() -> NoReturn:
    """Run the command line and end the process here, with its exit code.

    Taking down the native runtimes would take a tenth of a second, and nothing is left to save.
    """
    os.environ.setdefault(*ONE_BLAS_THREAD)
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run() -> int:
    """Run the command line and give its exit code."""
    if not _verbose():
        # Libraries tell it of each other, and users can do nothing about it.
        warnings.simplefilter("ignore", FutureWarning)
    try:
        code = cli.main(prog_name="loam", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = 130
    except BrokenPipeError:
        # Whoever read our output has left; Python must not find the pipe closed again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as exc:
        code = _failed(exc)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if _verbose():
        raise error
    from finetune.errors import FinetuneError
    from prompts import PromptError
    from rag.errors import RagError
    from services.errors import ServiceError

    foreseen = isinstance(error, ServiceError | RagError | FinetuneError | PromptError)
    click.echo(f"Error: {error if foreseen else _unforeseen(error)}", err=True)
    return 1


def _unforeseen(error: Exception) -> str:
    # The lines below the first are for who mends the code: SQLAlchemy puts the statement there.
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {said} ('loam doctor' looks for the cause, --verbose shows where it came from)"


def _verbose() -> bool:
    return "--verbose" in sys.argv[1:] or os.environ.get("LOAM_LOG_LEVEL", "").lower() == "debug"
