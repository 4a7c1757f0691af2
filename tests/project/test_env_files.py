"""What a ``.env`` file says is what an application has that loads it."""

from __future__ import annotations

import pytest

from alembic_snapshot.project import env_files

ABOVE = {"HOME": "/home/ada", "DB": "above"}
# What a file says, and what its variable URL is.
FILES = {
    "plain": ("URL=sqlite:///dev.db", "sqlite:///dev.db"),
    "a name above it": ("DB=dev\nURL=sqlite:///${DB}.db", "sqlite:///dev.db"),
    "two names": ("A=a\nB=b\nURL=pg://${A}/${B}", "pg://a/b"),
    "a name of one that has one": ("A=a\nB=${A}b\nURL=x/${B}", "x/ab"),
    "a name below it": ("URL=sqlite:///${DB}.db\nDB=dev", "sqlite:///above.db"),
    "a variable": ("URL=sqlite:///${HOME}/dev.db", "sqlite:////home/ada/dev.db"),
    "a default": ("URL=sqlite:///${NONE:-dev}.db", "sqlite:///dev.db"),
    "a default that is not needed": ("DB=dev\nURL=sqlite:///${DB:-x}.db", "sqlite:///dev.db"),
    "nothing": ("URL=sqlite:///${NONE}.db", "sqlite:///.db"),
    "in double quotes": ('DB=dev\nURL="sqlite:///${DB}.db"  # ours', "sqlite:///dev.db"),
    "in single quotes": ("DB=dev\nURL='sqlite:///${DB}.db'", "sqlite:///dev.db"),
    "a bare dollar": ("DB=dev\nURL=pg://u:p$DB@h/d", "pg://u:p$DB@h/d"),
    "a quote in a password": (r'URL="pg://u:p\"w@h/d"', 'pg://u:p"w@h/d'),
    "a single one": (r"URL='pg://u:p\'w@h/d'", "pg://u:p'w@h/d"),
    "a backslash": (r'URL="pg://u:p\\w@h/d"', r"pg://u:p\w@h/d"),
    "a backslash without quotes": (r"URL=pg://u:p\nw@h/d", r"pg://u:p\nw@h/d"),
    "the last of two": ("URL=a\nURL=b", "b"),
    "an empty one": ('URL=""', ""),
    "behind export": ("export DB=dev\nexport URL=x/${DB}", "x/dev"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_it_says(tmp_path, case):
    text, expected = FILES[case]
    (tmp_path / ".env").write_text(text)

    assert env_files.assigned(tmp_path / ".env", ABOVE)["URL"] == expected


@pytest.mark.parametrize("case", FILES)
def test_python_dotenv_says_the_same(tmp_path, case, monkeypatch):
    dotenv = pytest.importorskip("dotenv")
    for name in ("A", "B", "NONE", "URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ABOVE.items():
        monkeypatch.setenv(name, value)
    text, expected = FILES[case]
    (tmp_path / ".env").write_text(text)
    # What stands in the file wins there only over what does not.
    read = dotenv.dotenv_values(tmp_path / ".env")

    assert read["URL"] == expected


def test_letters_of_another_encoding_hide_no_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"# d\xe9velopp\xe9\nNAME=Ren\xe9\nURL=sqlite:///dev.db\n")

    assert env_files.assigned(tmp_path / ".env", {})["URL"] == "sqlite:///dev.db"


def test_the_nearest_file_counts_and_one_that_is_not_there_says_nothing(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / ".env").write_text("DB=far\nURL=x/${DB}\nOTHER=1\n")

    assert env_files.values(tmp_path / "shop", {}) == {"DB": "far", "URL": "x/far", "OTHER": "1"}
    (tmp_path / "shop" / ".env").write_text("DB=near\nURL=x/${DB}\n")
    assert env_files.values(tmp_path / "shop", {})["URL"] == "x/near"
