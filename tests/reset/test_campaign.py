"""The campaign in small, and that it finds a reset that does not do what it should."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from alembic_snapshot.sqlite.reset.rewind import Rewindable
from alembic_snapshot.sqlite.reset.rewrite import Reusable

from .campaign import Campaign, Difference

pytestmark = pytest.mark.campaign


class KeepsTheCounter(Reusable):
    def _next_header(self, header):
        return header[:24] + self._header[24:28] + header[28:92] + self._header[92:96] + header[96:]


class ForgetsTheEnd(Reusable):
    def _overwrite(self):
        whole, self._snapshot = self._snapshot, self._snapshot[:-8192]
        super()._overwrite()
        self._snapshot = whole


class KeepsTheSize(Reusable):
    def _resize(self, size):
        pass


class TrustsTheCounter(Reusable):
    def _is_untouched(self, status):
        return os.pread(self._file, 100, 0) == self._header


class IgnoresTheSchema(Reusable):
    def _obstacle(self, header):
        return None if header[:24] == self._header[:24] else super()._obstacle(header)


class AsksNobody(Reusable):
    def put_back(self):
        return self._rewrite()


class KeepsTheLogsHeader(Rewindable):
    def _clear_header(self):
        pass


class TrustsTheIndex(Rewindable):
    def _empty_log(self, index, log):
        if index[:48] != self._empty[:48]:
            super()._empty_log(index, log)


class KeepsTheSchema(Rewindable):
    def _is_schema_changed(self):
        return False


class LocksNobodyOut(Rewindable):
    def _lock(self, area):
        return True


class TrustsItsLocks(Rewindable):
    def _holder(self, file, area):
        return self._process


class KeepsTheIndex(TrustsItsLocks):
    def _restore_index(self):
        pass


class NoticesNoCheckpoint(TrustsItsLocks):
    def _is_in_place(self):
        return True

    def _was_checkpointed(self, index, log):
        return False


class BeginsAndDoesNotRead(NoticesNoCheckpoint):
    def _start_guard(self):
        self._ask("BEGIN")


REWRITES = [KeepsTheCounter, ForgetsTheEnd, KeepsTheSize, TrustsTheCounter, IgnoresTheSchema]
REWINDS = [KeepsTheLogsHeader, TrustsTheIndex, KeepsTheIndex, KeepsTheSchema, LocksNobodyOut]
UNGUARDED = [NoticesNoCheckpoint, BeginsAndDoesNotRead]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [Reusable, Rewindable])
def test_after_random_work_a_database_that_was_put_back_equals_its_snapshot(tmp_path, kind, seed):
    with contextlib.closing(Campaign(tmp_path, seed, kind)) as campaign:
        campaign.run(150)

    assert campaign.counts["put back"] > 40
    assert campaign.counts["nothing to do"] > 10
    assert campaign.counts["the schema changed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [*REWRITES, AsksNobody, *REWINDS, *UNGUARDED])
def test_the_campaign_finds_a_broken_reset(tmp_path: Path, broken):
    with (
        contextlib.closing(Campaign(tmp_path, 1, broken)) as campaign,
        pytest.raises(Difference, match=r"seed 1, round \d+, after"),
    ):
        campaign.run(1500)
