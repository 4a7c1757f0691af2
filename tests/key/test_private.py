"""``remote_private``: a name that keeps nothing back is refused, whoever reads the key."""

from __future__ import annotations

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.project.config import load_projects

LAYERS = 'seeds = ["seeding:basic"]\nlayers = { demo = ["seeding:demo"] }\n'


@pytest.fixture
def seeded(project):
    project.revision("0001_first")
    project.revision("0002_second", "0001_first")
    project.write("seeding.py", "def basic(c): ...\ndef demo(c): ...\n")
    return project


def private(project, *names, more=LAYERS):
    project.configure(f"{more}remote_private = {list(names)!r}\n")


@pytest.mark.parametrize("name", ["demo", "seeding:basic", "seeding:demo", "0001_first"])
def test_a_layer_a_seed_and_a_revision_can_be_private(seeded, name):
    private(seeded, name)

    assert seeded.chain().heads == ("0002_second",)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Demo", "did you mean 'demo'?"),
        ("demoo", "did you mean 'demo'?"),
        ("seeding.demo", "did you mean 'seeding:demo'?"),
        ("seeding", "did you mean 'seeding:basic'?"),
        ("0001", "did you mean '0001_first'?"),
        ("head", "write a layer's name, a seed's module:function, or the whole id of a revision"),
        ("*", "write a layer's name, a seed's module:function, or the whole id of a revision"),
        (
            "default",
            "write a layer's name, a seed's module:function, or the whole id of a revision",
        ),
    ],
)
def test_a_name_of_nothing_is_refused(seeded, name, hint):
    private(seeded, "demo", name)

    with pytest.raises(ConfigError, match=r"^remote_private names '.*', which is no") as told:
        seeded.chain()

    assert told.value.hint == hint


@pytest.mark.parametrize("command", ["build", "key", "status"])
def test_every_command_refuses_it(seeded, command):
    private(seeded, "Demo")

    done = seeded.command(command)

    assert done.returncode == 2
    assert "remote_private names 'Demo'" in done.stderr


def test_a_revision_that_only_a_run_tells_can_not_be_kept_back(seeded):
    seeded.write("making.py", "def make(url): ...\n")
    private(seeded, "0001_first", more='migrate = "making:make"\n')

    with pytest.raises(ConfigError, match=r"known before it runs .migrate makes the database"):
        seeded.chain()


class TestOfSeveralDatabases:
    """The first one's names are those of the others."""

    def project_with(self, seeded, names, own=""):
        seeded.write("events.ini", "[alembic]\nscript_location = %(here)s/events\n")
        seeded.write("events/env.py", "")
        seeded.revision("e1", folder=seeded.root / "events" / "versions")
        table = '[tool.alembic-snapshot.databases.events]\nconfig = "events.ini"\n'
        table += f'layers = {{ busy = ["seeding:demo"] }}\n{own}'
        private(seeded, *names, more=LAYERS)
        seeded.append("pyproject.toml", table)
        return load_projects(seeded.root)

    def keys(self, projects):
        from alembic_snapshot.build.lookup import look_up

        return [look_up(one).chain.key for one in projects.values()]

    def test_what_one_of_them_has_is_known(self, seeded):
        projects = self.project_with(seeded, ["demo", "busy", "e1", "0002_second"])

        assert len(set(self.keys(projects))) == 2

    def test_what_none_has_is_refused(self, seeded):
        projects = self.project_with(seeded, ["e2"])

        with pytest.raises(ConfigError, match="remote_private names 'e2'"):
            self.keys(projects)

    def test_what_one_has_that_has_names_of_its_own_is_not_meant(self, seeded):
        projects = self.project_with(seeded, ["busy"], own='remote_private = ["e1"]\n')

        with pytest.raises(ConfigError, match="remote_private names 'busy'"):
            self.keys(projects)
