"""The databases that a project's migrations are known to be for: no test may reach them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from alembic_snapshot.database.identity import Place, url_places
from alembic_snapshot.engines.nowhere import Nowhere
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.project.alembic_settings import database_url
from alembic_snapshot.project.config import Project

if TYPE_CHECKING:
    from alembic_snapshot.store.manifest import Manifest


class Known:
    """The databases that Alembic's settings name, and those that ``env.py`` was kept from.

    Those, too, that the variables of ``environment`` name: in tests, and outside of them.

    ``built`` are the manifests of the snapshots of this run so far; the store's are read when
    somebody first asks.
    """

    def __init__(self, project: Project, built: Callable[[], Sequence[Manifest]]):
        self._project = project
        self._built = built
        self._count = -1
        self._reasons: dict[Place, str] = {}
        self._settings: dict[Place, str] | None = None
        # As long as the run has them: what is done at its end is guarded, too.
        self._nowhere = Nowhere(project)

    def places(self) -> dict[Place, str]:
        """Each database of the migrations, and why it is known to be one."""
        self.why(Place("", ""))
        return dict(self._reasons)

    def why(self, place: Place) -> str | None:
        """Why a database is known to be the migrations'; None if it is not."""
        built = self._built()
        if len(built) != self._count:
            if self._count < 0:
                self._reasons.update(self._named())
                self._reasons.update(self._from_manifests(self._stored()))
            self._count = len(built)
            self._reasons.update(self._from_manifests(built))
        if self._nowhere.is_at(place):
            return self._nowhere.text
        if place in self._reasons:
            return self._reasons[place]
        return next((why for known, why in self._reasons.items() if known.is_same(place)), None)

    def files(self) -> set[str]:
        """The SQLite files of the settings and of this run's snapshots; the store is not asked."""
        places = [*self._named(), *(place for place, _ in self._from_manifests(self._built()))]
        return {place.name for place in places if place.kind == "sqlite" and not place.is_memory}

    def _named(self) -> dict[Place, str]:
        if self._settings is None:
            self._settings = {**self._nowhere.former, **dict(self._from_settings())}
        return self._settings

    def _from_settings(self) -> Iterator[tuple[Place, str]]:
        from sqlalchemy import make_url

        with contextlib.suppress(SnapshotError):
            settings = self._project.alembic
            file = settings.ini or settings.toml
            why = f"sqlalchemy.url of {self._project.relative(file)}" if file else ""
            # What does not parse, the template's driver:// for one, is no database.
            with contextlib.suppress(Exception):
                url = make_url(database_url(settings) or "")
                folders = (self._project.root, file.parent if file else "", "")
                for base in folders:
                    for place in url_places(url, base):
                        if not place.is_memory:
                            yield place, why

    def _from_manifests(self, manifests: Sequence[Manifest]) -> Iterator[tuple[Place, str]]:
        for manifest in manifests:
            for record in manifest.databases:
                place = Place.from_record(record, self._project.root)
                yield place, "what env.py connects to"

    def _stored(self) -> Sequence[Manifest]:
        from alembic_snapshot.backend import backend_of
        from alembic_snapshot.project.owner import identity

        with contextlib.suppress(SnapshotError, OSError):
            own = identity(self._project)
            store = backend_of(self._project).store()
            manifests = (entry.manifest for entry in store.entries())
            return [manifest for manifest in manifests if manifest.project == own]
        return ()
