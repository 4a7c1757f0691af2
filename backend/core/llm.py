"""Where an agent's words come from: a model behind an OpenAI-compatible endpoint, or a script."""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from core.errors import AtomError
from core.replies import STOP

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_TIMEOUT = 60.0
DEFAULT_RETRIES = 2
# What endpoints say of a reply that the model itself has ended; some say nothing. All else
# (`length`, `content_filter`, `error`) is a part of a reply, and not known to be more.
ENDED = {"", "stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"}

logger = logging.getLogger(__name__)


class LLM(Protocol):
    """A model that continues a prompt."""

    async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
        """The model's text; a failure is an exception, never text."""
        ...


class LLMError(AtomError):
    """A model that gave no answer."""


class LLMNotConfigured(LLMError):
    """Something is missing that the client needs before it can ask a model."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"no model to ask: {missing} is missing")
        self.missing = missing


class LLMUnavailable(LLMError):
    """The endpoint could not be reached, or failed, and went on failing when tried again."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(f"the model is unavailable: {detail}")
        self.detail = detail
        self.status = status


class LLMTimeout(LLMUnavailable):
    """The endpoint did not answer in time, and did not when tried again."""


class LLMRefused(LLMError):
    """The endpoint refused the request; trying again would not help."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the model refused the request ({status}): {detail}")
        self.status = status
        self.detail = detail


class LLMMalformed(LLMError):
    """The endpoint answered with something that is not a chat completion with text."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the model's answer is malformed: {detail}")
        self.detail = detail


class LLMCutOff(LLMMalformed):
    """The endpoint ended the model's reply before the model did."""

    def __init__(self, finish_reason: object) -> None:
        super().__init__(f"it is cut off: finish_reason is {finish_reason!r:.100}")
        self.finish_reason = finish_reason


class ScriptExhausted(LLMError):
    """A scripted model was asked more often than it has answers."""

    def __init__(self, answers: int) -> None:
        super().__init__(f"the script has {answers} answers, and one more was asked for")
        self.answers = answers


class ScriptedLLM:
    """Answers from a list, in order, and keeps what it was asked in `prompts`.

    An answer that is an exception is raised.
    """

    def __init__(self, answers: Iterable[str | Exception]) -> None:
        self._answers = list(answers)
        self.prompts: list[str] = []

    async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
        """The next answer.

        Raises:
            ScriptExhausted: there is none.
        """
        self.prompts.append(prompt)
        if len(self.prompts) > len(self._answers):
            raise ScriptExhausted(len(self._answers))
        answer = self._answers[len(self.prompts) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class LLMClient:
    """Asks a model behind any endpoint that speaks the OpenAI chat completions protocol.

    What is not given comes from `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_MODEL`, read when
    the model is asked. The `openai` package tries again what can be tried again, up to `retries`
    times: lost connections, timeouts, 408, 409, 429 and 5xx, as soon as `Retry-After` allows.

    The model is told to stop at each text of `stop`, unless it says that it can't.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        stop: Sequence[str] = STOP,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._timeout = timeout
        self._retries = retries
        self._stop = list(stop)

    def require_configured(self) -> None:
        """Raise `LLMNotConfigured` if the key, the model or the `openai` package is missing."""
        if find_spec("openai") is None:
            raise LLMNotConfigured("the openai package")
        _configured("OPENAI_API_KEY", self._api_key)
        _configured("OPENAI_MODEL", self._model)

    async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
        """The text of the model's first choice.

        Raises:
            LLMNotConfigured: the key, the model or the `openai` package is missing.
            LLMTimeout: no answer in time, `retries` included.
            LLMUnavailable: no connection, 408, 409, 429 or 5xx, `retries` included.
            LLMRefused: any other status that is an error.
            LLMMalformed: an answer that is not a chat completion with text.
            LLMCutOff: the text is not all that the model would have said.
        """
        self.require_configured()
        import openai

        model = _configured("OPENAI_MODEL", self._model)
        messages: list[Any] = [{"role": "user", "content": prompt}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        try:
            async with self._client() as client:
                answer = await self._complete(client, model, messages)
        except openai.APITimeoutError as error:
            raise LLMTimeout(f"no answer within {self._timeout} seconds") from error
        except openai.APIStatusError as error:
            raise _for_status(error.status_code, error.message) from error
        except openai.APIConnectionError as error:
            # It says "Connection error."; what it was raised from may say what went wrong.
            raise LLMUnavailable(str(error.__cause__ or "") or str(error)) from error
        except (openai.OpenAIError, ValueError) as error:
            raise LLMMalformed(str(error)) from error
        return _text(answer)

    async def _complete(self, client: "AsyncOpenAI", model: str, messages: list[Any]) -> object:
        import openai

        create = client.chat.completions.create
        if not self._stop:
            return await create(model=model, messages=messages)
        try:
            return await create(model=model, messages=messages, stop=self._stop)
        except openai.BadRequestError as error:
            if not re.search(r"\bstop\b", error.param or error.message):
                raise
            # Some models know no `stop`, such as OpenAI's that reason; what they invent is cut.
            logger.info("the model knows no stop: %s", error.message)
            self._stop = []
        return await create(model=model, messages=messages)

    def _client(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=self._base_url or os.environ.get("OPENAI_BASE_URL") or None,
            api_key=_configured("OPENAI_API_KEY", self._api_key),
            timeout=self._timeout,
            max_retries=self._retries,
        )


def _configured(variable: str, given: str | None) -> str:
    value = given or os.environ.get(variable)
    if not value:
        raise LLMNotConfigured(variable)
    return value


def _for_status(status: int, detail: str) -> LLMError:
    if status in (408, 409, 429) or status >= 500:
        return LLMUnavailable(detail, status)
    return LLMRefused(status, detail)


def _text(answer: object) -> str:
    choices = getattr(answer, "choices", None)
    if not choices:
        raise LLMMalformed("it has no choices")
    message = getattr(choices[0], "message", None)
    text = getattr(message, "content", None)
    if not isinstance(text, str) or not text.strip():
        raise LLMMalformed("its first choice has no text")
    ended = getattr(choices[0], "finish_reason", None)
    if str(ended or "").lower() not in ENDED:
        raise LLMCutOff(ended)
    return text
