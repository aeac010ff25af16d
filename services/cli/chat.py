"""`loam chat`: a conversation about your documents; a follow-up may lean on what was said before."""

import sys
from typing import Any

import click

from services.cli.ask import answer_from, lines_of, model_option, store_option
from services.cli.session import Session, pass_session

PROMPT = "> "


@click.command()
@store_option
@model_option
@pass_session
def chat(session: Session, store: str | None, model: str) -> None:
    """Talk with your documents. Ctrl-D ends."""
    from services.errors import RateLimited, UpstreamFailed

    messages: list[dict[str, Any]] = []
    with session.services(embedding=True) as services:
        while (question := _asked()) is not None:
            if not question.strip():
                continue
            messages.append({"role": "user", "content": question})
            try:
                answer = answer_from(services, messages, store=store, model=model)
            except (RateLimited, UpstreamFailed) as exc:
                # It may pass: the question is forgotten, the conversation is not.
                messages.pop()
                click.echo(f"Error: {exc}", err=True)
                continue
            messages.append({"role": "assistant", "content": answer.text})
            click.echo("\n".join(lines_of(answer)) + "\n")


def _asked() -> str | None:
    """Read the next question; None at the end. Only people are prompted, so that questions can be piped in."""
    if sys.stdin.isatty():
        _edit_lines()
        try:
            return input(PROMPT)
        except EOFError:
            click.echo()
            return None
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None


def _edit_lines() -> None:
    """Arrow keys and history, where Python has them."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
