"""What guards the guarantees, and which tests are to notice a mistake in it.

A module's own tests run first, then those of its room; the first that fails ends it. Modules are
named below the library's or the application's folder, tests by their files' names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIBRARY, APPLICATION = "src/alembic_snapshot", "backend"


class Room(NamedTuple):
    """Modules with their own tests, and tests for all of them."""

    modules: Mapping[str, str]
    tests: str = ""
    top: str = LIBRARY


class Guard(NamedTuple):
    """One module, and the files of its tests in the order in which they run."""

    room: str
    path: str
    tests: tuple[str, ...]


ROOMS = {
    "key": Room(
        {
            "key/fields": "fields layers",
            "key/history": "layers closure order heads",
            "key/inputs": "key/files layers closure key/surroundings key",
            "key/libraries": "key/surroundings unsupported",
            "key/layers": "digests layers closure settings_in_key key/surroundings back_and_forth",
            "key/named": "revision_names layers",
            "key/observed": "changed_reads key/surroundings variables back_and_forth watch",
            "key/private": "private",
            "key/parsing": "parsing fields closure layers",
        },
        "key builds",
    ),
    "messages": Room({"masking": "masking"}),
    "watch": Room(
        {
            "builder/app_context": "entered_context app_context",
            "builder/attributes": "builder/attributes left_for_later",
            "builder/watch": (
                "watched watch compiled reads variables kept_by_functions written_and_read"
            ),
            "builder/reads": "builder/heard reads variables watch back_and_forth",
            "builder/record": (
                "builder/record written_and_read compiled watch reached_models observed"
            ),
            "builder/frames": "builder/frames key/surroundings watch reads left_by_env",
            "builder/env_runner": "handed_over left_by_env one_run handovers heads options",
            "builder/left": "handed_over left_by_env variables",
            "builder/options": "spelled_options options left_by_env",
            "builder/reach": "reached_code reached_models",
            "builder/held": "builder/held",
            "builder/alembics": "registries left_for_later",
            "builder/registries": "registries left_for_later builder/held",
            "builder/values": "registries left_for_later",
        },
        "key order options",
    ),
    "guard": Room(
        {
            "builder/guard": "guarded_connections builder/guard guard_engines",
            "builder/server_guard": "builder/server_guard two_places snapshots",
            "builder/redirected": "guarded_connections guard_engines builder/guard",
            "builder/pools": "stairway guard_engines",
            "builder/patches": "builder/guard unfinished order",
        },
        "env_py handovers",
    ),
    "build": Room(
        {
            "build/ancestors": "plans builds back_and_forth branch_order left_for_later store",
            "build/ensure": "plans max_size builds store/in_use store/read_only store unchecked",
            "builder/alembic_config": "order builds",
            "build/process": "told_failures ends builds mistakes builder/guard",
            "build/hints": "hint_for failing_builds unsupported",
            "build/plan": "one_run left_for_later plans",
            "build/steps": "one_run plans builds heads store/in_use back_and_forth leftovers store",
            "build/heads": "verified heads two_places",
            "builder/lineage": "lineage",
            "builder/ran": "heads options",
            "builder/branches": "branch_order",
            "builder/carried": "one_run",
            "builder/env_sql": "heard_sql env_sql",
            "builder/own_sql": "own_sql",
            "builder/losses": "losses losses_of_applications",
            "builder/seeds": "unfinished losses build/checks own_sql",
            "builder/sources": "order watch failing_builds",
            "builder/unfinished": "unfinished",
            "builder/upgrade": (
                "plans app_context builds key/surroundings order heads left_by_env guard_engines "
                "one_run"
            ),
            "build/handovers": "told_failures handovers mistakes",
            "build/upgrade": "build/upgrade",
        },
        "handovers env_py commands build/checks builder/guard failing_builds",
    ),
    "store": Room(
        {
            "database/identity": "place_words places sqlite/databases engines/aim",
            "store/manifest": "store/records store/overlay store commands options",
            "sqlite/database": "sqlite/files sqlite/databases sqlite/diff own_sql make_test_db",
            "sqlite/files": "sqlite/files leftovers sqlite/databases make_test_db",
            "sqlite/sql": "sqlite/files sqlite/databases sqlite/diff",
            "sqlite/stand_ins": "own_sql",
            "sqlite/store": (
                "store/records store/overlay store/read_only store/in_use leftovers store"
            ),
            "project/owner": "store/owners",
            "build/lookup": "settings_in_key key/key options back_and_forth commands",
            "store/code": "store/code",
            "store/store": "store/records store/in_use max_size leftovers store store/owners",
        },
        "commands builds",
    ),
    "resets": Room(
        {
            "plugin/reset": "lending reset/plugin rewind_plugin",
            "sqlite/attaching": "attaching methods",
            "sqlite/clone": "sqlite/clones commands plugin/guard async pools",
            "sqlite/diff": "sqlite/diff failures",
            "sqlite/reset/clones": "lasting_files reset/plugin rewind_plugin",
            "sqlite/reset/interface": "lasting_files reusable rewindable",
            "sqlite/reset/connections": "methods reusable rewindable reset/plugin",
            "sqlite/reset/rewrite": "reusable",
            "sqlite/reset/rewind": "rewindable",
        },
        "failures",
    ),
    "pointing": Room(
        {
            "plugin/clones": "plugin/database scopes isolation",
            "plugin/fakes": "fakes",
            "plugin/outside": "plugin/outside interrupted",
            "plugin/table": "named_table misspelt_table",
            "engines/application": "loading plugin/databases async scopes",
            "engines/events": "plugin/guard isolation attaching hidden_files engines/aim",
            "engines/factories": "loading plugin/databases configured",
            "plugin/current": (
                "plugin/database swallowed scopes failures checkpoints after_the_yield interrupted"
            ),
            "plugin/database": (
                "plugin/database plugin/in_use scopes failures plugin/building checkpoints"
            ),
            "engines/loops": "async pools",
            "engines/redirect": "redirect async isolation pools guard_off reset/plugin",
            "engines/threads": "pools reset/plugin",
            "project/frames": "project/frames",
            "engines/turns": "turns outliving",
        },
        "plugin/guard plugin/databases scopes engines/aim checkpoints",
    ),
    "states": Room(
        {
            "database/clone": "sqlite/clone checkpoints",
            "plugin/calls": "calls checkpoints",
            "plugin/checkpoints": "checkpoints",
            "plugin/declared": "declared checkpoints scopes",
            "plugin/endings": "after_the_yield",
            "plugin/failures": "told_again checkpoints",
            "plugin/returned": "checkpoints",
            "database/recording": "recording written",
            "database/statements": "replay written lost losses_of_applications reset/methods",
            "database/writers": "replay written",
            "engines/added": "added written",
            "database/unsent": "engines/unsent plugin/unsent checkpoints",
            "engines/held": "plugin/unsent upgraded checkpoints",
            "engines/lost": "lost checkpoints",
            "engines/recorder": "written",
            "sqlite/replay": "replay written",
        },
        "scopes failures",
    ),
    "aim": Room(
        {
            "engines/child": "child_processes",
            "engines/children": "children child_processes",
            "engines/configured": "loading configured",
            "engines/known": "engines/aim oracles/aim nowhere",
            "engines/nowhere": "plugin/nowhere",
            "project/variables": "known_variables misspelt_table",
            "project/env_files": "env_files plugin/nowhere init_engines",
            "project/placeholders": "plugin/nowhere",
            "engines/named": "loading configured",
            "engines/expected": "expected_refusals",
            "engines/notices": "refusals plugin/guard swallowed engines/aim",
            "engines/untouched": "written_past_clones",
            "engines/strangers": (
                "engines/strangers hidden_files attaching engines/aim plugin/guard"
            ),
        },
        "plugin/guard oracles/aim",
    ),
    "checks": Room(
        {
            "builder/drift": "drift_words build/checks oracles/checks",
            "checks": "check_words unchecked build/checks errors",
            "plugin/items": "check_results check_items",
        },
        "unchecked",
    ),
    "stairway": Room(
        {
            "builder/file_target": "stairway_steps stairway two_places",
            "builder/stairway": "stairway_steps stairway two_places",
            "build/stairway_cache": "stairway_parts stairway",
            "build/stairway": "stairway_parts stairway store/in_use unchecked",
        },
        "unchecked",
    ),
    "remote": Room(
        {
            "build/sharing": "shared_commands threat servers",
            "project/remote": "keys addresses threat shared_commands",
            "project/sizes": "max_size",
            "remote/asked": "remote/shared signers shared_commands servers",
            "remote/exchange": "remote/records threat servers shared_commands transport",
            "remote/lease": "remote/lease fleet",
            "remote/packing": "remote/records threat",
            "remote/process": "remote/process servers threat",
            "remote/record": "remote/records threat signers",
            "remote/settings": "remote/settings addresses threat shared_commands transport",
            "remote/shared": "remote/shared threat servers fleet shared_commands signers",
            "remote/signature": "remote/records threat",
            "remote/transport": "transport servers threat fleet shared_commands",
            "sqlite/received": "sqlite/received threat",
            "store/states": "remote/shared servers fleet",
        },
        "threat shared_commands",
    ),
    "tokens": Room(
        {
            "cli/opening": "opening cli/open",
            "plugin/tokens": "token_notes plugin/tokens",
            "sqlite/catalog": "sqlite/changeset oracles/travels",
            "sqlite/changeset": "sqlite/changeset oracles/travels",
            "tokens/changeset": "tokens/token sqlite/changeset",
            "tokens/parts": "opening cli/open",
            "tokens/safe_sql": "safe_sql",
            "tokens/token": "tokens/token token_notes",
        },
        "cli/open",
    ),
    "application": Room(
        {
            "core/agent_governance_service": (
                "governance_decisions approvals outcomes atom_governance"
            ),
            "core/approvals": "approvals waiting expiry",
            "core/database": "transactions current_rows",
            "core/documents": "documents",
            "core/feedback": "feedback",
            "core/gate": "waiting governance_decisions meta_agent",
            "core/listener": "cancelled_elsewhere meta_agent",
            "core/maturity": "maturity governance_decisions",
            "core/metering": "meta_agent money",
            "core/operators": "operators command_line",
            "core/outcomes": "outcomes",
            "core/people": "people people_decide current_rows",
            "core/permission": "governance_decisions tools",
            "core/reasoning": "tool_use speechless_errors meta_agent",
            "core/recovery": "interruptions",
            "core/registry": "agent_names current_rows",
            "core/replies": "react",
            "core/rollbacks": "expiry",
            "core/schemas": "tools",
            "core/scores": "outcomes feedback promotion",
            "core/types/exact": "types money",
            "core/types/expressions": "types money maturity",
            "core/types/moments": "types",
            "core/types/operators": "types money",
            "core/types/words": "maturity speechless_errors",
            "ecommerce/subscriptions": "subscriptions billing current_rows",
            "saas/billing": "billing",
            "saas/metering": "waiting metering",
            "saas/models": "models metering billing migrations",
            "saas/rates": "billing",
        },
        "promotion workspace_wall agent_names delegation money",
        APPLICATION,
    ),
}
# The library's modules of which no mistake is made, and why.
UNGUARDED = {
    "builder/protocol": "it passes on",
    "cli/checking": "it says what others have found; its tests compare output",
    "cli/doctor": "it shows",
    "cli/records": "it shows",
    "cli/finding": "it shows",
    "cli/init": "it proposes",
    "cli/importable": "it proposes",
    "cli/inside_pytest": "it shows",
    "cli/pyproject": "it proposes",
    "discover/*": "what it reads is proposed, and not relied on",
    "plugin/probe": "it shows",
    "cli/commands": "it says what others have found; its tests compare output",
    "cli/options": "it passes on",
    "cli/snapshots": "as commands",
    "cli/stored": "as commands",
    "project/commands": "it shows",
    "project/config": "a mistake in it is an error of configuration",
    "project/alembic_settings": "as config",
    "project/table": "as config",
    "builder/failure": "it shows",
    "cli/console": "it shows",
    "cli/remote": "it says what others have found; its tests compare output",
    "remote/__main__": "it passes on",
    "engines/uncommitted": "it shows",
    "engines/letters": "it shows",
    "plugin/traces": "it shows",
    "build/snapshot": "it passes on",
    "database/lasting": "it has interfaces, and counts forks",
    "database/target": "it passes on",
    "backend": "it passes on",
    "sqlite/backend": "it passes on",
    "database/diff": "it shows",
    "database/schema": "it shows",
    "sqlite/schema": "it shows what the stairway compares",
    "sqlite/clauses": "as schema",
    "errors": "it shows",
    "build/progress": "it shows",
    "build/waiting": "it shows",
    "lossy": "it shows",
    "cli/job_summary": "it shows",
    "project/callsite": "it shows",
    "project/unsupported": "names for an error",
    "project/places": "names of folders",
    "project/spelling": "how names are shown and ignored",
    "project/references": "a mistake in it is an error of configuration",
    "__main__": "two lines",
    "builder/__main__": "it passes on",
    "builder/target": "it passes on",
    "builder/server_target": "as postgres: each of its tests asks a server",
    "postgres/*": "each of its tests starts or asks a server: minutes for one mistake",
    "build/archiving": "as postgres",
    "store/archives": "as postgres",
    "store/opened": "as commands",
    "engines/importing": "how events are hooked in; without it nothing is pointed",
    "plugin/async_fixtures": "declarations",
    "plugin/fixtures": "declarations",
    "plugin/kept": "it shows",
    "plugin/session": "it passes on",
    "plugin/marker": "a mistake in it is an error of a marker's arguments",
    "project/toml_file": "a mistake in it is an error of configuration",
    "plugin/summary": "it shows",
    "plugin/reports": "it shows",
    "plugin/written": "it shows",
}


def guards(root: Path = ROOT) -> Iterator[Guard]:
    """Every module that guards a guarantee.

    Raises:
        LookupError: a module or a test is not where the table says.
    """
    for name, room in ROOMS.items():
        for module, own in room.modules.items():
            path = f"{room.top}/{module}.py"
            if not (root / path).is_file():
                raise LookupError(f"{name}: there is no module {path}")
            kinds = ("backend/tests",) if room.top == APPLICATION else ("tests",)
            every = ["hints"] if room.top == LIBRARY else []
            words = dict.fromkeys([*own.split(), *room.tests.split(), *every])
            yield Guard(name, path, tuple(_file(root, kinds[0], word) for word in words))


def _file(root: Path, top: str, word: str) -> str:
    folder, _, name = word.rpartition("/")
    pattern = f"{folder}/test_{name}.py" if folder else f"test_{name}.py"
    found = [path.relative_to(root).as_posix() for path in sorted((root / top).rglob(pattern))]
    if len(found) != 1:
        raise LookupError(f"{word!r} is {len(found)} test files below {top}: {', '.join(found)}")
    return found[0]
