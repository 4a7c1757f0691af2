"""A token's line: what it has comes back, and what was cut, altered or made elsewhere is told."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import random
import re
import string
import sys
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
    a_kind,
    from_json,
    hash_of,
    to_json,
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
TEXTS = ("backend", "database", "test", "key", "after", "before")


def signed(content, *, packed=None):
    """The line of any content, as somebody who knows the format writes it."""
    packed = zlib.compress(content, 9) if packed is None else packed
    check = hashlib.sha256(b"1" + packed).digest()[:12]
    return "asnap1_" + base64.urlsafe_b64encode(check + packed).decode().rstrip("=")


def unpacked(line):
    return zlib.decompress(base64.urlsafe_b64decode(line[7:] + "==")[12:]).decode()


def record():
    return json.loads(unpacked(LINE))


def test_everything_comes_back():
    assert from_line(LINE) == TOKEN
    # Among values that are equal, the types count.
    (row,) = from_line(LINE).changes.rows["t"].added
    assert [type(value) for value in row] == [type(value) for value in ROW]


WRITTEN = (  # noqa: UP031
    '{"backend":"sqlite","database":"default","test":"test_it.py::test_ü","key":"%s",'
    '"before":"%s","after":"%s","tables":{"t":"0123456789"},"changes":{"dropped":[["view","old"]],'
    '"created":[["table","new","new","CREATE TABLE new (x)"]],"rows":{"t":{"columns":["a","b","c",'
    '"d","e","f","g","h","i","j"],"key":2,"removed":[[1,"x"]],"added":[[1,-9223372036854775808,'
    '0.1,{"float":"inf"},null,"it\'s ü\\n","\\u0000",{"bytes":"AP8="},{"text":"/w=="},""]]}},'
    '"counters":{"t":[5,true]},"settings":{"user_version":3}},"parts":{"<version of SQLite>":'
    '"3.45.1","<settings>":"abcdef"},"wants":[null,"0001",false]}'
) % ("ab" * 32, "be" * 16, "af" * 16)


def test_what_a_line_has_is_spelled_as_ever():
    assert unpacked(LINE) == WRITTEN
    assert from_line(signed(WRITTEN.encode())) == TOKEN


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


def test_a_token_may_be_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.token"
    path.write_text(LINE + "\n")

    assert read_argument(str(path)) == read_argument("a.token") == TOKEN


def by_each_way(text, path, monkeypatch):
    """What a text is read as: given, in a file, on standard input."""
    path.write_text(text)
    for argument in (text, str(path), "-"):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        yield lambda argument=argument: read_argument(argument)


def test_the_largest_token_is_read_and_nothing_larger(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_LIMIT", len(LINE))

    for read in by_each_way(LINE, tmp_path / "whole.token", monkeypatch):
        assert read() == TOKEN
    for read in by_each_way(f"{LINE}A", tmp_path / "more.token", monkeypatch):
        with pytest.raises(CommandError, match="is larger than any token"):
            read()


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
    names = ("a\nerror: b", "c" * 5000, "d" * 200)
    lines = [Token(**{**vars(TOKEN), "test": name}).to_line() for name in names]
    path = tmp_path / "a.log"
    path.write_text(" ".join(f"open {line}" for line in lines))

    with pytest.raises(CommandError) as caught:
        read_argument(str(path))

    assert "of a error: b" in caught.value.message
    assert f"of {'c' * 200}…" in caught.value.message
    assert re.search("of d{200}(,|$)", caught.value.message)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700


def test_a_file_that_has_none_or_is_none_is_told(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"\x00\xff no token\n" * 10)
    nowhere, longer = "a/" * 500, "a/" * 500 + "b"
    told = {
        str(tmp_path / "log.txt"): f"{tmp_path / 'log.txt'} is no token",
        str(tmp_path / "missing"): f"there is no file {tmp_path / 'missing'}",
        "missing/\0": "there is no file missing/\\x00",
        nowhere: f"there is no file {nowhere}",
        str(tmp_path): f"{tmp_path} is a folder",
        "/dev/null": "/dev/null is no regular file",
        "x" * 40: f"'{'x' * 40}' is neither a token nor a file",
        "x" * 41: f"'{'x' * 40}…' is neither a token nor a file",
        longer: f"'{longer[:40]}…' is neither a token nor a file",
    }

    for argument, message in told.items():
        with pytest.raises(CommandError) as caught:
            read_argument(argument)

        assert caught.value.message == message
        assert caught.value.hint.endswith("copy all of it, from asnap to its end, or give the file")
        assert "asnap1_" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that no process can read")
def test_a_file_that_can_not_be_read_is_told():
    with pytest.raises(CommandError) as caught:
        read_argument("/proc/self/mem")

    assert str(caught.value) == (
        "can't read /proc/self/mem: Input/output error\nhint: give the token, or a file with it"
    )


BOMBS = {
    "zeros": zlib.compress(b"0" * (200 * 1024 * 1024), 9),
    "no end": zlib.compress(WRITTEN.encode())[:-3],
    "more after it": zlib.compress(WRITTEN.encode()) + b"more",
    "not packed": b"nothing",
    "empty": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_does_not_unpack_to_a_token_is_one_error(name):
    with pytest.raises(CommandError) as caught:
        from_line(signed(b"", packed=BOMBS[name]))

    message, _, why = caught.value.message.partition(": ")
    assert message == "the token is none that alembic-snapshot wrote"
    assert why == "it does not end where it should" or name == "not packed"
    assert caught.value.hint == "where is it from? Nothing was done with it"


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


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "it has other parts"),
        ({"wants": None}, "it asks for no snapshot"),
        ({"wants": "abc"}, "it asks for no snapshot"),
        ({"wants": [None, False]}, "it asks for no snapshot"),
        ({"wants": [None, None, False, False]}, "it asks for no snapshot"),
        ({"wants": [None, None, 0]}, "it asks for no snapshot"),
        ({"wants": [1, None, False]}, "something else than text"),
        ({"wants": [None, 1, False]}, "something else than text"),
        ({"tables": {"t": 1}}, "something else than text"),
        ({"tables": {"t\0": "1"}}, "something else than text"),
        ({"parts": {"t": 1}}, "something else than text"),
        ({"parts": {"t\0": "1"}}, "something else than text"),
        *(({name: None}, "something else than text") for name in TEXTS),
    ],
)
def test_a_record_with_something_strange_is_told_by_what_it_is(change, why):
    with pytest.raises(CommandError, match=rf"wrote: {why}\n"):
        from_line(signed(json.dumps({**record(), **change}).encode()))


@pytest.mark.parametrize("name", sorted(record()))
def test_a_record_without_one_of_its_parts_is_told(name):
    less = {key: value for key, value in record().items() if key != name}

    with pytest.raises(CommandError, match=r"wrote: it has other parts\n"):
        from_line(signed(json.dumps(less).encode()))


def test_the_layer_the_revision_and_that_it_was_empty_come_back():
    token = Token(**{**vars(TOKEN), "layer": "demo", "revision": None, "is_empty": True})

    assert from_line(token.to_line()) == token
    assert json.loads(unpacked(token.to_line()))["wants"] == ["demo", None, True]


def test_what_is_too_large_for_any_token_is_said():
    largest = 16 * 1024 * 1024
    empty = Token(**{**vars(TOKEN), "test": ""})
    room = largest - len(unpacked(empty.to_line()).encode())
    whole, over = (Token(**{**vars(TOKEN), "test": "x" * size}) for size in (room, room + 1))

    assert from_line(whole.to_line()) == whole
    with pytest.raises(NotCarried) as caught:
        over.to_line()
    assert str(caught.value) == "the difference has 16 MB, and a token at most 16"


ROWS = {"columns": ["id", "a"], "key": 1, "removed": [[1]], "added": [[2, "x"]]}
TEXT, NUMBER = "something else than text", "something else than an integer"
STRANGE = {
    "a part that nobody knows": ({"more": {}}, "unknown parts of a difference"),
    "no difference": ([], "something else than an object"),
    "a key of no column": (
        {"rows": {"t": {**ROWS, "key": 0, "removed": []}}},
        "columns that can't be",
    ),
    "a key of more columns than there are": (
        {"rows": {"t": {**ROWS, "key": 3, "removed": []}}},
        "columns that can't be",
    ),
    "a column twice": ({"rows": {"t": {**ROWS, "columns": ["id", "id"]}}}, "columns that can't be"),
    "a column that is no text": ({"rows": {"t": {**ROWS, "columns": ["id", "a\0"]}}}, TEXT),
    "columns that are none": (
        {"rows": {"t": {**ROWS, "columns": "ab"}}},
        "something else than a list",
    ),
    "a row that is too short": (
        {"rows": {"t": {**ROWS, "added": [[2]]}}},
        "a list of another length",
    ),
    "a row that is none": (
        {"rows": {"t": {**ROWS, "added": ["ab"]}}},
        "a list of another length",
    ),
    "a key that is too long": (
        {"rows": {"t": {**ROWS, "removed": [[1, 2]]}}},
        "a list of another length",
    ),
    "a part of rows that nobody knows": (
        {"rows": {"t": {**ROWS, "more": 1}}},
        "unknown parts of rows",
    ),
    "rows without a part": (
        {"rows": {"t": {"columns": ["id"], "key": 1}}},
        "unknown parts of rows",
    ),
    "an object without a statement": (
        {"created": [["table", "t", "t"]]},
        "a list of another length",
    ),
    "an object of no kind": (
        {"created": [["role", "t", "t", "CREATE ROLE t"]]},
        "an unknown kind of object",
    ),
    "an object that is dropped and of no kind": (
        {"dropped": [["role", "t"]]},
        "an unknown kind of object",
    ),
    "a name that is no text": ({"dropped": [["table", 1]]}, TEXT),
    "a counter that is none": ({"counters": {"t": [1, "yes"]}}, "a counter that is none"),
    "a counter that is too long": ({"counters": {"t": [1, True, 1]}}, "a list of another length"),
    "a setting that is no number": ({"settings": {"user_version": "1"}}, NUMBER),
    "a setting that is a truth value": ({"settings": {"user_version": True}}, NUMBER),
}


@pytest.mark.parametrize(("record", "why"), STRANGE.values(), ids=STRANGE)
def test_a_strange_difference_is_none(record, why):
    assert Changeset.from_record({"rows": {"t": ROWS}}).rows["t"].columns == ("id", "a")

    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        Changeset.from_record(record)


STRANGE_VALUES = {
    "true": (True, "a truth value in a row"),
    "a list": ([], "a value that is none"),
    "an empty object": ({}, "a value that is none"),
    "two values": ({"bytes": "", "text": ""}, "a value that is none"),
    "an unknown kind": ({"int": "1"}, "a value of an unknown kind"),
    "a number of another kind": ({"float": "nan"}, "a value of an unknown kind"),
    "bytes that are no text": ({"bytes": 1}, "a value of an unknown kind"),
    "bytes that are no base64": ({"bytes": "?"}, "bytes that are none"),
    "bytes that are not padded": ({"text": "/w="}, "bytes that are none"),
    "a number of more than 64 bits": (2**63, "something else than an integer"),
    "another one": (-(2**63) - 1, "something else than an integer"),
    "half of a character": ("a\ud800", ".*surrogates not allowed"),
}


@pytest.mark.parametrize(("value", "why"), STRANGE_VALUES.values(), ids=STRANGE_VALUES)
def test_a_strange_value_is_none(value, why):
    with pytest.raises(ValueError, match=f"^{why}$"):
        from_json(value)


@pytest.mark.parametrize(
    "record",
    [
        {"dropped": [["view", "\ud800"]]},
        {"created": [["view", "v", "v", "CREATE VIEW v AS SELECT '\ud800'"]]},
        {"rows": {"\ud800": ROWS}},
        {"rows": {"t": {**ROWS, "columns": ["id", "\ud800"]}}},
        {"rows": {"t": {**ROWS, "added": [[2, "\ud800"]]}}},
        {"counters": {"\ud800": [1, True]}},
        {"settings": {"\ud800": 1}},
    ],
)
def test_half_of_a_character_is_in_no_difference(record):
    with pytest.raises(UnicodeEncodeError):
        Changeset.from_record(record)


def test_a_tests_name_may_have_bytes_that_are_no_character():
    token = Token(**{**vars(TOKEN), "test": "test_\udcff.py::test_it"})

    assert from_line(token.to_line()) == token


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 2**63 - 1, -(2**63), b"", "\0"])
def test_a_value_comes_back_from_json(value):
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize("value", [[1], {}, object(), 1j])
def test_a_value_that_no_database_gives_is_said(value):
    with pytest.raises(NotCarried, match=f"^a value is a {type(value).__name__}$"):
        to_json(value)


VALUES = (None, 0, 1, -1, 0.5, 1.0, "1", "", b"1", b"", "n;", "ü", RawText(b"\xff"), b"\xff")


def test_a_hash_differs_wherever_a_value_does():
    one = [hash_of([value]) for value in VALUES]
    two = [hash_of(pair) for pair in itertools.product(VALUES, repeat=2)]

    assert len({*one, *two}) == len(VALUES) + len(VALUES) ** 2


def test_a_hash_is_the_same_for_what_a_database_takes_for_the_same():
    assert hash_of([0.0, True, RawText(b"1")]) == hash_of([-0.0, 1, "1"])


def test_a_hash_is_the_same_in_each_version():
    assert hash_of(["\ud800", *VALUES]) == (
        "12f247002dfebe803c62a708cac68fb76989014be236f78456f61d9fe69ff1d3"
    )


def test_its_identity_is_twelve_characters_of_its_lines_hash():
    assert TOKEN.identity == hashlib.sha256(LINE.encode()).hexdigest()[:12]


def test_what_is_read_as_a_token_has_at_most_twice_what_it_unpacks_to():
    assert tokens._LIMIT == 32 * 1024 * 1024


@pytest.mark.parametrize(
    "kind", ["type", "sequence", "table", "column", "constraint", "index", "view", "trigger"]
)
def test_what_may_be_made_is_of_these_kinds(kind):
    assert a_kind(kind) == kind
    with pytest.raises(ValueError, match="kind"):
        a_kind(f"{kind} x")
