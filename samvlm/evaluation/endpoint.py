"""Predictions of a model behind an OpenAI-compatible endpoint: chat completions, images as data URIs.

Only the address that the user gives is asked: redirects are not followed. The key comes from an environment variable.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from PIL import Image

from ..data.tasks import TASKS
from ..metrics import find_repetition
from .cases import Case
from .predictions import Prediction

KEY_VARIABLE = "SAMVLM_API_KEY"
TABLE_PROMPT = (
    "Convert the table in the image to HTML. Answer with one <table> element and nothing else: rows as <tr>, cells as "
    "<td> (<th> in header rows), rowspan and colspan where cells are merged, no styles."
)
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
FATAL = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})
MOST_FAILURES = 10  # requests in a row that fail for good before the run is stopped
LONGEST_WAIT = 60.0  # seconds between two tries
T = TypeVar("T")
R = TypeVar("R")


class EndpointError(ValueError):
    """The endpoint as a whole cannot be used; the message says what to do."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """A redirect is an error: the images are for the address that was given, and so is the key."""
        return


class EndpointPredictor:
    """A model behind `URL/chat/completions`.

    Args:
        url: such as http://localhost:8000/v1.
        model: its name there; None: the first that `URL/models` lists.
        prompt: for tables; None: TABLE_PROMPT. Other tasks are asked as samvlm asks them.
        max_new_tokens: limit of an answer; None: 4096.
        concurrency: requests at once.
        timeout: seconds that a request may take.
        retries: how often a request is tried again that failed for a passing reason.
        backoff: seconds before the second try; twice as long before each further one.
        key_variable: environment variable that holds the API key; no key is sent if it is not set.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        prompt: str | None = None,
        max_new_tokens: int | None = None,
        concurrency: int = 4,
        timeout: float = 120.0,
        retries: int = 4,
        backoff: float = 1.0,
        key_variable: str = KEY_VARIABLE,
    ):
        self.url = checked_url(url)
        self.max_new_tokens = max_new_tokens or 4096
        self.concurrency, self.timeout, self.retries, self.backoff = concurrency, timeout, retries, backoff
        self.prompt = prompt or TABLE_PROMPT
        self._key = os.environ.get(key_variable)
        if self._key and not self._key.isprintable():
            raise EndpointError(f"the API key in {key_variable} holds characters that no header may have")
        self._key_variable = key_variable
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._stop = threading.Event()
        self.model = model or self._first_model()
        self.identity = {
            "kind": "endpoint",
            "url": self.url,
            "name": self.model,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
        }

    def predict(self, cases: Sequence[Case]) -> Generator[Prediction, None, None]:
        """Yield predictions as the answers come. Raises EndpointError when asking on is of no use."""
        failures = 0
        for outcome in in_threads(self._ask, cases, self.concurrency, self._stop):
            if isinstance(outcome, BaseException):
                raise outcome
            prediction, refused = outcome
            failures = failures + 1 if refused else 0
            yield prediction
            if failures >= MOST_FAILURES:
                raise EndpointError(
                    f"{self.url}: {failures} requests in a row failed, the last with: {prediction.error}; "
                    "run the same command again to go on"
                )

    def _ask(self, case: Case) -> tuple[Prediction, bool]:
        """The prediction of one case, and whether the endpoint (rather than the image) is why it failed."""
        try:
            image = case.open()
        except Exception as problem:  # whatever is wrong with a picture costs that picture
            return Prediction.failed(case, problem), False
        prompt = self.prompt if case.task == "table" else case.question or TASKS[case.task].instruction
        parts = [
            {"type": "image_url", "image_url": {"url": _data_uri(image)}},
            {"type": "text", "text": prompt},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": self.max_new_tokens,
            "temperature": 0,
        }
        start = time.perf_counter()
        try:
            answer = self._request("/chat/completions", body)
            text, reason, tokens = read_completion(answer)
        except EndpointError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as problem:
            return Prediction.failed(case, f"{self.url}: {_reason(problem)}"), True
        if reason == "length" and find_repetition(text):
            reason = "repetition"
        seconds = round(time.perf_counter() - start, 4)
        return Prediction.of_answer(case, text, reason, seconds=seconds, tokens=tokens), False

    def _request(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of an answer. Raises EndpointError, OSError, HTTPException or ValueError."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        for trial in range(self.retries + 1):
            request = urllib.request.Request(self.url + path, data, headers)
            try:
                with self._opener.open(request, timeout=self.timeout) as answer:
                    return read_json(answer.read())
            except urllib.error.HTTPError as problem:
                told = _told(problem)
                if problem.code in FATAL:
                    raise EndpointError(
                        f"{self.url}{path}: {problem.code} {told}; check the address and the model's name, and "
                        f"the key in {self._key_variable} ({'set' if self._key else 'not set'})"
                    ) from None
                if problem.code not in RETRIED or trial == self.retries:
                    raise ValueError(f"{problem.code} {told}") from None
                asked = problem.headers.get("Retry-After", "")
                wait = float(asked) if asked.isdigit() else 0.0
            except (OSError, http.client.HTTPException):
                if trial == self.retries:
                    raise
                wait = 0.0
            pause = max(wait, self.backoff * 2**trial * random.uniform(0.8, 1.2))
            if self._stop.wait(min(pause, LONGEST_WAIT)):
                raise OSError("stopped")
        raise AssertionError("the last trial returns or raises")

    def _first_model(self) -> str:
        try:
            return str(self._request("/models")["data"][0]["id"])
        except EndpointError:
            raise
        except (OSError, http.client.HTTPException) as problem:
            raise EndpointError(f"{self.url}: {_reason(problem)}; is it running?") from None
        except (ValueError, LookupError, TypeError) as problem:
            raise EndpointError(
                f"{self.url}/models names no model ({problem}); give --endpoint-model NAME"
            ) from None


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises EndpointError for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise EndpointError(f"{url}: no address of an endpoint; give one such as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise EndpointError(f"put no password into the address of the endpoint; set {KEY_VARIABLE} instead")
    return url.rstrip("/").removesuffix("/chat/completions")


def read_json(answer: bytes) -> Any:
    """The JSON value that an endpoint sent. Raises ValueError for anything else, lists 10,000 deep among it."""
    try:
        return json.loads(answer.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        words = " ".join(answer[:200].decode("utf-8", "replace").split())
        raise ValueError(f"the answer is no JSON: {words!r}") from None


def read_completion(answer: Any) -> tuple[str, str, int | None]:
    """The text of a chat completion, its finish reason and its number of tokens. Raises ValueError."""
    try:
        choice = answer["choices"][0]
        content = choice["message"]["content"]
    except (LookupError, TypeError):
        raise ValueError(f"the answer is no chat completion: {json.dumps(answer)[:200]}") from None
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    reason = choice.get("finish_reason")
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return (
        content if isinstance(content, str) else "",
        reason if reason in ("stop", "length") else "unknown",
        tokens if isinstance(tokens, int) else None,
    )


def in_threads(
    function: Callable[[T], R], items: Sequence[T], count: int, stop: threading.Event
) -> Iterator[R | BaseException]:
    """Yield `function(item)` as they come from `count` threads; what it raised is the last to come.

    When the caller leaves, `stop` is set, and no further item is begun; the threads are daemons, so that a request
    under way keeps nobody waiting.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[R | BaseException] = queue.SimpleQueue()
    for item in items:
        todo.put(item)

    def work() -> None:
        while not stop.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(function(item))
            except BaseException as problem:  # handed to the caller, who leaves: nothing more is begun
                done.put(problem)
                stop.set()

    stop.clear()
    for _ in range(min(count, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            outcome = done.get()
            yield outcome
            if isinstance(outcome, BaseException):
                return
    finally:
        stop.set()


def _data_uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _told(problem: urllib.error.HTTPError) -> str:
    """What the endpoint says about an error, in one short line."""
    try:
        words = problem.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        words = ""
    return " ".join((words or str(problem.reason)).split())[:200]


def _reason(problem: BaseException) -> str:
    reason = getattr(problem, "reason", None)
    return " ".join(str(reason or problem).split()) or type(problem).__name__
