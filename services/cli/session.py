"""What the verbs share: the settings of this run and the services over them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as DatabaseSession

    from services.settings import Settings
    from services.storage.tables import VectorStoreRow
    from services.wiring import Services


@dataclass
class Session:
    """One run of the command line; settings are read when a verb first asks for them."""

    config: Path | None = None
    home: Path | None = None
    verbose: bool = False

    @cached_property
    def settings(self) -> "Settings":
        from services.settings import load_settings

        environment = dict(os.environ)
        if self.home is not None:
            environment["LOAM_HOME"] = str(self.home)
        return load_settings(self.config, environment)

    @contextmanager
    def services(self, *, embedding: bool = False) -> Iterator["Services"]:
        """Open the services for a verb that does its work and ends: only what is wrong is logged.

        A verb that is likely to embed says so, and the embedder loads while the rest is imported.
        """
        from services.embedding import begin_loading
        from services.telemetry import configure_logging

        debugging = self.verbose or self.settings.log_level == "debug"
        configure_logging("debug" if debugging else "warning")
        load_embedder = begin_loading(self.settings) if embedding else None
        from services.wiring import open_services

        services = open_services(self.settings, load_embedder)
        try:
            yield services
        finally:
            services.close()


pass_session = click.make_pass_decorator(Session)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
store_option = click.option("--store", required=True, metavar="NAME", help="The vector store, by name or id.")


def named_store(database: "DatabaseSession", store: str) -> "VectorStoreRow":
    """Give the vector store of that name or id. Raises NotFound."""
    from services.errors import NotFound
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import find_store_by_name

    row = find_store_by_name(database, DEFAULT_PROJECT, store)
    if row is None:
        raise NotFound(f"There is no vector store {store!r}. 'loam stores list' shows them.")
    return row
