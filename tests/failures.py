"""What a builder tells of a failure: one in env.py of which nothing more is known."""

from __future__ import annotations

from alembic_snapshot.builder.protocol import Facts, Failure

FACTS = Facts(
    refused=[], redirected=[], databases=[], create_all=[], configured=True, options={},
    versions=[], is_heard=True, planned=0, applied=[], scripts=None, caught_by=None,
    async_lacks=[], asks_command_line=False, written=[], changed=[], unlike_before=[],
    from_models=[],
)  # fmt: skip
FAILED = Failure(
    facts=FACTS, current=None, who="env.py", where=None, type="RuntimeError", text="it broke",
    sql=None, is_import=False, wants_async=False, speaks_async=False, variable=None, argument=None,
    traceback="",
)  # fmt: skip
