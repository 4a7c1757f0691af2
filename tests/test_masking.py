"""No message shows a password of a URL that we were given or made."""

from __future__ import annotations

import json
import pickle
import random
import string
from configparser import ConfigParser
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy.engine import URL

from alembic_snapshot.cli import console
from alembic_snapshot.cli.finding import bad
from alembic_snapshot.errors import BuildError, printable
from alembic_snapshot.masking import keep_secret, masked, masked_values
from alembic_snapshot.postgres.server import Server

SECRET = "pSs3cr@t/x"
URL_OF = f"https://ada:{quote(SECRET, safe='')}@example.com/snapshots"


def passwords(seed):
    """Passwords of every kind of character, long enough not to be a part of other words."""
    source = random.Random(seed)
    characters = string.ascii_letters + string.digits + "%+ @/:?#&='\"\\{}[]()ß€."
    for _ in range(40):
        yield "q7" + "".join(source.choices(characters, k=source.randint(6, 20))) + "z9"


def spellings(password):
    """A password as those who read and print it have it, whose own code says how."""
    url = URL.create("postgresql+psycopg", "ada", password, "localhost", database="d")
    yield password
    yield str(url.render_as_string(hide_password=False))
    yield repr(password)
    yield repr(url.render_as_string(hide_password=False))
    yield f"postgresql://ada:{quote(password, safe='')}@localhost"
    yield f"postgresql:///?user=ada&password={quote_plus(password)}"
    text = f"postgresql://ada:{quote(password, safe='')}@localhost"
    try:
        ConfigParser().read_dict({"alembic": {"url": text}})
    except ValueError as error:
        yield str(error)
    yield text.replace("%", "%%")


class TestASecret:
    @pytest.mark.parametrize("seed", range(5))
    def test_is_masked_however_it_is_spelled(self, seed):
        for password in passwords(seed):
            url = URL.create("postgresql", "ada", password, "localhost")
            keep_secret(url.render_as_string(hide_password=False))
            for text in spellings(password):
                shown = masked(f"before {text} after")

                assert "***" in shown
                assert password[2:-2] not in shown
                assert quote(password, safe="")[2:-2] not in shown
                assert shown.startswith("before ")
                assert shown.endswith(" after")

    @pytest.mark.parametrize(
        "url",
        [
            "https://ada:Unenc@d3d-one@example.com/x",
            "https://ada:Unenc%40d3d-one@example.com/x",
            "postgresql://ada:Unenc@d3d-one@localhost/",
            "postgresql://localhost/?user=ada&password=Unenc@d3d-one",
            "az://account/x?sv=1&sig=Unenc%40d3d-one",
        ],
    )
    def test_is_found_wherever_a_url_has_it(self, url):
        keep_secret(url)

        assert "d3d-one" not in masked(f"can't open {url}")

    def test_leaves_the_rest_of_a_text_alone(self):
        keep_secret("https://ada:Lonely-0ne@example.com/x")
        text = "https://ada:other@example.com/x, revision 0001, {url}, 100 %"

        assert masked(text) == text

    @pytest.mark.parametrize(
        "password", ["shop", "Bookshops", "abc", "postgres", "password", "grace"]
    )
    def test_that_is_a_word_is_masked_as_a_password_alone(self, password):
        keep_secret(f"postgresql://grace:{password}@localhost:5432/")

        assert masked(f"correct the {password} of postgresql://grace:{password}@localhost") == (
            f"correct the {password} of postgresql://grace:***@localhost"
        )

    @pytest.mark.parametrize(
        ("password", "is_masked"),
        [("q7x", False), ("q7xz", True), ("Longestword", False), ("Longestwords", True)],
    )
    def test_is_masked_everywhere_from_a_length_on(self, password, is_masked):
        keep_secret(f"postgresql://grace:{password}@localhost:5432/")

        assert (masked(f"not {password}") == "not ***") is is_masked

    def test_of_an_environment_is_known_before_it_is_used(self, monkeypatch):
        monkeypatch.setenv("SNAPSHOT_POSTGRES_URL", "postgresql://ada:fr0m-outside@localhost/")
        monkeypatch.setenv("PGPASSWORD", "an0ther-one")

        assert masked("not fr0m-outside, not an0ther-one") == "not ***, not ***"


