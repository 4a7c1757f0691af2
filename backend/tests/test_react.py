"""How replies of a model are read."""

import json
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from core.react import FORMAT, Act, Finish, UnreadableReply, parse, system_prompt, written
from core.replies import readable
from core.tools import Tool

TABLE = tomllib.loads(Path(__file__).with_name("replies.toml").read_text())


@pytest.mark.parametrize("row", TABLE["understood"], ids=lambda row: row["about"])
def test_models_are_understood_as_they_write(row: dict[str, Any]) -> None:
    thought = row.get("thought", "")

    if "answer" in row:
        assert parse(row["reply"]) == Finish(thought, row["answer"])
    else:
        assert parse(row["reply"]) == Act(thought, row["action"], row["input"])


@pytest.mark.parametrize("row", TABLE["told"], ids=lambda row: row["about"])
def test_what_is_not_understood_says_what_is_wrong(row: dict[str, Any]) -> None:
    with pytest.raises(UnreadableReply) as caught:
        parse(row["reply"])

    assert row["problem"] in caught.value.problem


@pytest.mark.parametrize("row", TABLE["understood"], ids=lambda row: row["about"])
def test_what_was_read_is_retold_in_the_form_that_was_asked_for(row: dict[str, Any]) -> None:
    turn = parse(row["reply"])

    assert isinstance(turn, Finish) or parse(written(turn)) == turn


# What a model says again and again when it has lost its way, and what it says around that.
REPEATED = [
    *(
        "()",
        "( ",
        "(",
        ")",
        " ",
        "\t",
        "\n",
        " \n",
        "*",
        "*\n",
        "_",
        "`",
        "``` ",
        "```\n",
        "#",
        ">",
    ),
    *(
        "Thought: x\n",
        "Thought",
        "Action: ",
        "Action\n",
        "Action Input:\n",
        "Final ",
        "Observation:\n",
    ),
    *("<think>\n", "<think></think>\n", "</think>\n", "<think", '{"a":', "[", "\\", "a"),
]
AROUND = [
    "{}",
    "```\n{}x",
    "Action: read{}a\nAction Input: {{}}",
    "Final Answer: {}x",
    "<think>{}x",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("repeated", REPEATED)
def test_what_is_repeated_without_end_is_read_in_one_go(repeated: str, around: str) -> None:
    """Step by step it would take hours in which nothing else of the process goes on."""
    reply = around.format(repeated * (100_000 // len(repeated)))

    with stopped_after(20), suppress(UnreadableReply):
        parse(reply)
    with stopped_after(20):
        assert len(readable(reply)) <= len(reply)


@contextmanager
def stopped_after(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class TestActions:
    def test_an_action_has_a_thought_a_tool_and_arguments(self) -> None:
        reply = 'Thought: I look.\nAction: find_customer\nAction Input: {"email": "a@b"}'

        assert parse(reply) == Act("I look.", "find_customer", {"email": "a@b"})

    def test_arguments_may_span_lines_and_stand_in_a_fence(self) -> None:
        reply = 'Action: read\nAction Input:\n```json\n{\n  "a": [1,\n  2]\n}\n```'

        assert parse(reply) == Act("", "read", {"a": [1, 2]})

    def test_a_thought_may_span_lines(self) -> None:
        reply = "Thought: First.\nSecond.\n\nAction: read\nAction Input: {}"

        assert parse(reply) == Act("First.\nSecond.", "read", {})

    def test_arguments_may_be_nested_50_deep(self) -> None:
        reply = f'Action: read\nAction Input: {{"a": {"[" * 49 + "]" * 49}}}'

        assert parse(reply) == Act("", "read", {"a": json.loads("[" * 49 + "]" * 49)})


class TestAnswers:
    def test_an_answer_has_a_thought(self) -> None:
        assert parse("Thought: I should finish.\nFinal Answer: Done.") == Finish(
            "I should finish.", "Done."
        )

    def test_an_answer_may_span_lines_and_speak_of_actions(self) -> None:
        reply = "Thought: So.\nFinal Answer: Two lines:\nAction: none\nAction Input: none"

        assert parse(reply) == Finish("So.", "Two lines:\nAction: none\nAction Input: none")

    def test_a_label_inside_a_line_is_not_a_label(self) -> None:
        reply = "Thought: my Final Answer: will follow.\nFinal Answer: 4"

        assert parse(reply) == Finish("my Final Answer: will follow.", "4")


def test_an_agent_is_told_who_it_is_what_it_can_use_and_how_to_reply() -> None:
    schema = {"type": "object", "properties": {"value": {"type": "string"}}}
    tools = [Tool("read_note", "Read a note.", schema, print)]

    assert system_prompt("sam", "Sells.", tools).startswith("You are sam. Sells.\n\nTools:\n")
    assert system_prompt("sam", None, []).startswith("You are sam.\n\n")
    assert f"- read_note: Read a note. Arguments: {json.dumps(schema)}" in system_prompt(
        "sam", None, tools
    )
    assert system_prompt("sam", None, tools).endswith(FORMAT)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "neither"),
        ("Thought: Hm.", "neither"),
        ("I would rather not.", "neither"),
        ("Final Answer:  \n", "empty"),
        ("Action:\nAction Input: {}", "names no tool"),
        (f"Action: {'read ' * 50}\nAction Input: {{}}", "too long"),
        ("Action: read", "not followed by an Action Input"),
        ("Action: read\nAction Input: email", "not JSON"),
        ("Action: read\nAction Input: {'a': 1}", "not JSON"),
        ('Action: read\nAction Input: {"a": NaN}', "not JSON"),
        ('Action: read\nAction Input: {"a": -1e999}', "not JSON"),
        (f'Action: read\nAction Input: {{"a": {"9" * 5000}}}', "not JSON"),
        (f"Action: read\nAction Input: {'[' * 100_000}", "not JSON"),
        (f'Action: read\nAction Input: {{"a": {"[" * 50 + "]" * 50}}}', "more than 50 deep"),
        ("Action: read\nAction Input: [1]", "not a JSON object"),
    ],
)
def test_what_fits_neither_form_says_what_is_wrong(reply: str, problem: str) -> None:
    with pytest.raises(UnreadableReply) as caught:
        parse(reply)

    assert problem in caught.value.problem
