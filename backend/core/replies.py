"""How models write: what stands around, in and after the two forms that they were asked for.

Models put labels in bold, names in backticks, JSON in fences, and think aloud before they answer;
they go on after an action and invent what it brings. Here a reply is freed of what is only dress
or invention, and taken apart at its labels. What it asks for is `core.react`'s to say.
"""

import re
from dataclasses import dataclass

# Where a model is told to stop: what follows would be invented.
STOP = ("\nObservation:",)

_MARKS = r"[*_`#>~ \t]*"


def _label(*names: str) -> re.Pattern[str]:
    """A label at the start of a line, with whatever marks a model puts around it."""
    words = "|".join(r"[ \t]+".join(name.split()) for name in names)
    return re.compile(
        rf"^(?P<before>{_MARKS})(?:{words})(?P<after>[*_` \t]*)[:\uFF1A](?P<rest>[*_`]*)[ \t]*",
        re.IGNORECASE | re.MULTILINE,
    )


_THOUGHT, _ACTION, _INPUT = _label("Thought"), _label("Action"), _label("Action Input")
_FINAL, _OBSERVATION = _label("Final Answer"), _label("Observation")
_ANY = _label("Thought", "Action", "Action Input", "Final Answer")
_THINK = re.compile(r"\s*<(?:think|thinking)>", re.IGNORECASE)
_OPENED = re.compile(r"^[ \t]*<(?:think|thinking)>", re.IGNORECASE | re.MULTILINE)
_CLOSED = re.compile(r"</(?:think|thinking)>[ \t]*\n?", re.IGNORECASE)
_FENCE = re.compile(r"\s*```[a-z]*[ \t]*\n", re.IGNORECASE)
_CALL = re.compile(r"\(\s*\)")


@dataclass(frozen=True)
class Reply:
    """A reply taken apart; a part that is `None` has no label, and one that is blank no text."""

    thought: str
    action: str | None = None
    action_input: str | None = None
    answer: str | None = None
    cut: bool = False
    unfinished_thinking: bool = False


def take_apart(text: str) -> Reply:
    """The labelled parts of a reply.

    An answer that comes before an action has all that follows it, a line that begins with
    `Observation:` too. `cut` says that an invented observation was cut off, `unfinished_thinking`
    that the reply ends inside of `<think>`.
    """
    said, unfinished = _without_thinking(text)
    said, cut = _without_observation(_unwrapped(said))
    final, action = _FINAL.search(said), _ACTION.search(said)
    if final and (action is None or final.start() < action.start()):
        return Reply(_thought(said[: final.start()]), answer=_answer(said, final), cut=cut)
    if action is None:
        return Reply(_thought(said), cut=cut, unfinished_thinking=unfinished)
    following = _ANY.search(said, action.end())
    label = following and _INPUT.match(said, following.start())
    return Reply(
        _thought(said[: action.start()]),
        action=_bare_name(_value(said[: following.start() if following else None], action)),
        action_input=None if label is None else _value(said, label),
        answer=None if final is None else _answer(said, final),
        cut=cut,
    )


def readable(text: str) -> str:
    """What a model is shown of a reply of its own that could not be read."""
    said, _ = _without_thinking(text)
    return _without_observation(said)[0].strip()


def _without_thinking(text: str) -> tuple[str, bool]:
    """The text without `<think>` blocks before its answer, and whether one is never closed.

    Where the endpoint has opened the block, the reply has only its end.
    """
    kept, at = "", 0
    while opened := _THINK.match(text, at) or _OPENED.search(text, at):
        if _FINAL.search(text, at, opened.start()):
            break
        kept += text[at : opened.start()]
        closed = _CLOSED.search(text, opened.end())
        if closed is None:
            return kept, True
        at = closed.end()
    kept += text[at:]
    *_, end = (0, *(closed.end() for closed in _CLOSED.finditer(kept)))
    rest = kept[end:].lstrip()
    return (rest if end and _ANY.match(rest) else kept), False


def _without_observation(text: str) -> tuple[str, bool]:
    """The text up to an invented observation; after an answer there is none to invent."""
    invented = _OBSERVATION.search(text)
    if invented is None or _FINAL.search(text, 0, invented.start()):
        return text, False
    return text[: invented.start()], True


def _unwrapped(text: str) -> str:
    """The text, without a fence that is around all of it."""
    opened, fenced = _FENCE.match(text), text.rstrip()
    if opened is None or not fenced[opened.end() :].endswith("```"):
        return text
    inside = fenced[opened.end() : -3].rstrip(" \t").removesuffix("\n")
    return inside if _ANY.match(inside.lstrip()) else text


def _thought(text: str) -> str:
    label = _THOUGHT.search(text)
    before = text[: label.start() if label else None].strip().removeprefix("```").strip()
    return "\n".join(part for part in (before, label and _value(text, label)) if part)


def _answer(text: str, label: re.Match[str]) -> str:
    """What follows the label, without the end of a fence that was begun before it."""
    answer = _value(text, label)
    within = text[: label.start()].count("```") % 2 == 1
    return answer.removesuffix("```").rstrip() if within else answer


def _value(text: str, label: re.Match[str]) -> str:
    """What follows a label; marks that were opened before the label are closed at the end."""
    value = text[label.end() :].strip()
    marks = label["before"].strip(" \t#>")
    if marks and not (label["after"] + label["rest"]).strip():
        value = value.removesuffix(marks[::-1]).rstrip()
    return value


def _bare_name(text: str) -> str:
    """A tool's name, without backticks, quotes, bold and an empty pair of parentheses."""
    name = text.strip("*`\"' \t\n").partition("\n")[0]
    letters = (place for place in range(len(name), 0, -1) if _is_of_a_word(name[place - 1]))
    called = _CALL.search(name, next(letters, 0))
    return name[: called.start() if called else None].strip("*`\"' \t")


def _is_of_a_word(letter: str) -> bool:
    return letter == "_" or letter.isalnum()
