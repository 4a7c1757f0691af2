"""Changes to libraries while a snapshot is built: in the builder only, and for good."""

from __future__ import annotations

import contextlib
import logging.config
import sys
from collections.abc import Callable, Mapping
from typing import Any


def hear_create_all(heard: Callable[[], None]) -> None:
    """Be told when a metadata's ``create_all`` is called."""
    import sqlalchemy as sa

    original = sa.MetaData.create_all

    def create_all(metadata: sa.MetaData, *arguments: Any, **options: Any) -> None:
        heard()
        original(metadata, *arguments, **options)

    sa.MetaData.create_all = create_all  # type: ignore[method-assign,assignment]


def hear_own_operations(heard: Callable[[str, Any], None]) -> None:
    """Be told the file of each module that gives ``op`` a method of its own, and what it gives.

    Revisions use it without importing the module; ``env.py`` does.
    """
    from alembic.operations import Operations

    def wrapped(original: Callable[..., Any]) -> Any:
        def registering(*arguments: Any, **options: Any) -> Any:
            file = sys._getframe(1).f_code.co_filename
            register = original(*arguments, **options)

            def giving(given: Any) -> Any:
                heard(file, given)
                return register(given)

            return giving

        return staticmethod(registering)

    Operations.register_operation = wrapped(Operations.register_operation)  # type: ignore[method-assign]
    Operations.implementation_for = wrapped(Operations.implementation_for)  # type: ignore[method-assign]


def hear_migrations(
    around: Callable[[Any, Mapping[str, Any]], contextlib.AbstractContextManager[None]],
) -> None:
    """Be handed each migration context that runs migrations, whoever made it, and what revisions
    are given beside it; they run within what ``around`` returns.
    """
    from alembic.runtime.migration import MigrationContext

    def wrapped(original: Callable[..., Any]) -> Any:
        def running(context: MigrationContext, *arguments: Any, **options: Any) -> Any:
            with around(context, options):
                return original(context, *arguments, **options)

        return running

    MigrationContext.run_migrations = wrapped(MigrationContext.run_migrations)  # type: ignore[method-assign]
    MigrationContext.stamp = wrapped(MigrationContext.stamp)  # type: ignore[method-assign]


def excuse_missing_loggers(
    unheard: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    """Let a stock ``env.py`` configure logging from an ini file that has no such sections.

    What is read for that is ``unheard``: logging is no matter of migrations.
    """
    original = logging.config.fileConfig

    def file_config(source: Any, *arguments: Any, **options: Any) -> None:
        with contextlib.suppress(KeyError), unheard():
            original(source, *arguments, **options)

    logging.config.fileConfig = file_config  # type: ignore[assignment]
