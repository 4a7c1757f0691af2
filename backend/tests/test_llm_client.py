"""The model client, against a real HTTP server that speaks the chat completions protocol."""

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from core.atom_meta_agent import AtomMetaAgent
from core.llm import (
    LLMClient,
    LLMCutOff,
    LLMMalformed,
    LLMNotConfigured,
    LLMRefused,
    LLMTimeout,
    LLMUnavailable,
    ScriptedLLM,
    ScriptExhausted,
)
from core.models import Workspace
from core.tools import Tool, ToolRegistry

from alembic_snapshot import Clone

SILENCE = "silence"


def completion(content: str | None, finish_reason: str | None = "stop") -> dict[str, Any]:
    """A chat completion as an endpoint sends it."""
    message = {"role": "assistant", "content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "test",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }


class Endpoint(ThreadingHTTPServer):
    """Answers requests from a list of (status, body); a body that is `SILENCE` never comes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    """One request to an `Endpoint`."""

    server: Endpoint

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.requests.append(json.loads(self.rfile.read(length)))
        self.server.authorizations.append(self.headers["Authorization"])
        assert self.path == "/v1/chat/completions"
        status, body = self.server.answers[len(self.server.requests) - 1]
        if body is SILENCE:
            self.server.over.wait()
            self.close_connection = True
            return
        content = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """An endpoint on loopback, which the environment names."""
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_MODEL", "test-model")
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


class TestAnswers:
    @pytest.mark.asyncio
    async def test_the_models_text_comes_back(self, endpoint: Endpoint) -> None:
        endpoint.answers = [(200, completion("Final Answer: 4"))]

        text = await LLMClient().generate_response("2 + 2?", system="Be exact.")

        assert text == "Final Answer: 4"
        assert endpoint.requests == [
            {
                "model": "test-model",
                "messages": [
                    {"role": "system", "content": "Be exact."},
                    {"role": "user", "content": "2 + 2?"},
                ],
                "stop": ["\nObservation:"],
            }
        ]
        assert endpoint.authorizations == ["Bearer sk-test"]

    @pytest.mark.asyncio
    async def test_what_is_given_wins_over_the_environment(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        endpoint.answers = [(200, completion("4"))]
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        client = LLMClient(base_url=endpoint.url, api_key="sk-other", model="other")

        await client.generate_response("2 + 2?")

        assert endpoint.requests[0]["model"] == "other"
        assert endpoint.authorizations == ["Bearer sk-other"]


class TestRetries:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
    @pytest.mark.asyncio
    async def test_what_may_pass_is_tried_again(self, endpoint: Endpoint, status: int) -> None:
        endpoint.answers = [(status, {}), (status, {}), (200, completion("4"))]

        assert await LLMClient().generate_response("2 + 2?") == "4"
        assert len(endpoint.requests) == 3

    @pytest.mark.parametrize("status", [429, 500])
    @pytest.mark.asyncio
    async def test_what_does_not_pass_is_an_error(self, endpoint: Endpoint, status: int) -> None:
        endpoint.answers = [(status, {"error": {"message": "busy"}})] * 3

        with pytest.raises(LLMUnavailable, match="busy") as caught:
            await LLMClient().generate_response("2 + 2?")

        assert caught.value.status == status
        assert len(endpoint.requests) == 3

    @pytest.mark.parametrize("status", [400, 401, 404])
    @pytest.mark.asyncio
    async def test_a_refusal_is_not_tried_again(self, endpoint: Endpoint, status: int) -> None:
        endpoint.answers = [(status, {"error": {"message": "no such model"}})]

        with pytest.raises(LLMRefused, match="no such model") as caught:
            await LLMClient().generate_response("2 + 2?")

        assert caught.value.status == status
        assert len(endpoint.requests) == 1

    @pytest.mark.asyncio
    async def test_silence_is_a_timeout(self, endpoint: Endpoint) -> None:
        endpoint.answers = [(200, SILENCE)]

        with pytest.raises(LLMTimeout):
            await LLMClient(timeout=0.1, retries=0).generate_response("2 + 2?")

    @pytest.mark.asyncio
    async def test_after_silence_it_is_tried_again(self, endpoint: Endpoint) -> None:
        endpoint.answers = [(200, SILENCE), (200, completion("4"))]

        assert await LLMClient(timeout=1, retries=1).generate_response("2 + 2?") == "4"

    @pytest.mark.parametrize(
        ("base_url", "reason"),
        [("http://127.0.0.1:1/v1", "connection"), ("127.0.0.1:1/v1", "protocol")],
    )
    @pytest.mark.asyncio
    async def test_no_endpoint_is_unavailable_and_says_why(
        self, endpoint: Endpoint, base_url: str, reason: str
    ) -> None:
        client = LLMClient(base_url=base_url, retries=0)

        with pytest.raises(LLMUnavailable) as caught:
            await client.generate_response("2 + 2?")

        assert caught.value.status is None
        assert reason in caught.value.detail.removesuffix("Connection error.")


@pytest.mark.parametrize(
    "body",
    ["not json", "[]", "{}", {"choices": []}, completion(None), completion("  ")],
    ids=["not json", "a list", "empty", "no choices", "no text", "blank text"],
)
@pytest.mark.asyncio
async def test_a_malformed_answer_is_an_error_and_never_text(endpoint: Endpoint, body: Any) -> None:
    endpoint.answers = [(200, body)]

    with pytest.raises(LLMMalformed):
        await LLMClient(retries=0).generate_response("2 + 2?")


class TestCutOff:
    """A part of a reply may be read as all of it: half an answer, an action without its input."""

    REPLIES = (
        "Thought: I know.\nFinal Answer: The customers are Ada, Gra",
        "Action: read_note\nAction Input:",
    )

    @pytest.mark.parametrize("text", REPLIES)
    @pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "error", "new"])
    @pytest.mark.asyncio
    async def test_a_reply_that_the_model_did_not_end_is_none(
        self, endpoint: Endpoint, note_taker: AtomMetaAgent, text: str, reason: str
    ) -> None:
        endpoint.answers = [(200, completion(text, reason))] * 2

        with pytest.raises(LLMCutOff, match=reason):
            await LLMClient().generate_response("Who?")
        result = await note_taker.execute("Who?")

        assert (result["status"], result["actions_executed"]) == ("failed", [])
        assert f"cut off: finish_reason is '{reason}'" in result["failure_reason"]

    @pytest.mark.parametrize("reason", [None, "", "stop", "STOP", "eos_token", "end_turn"])
    @pytest.mark.asyncio
    async def test_a_reply_that_it_ended_is_one_however_that_is_said(
        self, endpoint: Endpoint, reason: str | None
    ) -> None:
        endpoint.answers = [(200, completion("4", reason))]

        assert await LLMClient().generate_response("2 + 2?") == "4"


REFUSED = {"message": "Unsupported parameter: 'stop'.", "type": "invalid_request_error"}


class TestStop:
    @pytest.mark.parametrize("error", [{**REFUSED, "param": "stop"}, REFUSED])
    @pytest.mark.asyncio
    async def test_a_model_that_knows_no_stop_is_asked_without_from_then_on(
        self, endpoint: Endpoint, error: dict[str, Any]
    ) -> None:
        endpoint.answers = [(400, {"error": error}), *[(200, completion("4"))] * 2]
        client = LLMClient()

        answers = [await client.generate_response("2 + 2?") for _ in range(2)]

        assert answers == ["4", "4"]
        assert ["stop" in request for request in endpoint.requests] == [True, False, False]

    @pytest.mark.asyncio
    async def test_another_refusal_stays_one(self, endpoint: Endpoint) -> None:
        endpoint.answers = [(400, {"error": {"message": "The model stopped.", "param": "model"}})]

        with pytest.raises(LLMRefused):
            await LLMClient().generate_response("2 + 2?")

        assert len(endpoint.requests) == 1

    @pytest.mark.asyncio
    async def test_nothing_is_sent_where_nothing_is_wanted(self, endpoint: Endpoint) -> None:
        endpoint.answers = [(200, completion("4"))]

        await LLMClient(stop=()).generate_response("2 + 2?")

        assert "stop" not in endpoint.requests[0]


TABLE = tomllib.loads(Path(__file__).with_name("replies.toml").read_text())
ANSWER = "Thought: I am done.\nFinal Answer: Done."


@pytest.fixture
def note_taker(workspace: Workspace) -> AtomMetaAgent:
    """An agent with one tool, which asks the model that the environment names."""
    properties = {"email": {"type": "string"}}
    tool = Tool("read_note", "Find.", {"properties": properties}, lambda context, **given: given)
    return AtomMetaAgent(tools=ToolRegistry([tool]))


@pytest.mark.parametrize("row", TABLE["understood"], ids=lambda row: row["about"])
@pytest.mark.asyncio
async def test_a_run_does_what_a_model_means(
    endpoint: Endpoint, note_taker: AtomMetaAgent, row: dict[str, Any]
) -> None:
    endpoint.answers = [(200, completion(row["reply"])), (200, completion(ANSWER))]

    result = await note_taker.execute("Do it")

    assert result["status"] == "success"
    if "answer" in row:
        assert result["final_output"] == row["answer"]
        return
    assert [done["action_input"] for done in result["actions_executed"]] == [row["input"]]
    retold = endpoint.requests[1]["messages"][1]["content"]
    assert retold.count("Observation:") == 1
    assert retold.endswith(f"Observation: {json.dumps(row['input'])}")


@pytest.mark.parametrize("row", TABLE["told"], ids=lambda row: row["about"])
@pytest.mark.asyncio
async def test_a_run_tells_a_model_what_was_not_understood(
    endpoint: Endpoint, note_taker: AtomMetaAgent, row: dict[str, Any]
) -> None:
    endpoint.answers = [(200, completion(row["reply"])), (200, completion(ANSWER))]

    result = await note_taker.execute("Do it")

    told = endpoint.requests[1]["messages"][1]["content"].rpartition("\nObservation: ")[2]
    assert (result["final_output"], result["actions_executed"]) == ("Done.", [])
    assert row["problem"] in told


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_MODEL"])
@pytest.mark.asyncio
async def test_what_is_missing_is_named_before_anything_is_sent(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv(variable)

    with pytest.raises(LLMNotConfigured) as caught:
        await LLMClient().generate_response("2 + 2?")

    assert caught.value.missing == variable
    assert endpoint.requests == []


def test_the_command_line_asks_the_model_that_the_environment_names(
    endpoint: Endpoint, db_clone: Clone, tmp_path: Path
) -> None:
    endpoint.answers = [(200, completion("Thought: Easy.\nFinal Answer: 4"))]

    done = subprocess.run(
        [sys.executable, "-m", "core", "--init", "2 + 2?"],
        cwd=tmp_path,
        env={**db_clone.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
    assert "2 + 2?" in endpoint.requests[0]["messages"][1]["content"]


class TestScript:
    @pytest.mark.asyncio
    async def test_a_script_answers_in_order_and_keeps_the_prompts(self) -> None:
        llm = ScriptedLLM(["one", "two"])

        assert [await llm.generate_response("a"), await llm.generate_response("b")] == [
            "one",
            "two",
        ]
        assert llm.prompts == ["a", "b"]

    @pytest.mark.asyncio
    async def test_a_script_has_no_more_answers_than_it_has(self) -> None:
        with pytest.raises(ScriptExhausted) as caught:
            await ScriptedLLM([]).generate_response("a")

        assert caught.value.answers == 0

    @pytest.mark.asyncio
    async def test_an_answer_that_is_an_exception_is_raised(self) -> None:
        with pytest.raises(LLMTimeout):
            await ScriptedLLM([LLMTimeout("late")]).generate_response("a")
