"""A token's line: what it has comes back, and what was cut, altered or made elsewhere is told."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import string
import tracemalloc
import zlib

import pytest

from alembic_snapshot.errors import CommandError
from alembic_snapshot.tokens import token as tokens
from alembic_snapshot.tokens.changeset import (
    Changeset,
    Fingerprint,
    NotCarried,
    RawText,
    RowChanges,
    SchemaObject,
)
from alembic_snapshot.tokens.token import Token, from_line, read_argument

ROW = (1, -(2**63), 0.1, float("inf"), None, "it's ü\n", "\0", b"\x00\xff", RawText(b"\xff"), "")
CHANGES = Changeset(
    dropped=[("view", "old")],
    created=[SchemaObject("table", "new", "new", "CREATE TABLE new (x)")],
    rows={"t": RowChanges(tuple("abcdefghij"), 2, [(1, "x")], [ROW])},
    counters={"t": (5, True)},
    settings={"user_version": 3},
)
TOKEN = Token(
    "sqlite",
    "default",
    "test_it.py::test_ü",
    "ab" * 32,
    CHANGES,
    "be" * 16,
    Fingerprint("af" * 16, {"t": "0123456789"}),
    revision="0001",
    parts={"<version of SQLite>": "3.45.1", "<settings>": "abcdef"},
)
LINE = TOKEN.to_line()


def signed(content, *, packed=None):
    """The line of any content, as somebody who knows the format writes it."""
    packed = zlib.compress(content, 9) if packed is None else packed
    check = hashlib.sha256(b"1" + packed).digest()[:12]
    return "asnap1_" + base64.urlsafe_b64encode(check + packed).decode().rstrip("=")


def record():
    return json.loads(zlib.decompress(base64.urlsafe_b64decode(LINE[7:] + "==")[12:]))


def test_everything_comes_back():
    assert from_line(LINE) == TOKEN
    # Among values that are equal, the types count.
    (row,) = from_line(LINE).changes.rows["t"].added
    assert [type(value) for value in row] == [type(value) for value in ROW]


def test_it_is_one_line_of_safe_characters():
    assert set(LINE) <= set(string.ascii_letters + string.digits + "_-")
    assert read_argument(f"  {LINE}\n") == TOKEN


def test_a_token_that_was_cut_anywhere_is_told():
    for end in range(len(LINE)):
        with pytest.raises(CommandError) as caught:
            from_line(LINE[:end])
        assert caught.value.hint


def test_a_token_with_any_byte_altered_is_told():
    chance = random.Random(5)
    for at in range(len(LINE)):
        others = set(string.printable) - {LINE[at]}
        for other in [*chance.sample(sorted(others), 3), "\x00", "ü"]:
            line = LINE[:at] + other + LINE[at + 1 :]
            if line.strip() == LINE.strip():
                continue
            with pytest.raises(CommandError):
                from_line(line)


@pytest.mark.parametrize("number", ["0", "2", "01", "10", "999999999"])
def test_another_format_is_told_by_its_number(number):
    with pytest.raises(CommandError, match=f"format {number}, and this version reads format 1"):
        from_line(LINE.replace("asnap1_", f"asnap{number}_"))


@pytest.mark.parametrize(
    "text", ["", "asnap", "asnap1", "hello", "eyJhbGciOiJIUzI1NiJ9.e30.x", "asnap1_", "asnapx_ab"]
)
def test_what_is_no_token_is_told(text):
    with pytest.raises(CommandError) as caught:
        from_line(text)
    assert "asnap" in str(caught.value.hint)


def test_a_token_may_be_in_a_file(tmp_path):
    path = tmp_path / "a.token"
    path.write_text(LINE + "\n")

    assert read_argument(str(path)) == TOKEN


REPORT = f"open it on any machine: alembic-snapshot open {LINE}"


@pytest.mark.parametrize(
    "text",
    [
        REPORT,
        f"{LINE[:50]}\n{LINE[50:90]}  \n {LINE[90:]}",
        f'<property name="alembic_snapshot_token" value="{LINE}"/>\n<system-out/>',
        f"E   assert False\n{REPORT}\n=== short test summary ===\n{REPORT}\n",
    ],
    ids=["the report's line", "broken by a terminal", "JUnit's file", "a log"],
)
def test_a_token_is_found_where_it_is_copied_from(tmp_path, monkeypatch, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert read_argument(str(path)) == read_argument(text) == read_argument("-") == TOKEN


def test_several_tokens_are_told(tmp_path):
    other = Token(**{**vars(TOKEN), "test": "another"}).to_line()
    path = tmp_path / "a.log"
    path.write_text(f"{REPORT}\nopen {other}\n")

    with pytest.raises(CommandError) as caught:
        read_argument(str(path))

    begun = sorted([f"{LINE[:19]}… of {TOKEN.test}", f"{other[:19]}… of another"])
    assert caught.value.message == f"{path} has 2 tokens: {', '.join(begun)}"


def test_of_several_tokens_one_that_is_cut_is_told(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(f"{REPORT}\nopen {LINE[:60]}\n")

    with pytest.raises(CommandError, match=f"{LINE[:19]}… is cut or altered"):
        read_argument(str(path))


def test_of_several_tokens_a_tests_name_is_one_line_of_a_bounded_length(tmp_path):
    names = ("a\nerror: b", "c" * 5000)
    lines = [Token(**{**vars(TOKEN), "test": name}).to_line() for name in names]
    path = tmp_path / "a.log"
    path.write_text(" ".join(f"open {line}" for line in lines))

    with pytest.raises(CommandError) as caught:
        read_argument(str(path))

    assert "of a error: b" in caught.value.message
    assert f"of {'c' * 200}…" in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_a_file_that_has_none_or_is_none_is_told(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"\x00\xff no token\n" * 10)

    with pytest.raises(CommandError, match=r"log\.txt is no token"):
        read_argument(str(tmp_path / "log.txt"))
    with pytest.raises(CommandError, match="there is no file"):
        read_argument(str(tmp_path / "missing"))
    with pytest.raises(CommandError, match="is a folder"):
        read_argument(str(tmp_path))
    with pytest.raises(CommandError, match="is no regular file"):
        read_argument("/dev/null")
    with pytest.raises(CommandError, match="neither a token nor a file"):
        read_argument("x" * 10_000)


BOMBS = {
    "zeros": zlib.compress(b"0" * (200 * 1024 * 1024), 9),
    "no end": zlib.compress(b"{}" * 100)[:-3],
    "more after it": zlib.compress(b"{}") + b"more",
    "not packed": b"nothing",
    "empty": b"",
}


@pytest.mark.parametrize("packed", BOMBS.values(), ids=BOMBS)
def test_what_does_not_unpack_to_a_token_is_one_error(packed):
    with pytest.raises(CommandError, match="none that alembic-snapshot wrote"):
        from_line(signed(b"", packed=packed))


def test_a_bomb_is_not_unpacked_to_its_end():
    line = signed(b"", packed=BOMBS["zeros"])
    tracemalloc.start()
    try:
        with pytest.raises(CommandError):
            from_line(line)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()


def foreign_records():
    """Records that are not quite those of a token, with a hash that fits."""
    chance = random.Random(7)
    wrong = [None, True, 1, 1.5, "", "x\0", [], {}, [[]], {"bytes": "?"}, 2**64, [1, 2], [None]]
    for _ in range(300):
        found = record()
        where, name = found, chance.choice(sorted(found))
        while isinstance(where[name], dict | list) and where[name] and chance.random() < 0.7:
            where = where[name]
            name = chance.choice([*(where if isinstance(where, dict) else range(len(where)))])
        value = chance.choice(wrong)
        if chance.random() < 0.2 and isinstance(where, dict):
            del where[name]
        else:
            where[name] = value
        yield found


def test_a_foreign_record_is_a_token_or_one_error():
    refused = 0
    for found in foreign_records():
        try:
            read = from_line(signed(json.dumps(found).encode()))
        except CommandError:
            refused += 1
        else:
            assert from_line(read.to_line()) == read
    assert refused > 200


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"[]", b"null", b"\xff\xfe", b'{"a": 1' + b"0" * 5000 + b"}"]
)
def test_what_is_no_record_is_one_error(content):
    with pytest.raises(CommandError, match="none that alembic-snapshot wrote"):
        from_line(signed(content))


def test_what_is_too_large_for_any_token_is_said(monkeypatch):
    monkeypatch.setattr(tokens, "_UNPACKED_LIMIT", 100)

    with pytest.raises(NotCarried, match="a token at most"):
        TOKEN.to_line()


ROWS = {"columns": ["id", "a"], "key": 1, "removed": [[1]], "added": [[2, "x"]]}
STRANGE = {
    "a part that nobody knows": {"more": {}},
    "a key of no column": {"rows": {"t": {**ROWS, "key": 0, "removed": []}}},
    "a key of more columns than there are": {"rows": {"t": {**ROWS, "key": 3, "removed": []}}},
    "a column twice": {"rows": {"t": {**ROWS, "columns": ["id", "id"]}}},
    "a row that is too short": {"rows": {"t": {**ROWS, "added": [[2]]}}},
    "a key that is too long": {"rows": {"t": {**ROWS, "removed": [[1, 2]]}}},
    "a part of rows that nobody knows": {"rows": {"t": {**ROWS, "more": 1}}},
    "rows without a part": {"rows": {"t": {"columns": ["id"], "key": 1}}},
    "an object without a statement": {"created": [["table", "t", "t"]]},
    "an object of no kind": {"created": [["role", "t", "t", "CREATE ROLE t"]]},
    "a counter that is none": {"counters": {"t": [1, "yes"]}},
    "a setting that is no number": {"settings": {"user_version": "1"}},
}


@pytest.mark.parametrize("record", STRANGE.values(), ids=STRANGE)
def test_a_strange_difference_is_none(record):
    assert Changeset.from_record({"rows": {"t": ROWS}}).rows["t"].columns == ("id", "a")

    with pytest.raises(ValueError, match=r"\w"):
        Changeset.from_record(record)