class TestWhatIsShown:
    @pytest.fixture(autouse=True)
    def known(self):
        keep_secret(URL_OF)

    def test_is_an_error_without_it(self):
        error = BuildError(f"no {SECRET}", hint=f"see {URL_OF}", details=f"Trace: {SECRET}")
        again = pickle.loads(pickle.dumps(error))

        for one in (error, again):
            assert (one.message, one.hint, one.details) == (
                "no ***",
                "see https://ada:***@example.com/snapshots",
                "Trace: ***",
            )

    def test_is_a_finding_without_it(self):
        assert str(bad("x", f"no {SECRET}", f"not {SECRET}")) == "✗ x: no ***\n    hint: not ***"

    def test_is_a_warning_or_a_result_without_it(self, capsys):
        console.warn([f"no {SECRET}"])
        console.show(f"see {URL_OF}")
        out, err = capsys.readouterr()

        assert err == "warning: no ***\n"
        assert out == "see https://ada:***@example.com/snapshots\n"
        assert printable(SECRET) == "***"

    def test_is_the_url_of_a_database_with_it(self, capsys):
        console.show(URL_OF, is_url=True)

        assert capsys.readouterr().out == f"{URL_OF}\n"

    def test_is_json_with_it_in_a_url_alone(self):
        record = {"url": URL_OF, "warnings": [SECRET, 1], "more": {"url": URL_OF, "why": SECRET}}

        assert masked_values(record, "url") == {
            "url": URL_OF,
            "warnings": ["***", 1],
            "more": {"url": URL_OF, "why": "***"},
        }

    def test_knows_a_server_by_its_being_made(self):
        Server("postgresql://ada:of-a-s3rver@localhost/")

        assert masked("of-a-s3rver") == "***"


class TestACommand:
    @pytest.mark.parametrize(
        ("command", "keys", "password"),
        [
            ("status", False, "p@Wr0ng-one"),
            ("status", True, "Wr0ng-one"),
            ("doctor", False, "p/Wr0ng-one"),
            ("doctor", True, "p@Wr0ng-one"),
            ("build", True, "p/Wr0ng-one"),
            ("pull", True, "Wr0ng-one"),
        ],
    )
    def test_does_not_show_a_shared_stores(self, project, password, command, keys):
        project.history(1)
        key = "ed25519:" + "A" * 43 + "="
        project.configure(f'remote_keys = {{ main = "{key}" }}' if keys else "")
        url = f"https://ada:{password}@127.0.0.1:1/x" if keys else f"https://ada:{password}@a.b/x"

        ran = project.command(command, variables={"ALEMBIC_SNAPSHOT_REMOTE": url})

        assert "Wr0ng-one" not in ran.stdout + ran.stderr
        if not keys:
            assert "others can reach" in ran.stdout + ran.stderr

    @pytest.mark.parametrize("arguments", [["build"], ["build", "--traceback"], ["doctor"]])
    def test_does_not_show_a_servers_that_env_py_prints(self, project, arguments):
        url = "postgresql://ada:of%40env-py5@localhost/"
        project.history(1)
        project.append("migrations/env.py", f"raise ValueError({url!r} + ' of@env-py5')")

        ran = project.command(*arguments, variables={"SNAPSHOT_POSTGRES_URL": url})

        shown = ran.stdout + ran.stderr
        assert "env-py5" not in shown
        if "build" in arguments:
            assert ran.returncode == 2
            assert "ValueError: postgresql://ada:***@localhost/ ***" in shown

    def test_does_not_keep_it_in_a_manifest(self, project):
        url = "postgresql://ada:of%40env-py6@localhost/"
        project.history(1)
        project.append(
            "migrations/env.py",
            "import sqlalchemy\n"
            "sqlalchemy.create_engine('sqlite:///of@env-py6.db').connect().close()\n",
        )

        ran = project.command("build", "--json", variables={"SNAPSHOT_POSTGRES_URL": url})

        assert "***" in ran.stdout
        assert "env-py6" not in json.dumps(json.loads(ran.stdout)["warnings"]) + ran.stderr
        kept = [json.loads(path.read_text()) for path in project.root.rglob("*.json")]
        warnings = [line for one in kept if "warnings" in one for line in one["warnings"]]
        assert any("***" in line for line in warnings)
        assert "env-py6" not in str(warnings)
