"""`loam models`: what can answer; hosted and local ones are added here, tuned ones removed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from services.cli.models_export import export
from services.cli.output import print_json, print_table
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from finetune.parity.compare import Parity


@click.group()
def models() -> None:
    """List, add and remove models."""


models.add_command(export)


@models.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List every model that can be named."""
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        found = services.router.models(DEFAULT_PROJECT)
    if as_json:
        print_json([asdict(model) for model in found])
        return
    print_table(("ID", "KIND", "ENGINE", "PARENT"), [(one.id, one.kind, one.engine, one.parent) for one in found])


@models.command()
@click.argument("model_id", metavar="ID")
@click.option("--engine", required=True, type=click.Choice(["groq", "openai", "local", "vllm"]), help="What serves it.")
@click.option("--source", required=True, help="Its name at the engine; of weights a directory or a hub id.")
@click.option("--base-url", help="Base URL of the API, where it is not the engine's own; of a vLLM that runs.")
@click.option("--api-key-env", metavar="VARIABLE", help="The variable that holds its key.")
@click.option("--timeout-s", type=click.FloatRange(min=0, min_open=True), help="Seconds that it may stay silent.")
@click.option("--quantization", type=click.Choice(["nf4", "none"]), help="How the weights of a local model are held.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="What weights are computed in.")
@pass_session
def add(session: Session, /, model_id: str, engine: str, source: str, **options: Any) -> None:
    """Add a model under a name of your own."""
    from services.models import local_source
    from services.storage.models import add_model
    from services.storage.tables import DEFAULT_PROJECT

    given = {name: value for name, value in options.items() if value is not None}
    is_weights = engine == "local" or (engine == "vllm" and "base_url" not in given)
    source = local_source(source) if is_weights else source
    with session.services() as services:
        taken = services.router.taken()
        with services.database.write() as database:
            add_model(database, DEFAULT_PROJECT, model_id, engine=engine, source=source, options=given, taken=taken)
    click.echo(f"Added {model_id}.")


@models.command()
@click.argument("model_id", metavar="ID")
@click.option("--over", metavar="BASE", help="The model over whose weights; left out, those it was trained over.")
@click.option("--force", is_flag=True, help="Serve it though its base, template or tokenizer is another.")
@pass_session
def serve(session: Session, model_id: str, over: str | None, force: bool) -> None:
    """Choose the base that a tuned model is served over, and say how far it then is from what was trained."""
    from services.chosen_base import choose_base
    from services.parity import prove_again
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        choose_base(services, DEFAULT_PROJECT, model_id, over, force=force)
        click.echo(f"Serving {model_id} over {over or 'what it was trained over'}.")
        if force:
            click.echo("It is served whatever has changed: nothing but parity tells whether its answers are its own.")
        _tell(prove_again(services, DEFAULT_PROJECT, model_id))


@models.command()
@click.argument("model_id", metavar="ID")
@json_option
@pass_session
def prove(session: Session, model_id: str, as_json: bool) -> None:
    """Hold a tuned model, as it is served now, against what its trainer recorded. Fails where they differ."""
    from services.parity import prove_again
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        parity = prove_again(services, DEFAULT_PROJECT, model_id)
    if as_json:
        print_json(parity.public() if parity else None)
    else:
        _tell(parity)
    if parity is None or not parity.passed:
        click.get_current_context().exit(1)


def _tell(parity: "Parity | None") -> None:
    click.echo(parity.sentence() if parity else "There is no record of its training to hold it against.")


@models.command()
@click.argument("model_id", metavar="ID")
@pass_session
def remove(session: Session, model_id: str) -> None:
    """Remove a model that was added, or one that was tuned here, with its files."""
    from services.removal import remove_tuned
    from services.storage.models import remove_model
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        with services.database.write() as database:
            added = remove_model(database, DEFAULT_PROJECT, model_id)
        if not added:
            remove_tuned(services, DEFAULT_PROJECT, model_id)
    click.echo(f"Removed {model_id}.")
