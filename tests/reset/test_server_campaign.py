"""The campaign on a server in small, and that it finds a reset that does not do what it should."""

from __future__ import annotations

import dataclasses

import pytest

from alembic_snapshot.postgres.reset.changes import SCHEMA, Changes
from alembic_snapshot.postgres.reset.connections import Sessions
from alembic_snapshot.postgres.reset.database import LastingDatabase

from . import server_work as work
from .others import Difference
from .server_campaign import ServerCampaign

pytestmark = pytest.mark.campaign


class ForgetsSequences(LastingDatabase):
    def _statements(self, changes):
        return super()._statements(dataclasses.replace(changes, sequences=set()))


class ForgetsTheLastTable(LastingDatabase):
    def _statements(self, changes):
        last = {max(changes.inserted)} if changes.inserted else set()
        return super()._statements(dataclasses.replace(changes, inserted=changes.inserted - last))


class TakesChangesForInserts(LastingDatabase):
    def _changes(self):
        found = super()._changes()
        return dataclasses.replace(found, inserted=found.tables, changed=set())


class TrustsTheSchema(LastingDatabase):
    def _changes(self):
        found = super()._changes()
        return Changes() if found.obstacle == SCHEMA else found


class AsksForNobody(LastingDatabase):
    def _wait_for_others(self, connection):
        return *super()._wait_for_others(connection)[:2], None


class TrustsTheServersTables(LastingDatabase):
    def _changes(self):
        return dataclasses.replace(super()._changes(), shared=False)


class StaysBehind(LastingDatabase):
    def _note_position(self, connection, statements):
        first = getattr(self, "_next_xid", None)
        super()._note_position(connection, statements)
        self._next_xid = first or self._next_xid


class TrustingSessions(Sessions):
    def is_as_it_was(self, connection, state):
        super().is_as_it_was(connection, state)
        self._clean.add(connection.info.backend_pid)
        return not connection.closed


class TrustsConnections(LastingDatabase):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sessions = TrustingSessions()


BROKEN = {
    ForgetsSequences: [work.sequences],
    ForgetsTheLastTable: [work.inserts, work.adds],
    TakesChangesForInserts: [work.updates, work.deletes],
    TrustsTheSchema: [work.schema],
    AsksForNobody: [work.leaves_a_connection],
    TrustsTheServersTables: [work.rights],
    StaysBehind: [work.updates, work.inserts],
    TrustsConnections: [work.settings],
}


def test_random_work_leaves_nothing_behind(postgres):
    campaign = ServerCampaign(postgres, seed=20)
    try:
        campaign.run(60)
    finally:
        campaign.close()

    assert campaign.counts["put back"] > 15
    assert campaign.counts["nothing to do"] > 3
    assert campaign.kept > 60


@pytest.mark.parametrize("kind", BROKEN)
def test_a_way_that_is_broken_is_caught(postgres, kind):
    campaign = ServerCampaign(postgres, 5, kind, dict.fromkeys(BROKEN[kind], 1))
    try:
        with pytest.raises(Difference):
            campaign.run(60)
    finally:
        campaign.close()
