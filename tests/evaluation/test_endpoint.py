"""Asking an endpoint: what is sent, what is read, what is tried again and what ends the run."""

import threading

import pytest
from documents import drawing
from endpoint_server import completion, serve

from samvlm.evaluation.cases import Case
from samvlm.evaluation.endpoint import (
    MOST_FAILURES,
    TABLE_PROMPT,
    EndpointError,
    EndpointPredictor,
    checked_url,
    in_threads,
    read_completion,
)

HTML = "<table><tr><td>a</td></tr></table>"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SAMVLM_API_KEY", raising=False)


def tables(count: int) -> list[Case]:
    return [Case(f"{n}", "table", lambda n=n: drawing(64 + n, 64)) for n in range(count)]


def ask(endpoint, cases, **options):
    predictor = EndpointPredictor(endpoint.url, backoff=0.001, timeout=5.0, **options)
    return {prediction.id: prediction for prediction in predictor.predict(cases)}


def test_what_is_sent_and_read(monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret")
    cases = [
        *tables(1),
        Case("text", "text", lambda: drawing(80, 64), truths=("x",)),
        Case("asked", "question", lambda: drawing(90, 64), truths=("x",), question="Who?"),
    ]
    answers = {64: f"Sure:\n```html\n{HTML}\n```", 80: "a\nb", 90: "<think>hm</think>Ada"}
    with serve(lambda request, number: completion(answers[request["image"].width])) as endpoint:
        made = ask(endpoint, cases, key_variable="MY_KEY", max_new_tokens=50, concurrency=1)
    assert made["0"].html == f"<html><body>{HTML}</body></html>" and made["0"].text == answers[64]
    assert made["text"].text == "a\nb" and made["asked"].text.endswith("Ada")
    assert made["0"].tokens == 7 and made["0"].seconds >= 0 and made["0"].finish_reason == "stop"
    for request, prompt, one in zip(
        endpoint.requests, (TABLE_PROMPT, "Read the text.", "Who?"), cases, strict=True
    ):
        assert request["path"] == "/v1/chat/completions" and request["key"] == "Bearer s3cret"
        body = request["body"]
        assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 50, 0)
        assert body["messages"][0]["content"][1] == {"type": "text", "text": prompt}
        assert request["image"].tobytes() == one.open().tobytes()


def test_model_prompt_and_no_key():
    with serve(lambda request, number: completion("<fcel>a<nl>")) as endpoint:
        made = ask(endpoint, tables(1), model="mine", prompt="Parse this table.")
    (request,) = endpoint.requests
    assert request["key"] is None and request["body"]["model"] == "mine"
    assert request["body"]["messages"][0]["content"][1]["text"] == "Parse this table."
    assert "<td>a</td>" in made["0"].html


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_tried_again(status):
    with serve(lambda _, n: completion(HTML) if n == 3 else (status, {"error": "busy"})) as endpoint:
        endpoint.headers["Retry-After"] = "0"
        made = ask(endpoint, tables(1))
    assert len(endpoint.requests) == 3 and made["0"].error is None


@pytest.mark.parametrize(
    ("answer", "words", "requests"),
    [
        ((400, {"error": "context too long"}), '400 {"error": "context too long"}', 1),
        ((500, b"x" * 999), "500 " + "x" * 200, 3),
        ((200, b"no JSON"), "the answer is no JSON: 'no JSON'", 1),
        ((200, b"\xff\xfegarbage"), "the answer is no JSON", 1),
        ((200, b"[" * 100_000), "the answer is no JSON", 1),
        ((200, {"choices": []}), "no chat completion", 1),
    ],
)
def test_a_failure_that_stays_is_an_error_of_its_own(answer, words, requests):
    with serve(lambda r, n: answer if r["image"].width == 64 else completion(HTML)) as endpoint:
        made = ask(endpoint, tables(2), retries=2)
    assert words in made["0"].error and made["0"].finish_reason == "error" and made["1"].error is None
    assert len(endpoint.requests) == requests + 1


def test_a_broken_image_is_not_sent():
    def broken():
        raise ValueError("x.png: is torn")

    with serve(lambda r, n: completion(HTML)) as endpoint:
        made = ask(endpoint, [Case("torn", "table", broken), *tables(1)])
    assert made["torn"].error == "x.png: is torn" and len(endpoint.requests) == 1


def test_a_request_may_take_too_long():
    hold = threading.Event()

    def slow(request, number):
        hold.wait(10)
        return completion(HTML)

    with serve(slow) as endpoint:
        predictor = EndpointPredictor(endpoint.url, "tiny", timeout=0.2, retries=1, backoff=0.001)
        (made,) = predictor.predict(tables(1))
        hold.set()
    assert "timed out" in made.error and len(endpoint.requests) == 2


@pytest.mark.parametrize("status", [401, 404, 302])
def test_what_no_further_request_would_change_ends_the_run(status):
    with serve(lambda r, n: (status, {"error": "no"})) as endpoint:
        endpoint.headers["Location"] = "http://127.0.0.1:9/elsewhere"
        with pytest.raises(EndpointError, match=rf"{status} .*check the address.*SAMVLM_API_KEY \(not set\)"):
            ask(endpoint, tables(3), model="tiny", concurrency=1)
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_gone_ends_the_run():
    with serve(lambda r, n: completion(HTML)) as endpoint:
        url = endpoint.url
    with pytest.raises(EndpointError, match="is it running"):
        EndpointPredictor(url, retries=0)
    predictor = EndpointPredictor(url, "tiny", retries=0, concurrency=2)
    made = []
    with pytest.raises(
        EndpointError, match=rf"{MOST_FAILURES} requests in a row failed.*run the same command"
    ):
        made.extend(predictor.predict(tables(MOST_FAILURES + 5)))


def test_how_answers_end():
    loop = "<fcel>a<nl>" * 60
    for reason, text, expected in (
        ("length", HTML, "length"),
        ("length", loop, "repetition"),
        ("x", HTML, "unknown"),
    ):
        with serve(lambda r, n, text=text, reason=reason: completion(text, reason)) as endpoint:
            assert ask(endpoint, tables(1))["0"].finish_reason == expected


def test_forms_of_a_completion():
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert read_completion({"choices": [{"message": message}], "usage": None}) == ("ab", "unknown", None)
    assert read_completion(completion(None)[1]) == ("", "stop", 7)
    for answer in ({}, [], None, {"choices": [{"message": 3}]}):
        with pytest.raises(ValueError, match="no chat completion"):
            read_completion(answer)


def test_addresses():
    assert checked_url("http://localhost:8000/v1/") == "http://localhost:8000/v1"
    assert checked_url("https://a.b/v1/chat/completions") == "https://a.b/v1"
    for url in ("ftp://a/v1", "http://", "http://a:b/v1", "https://a/v1?x=1", "http://me:pw@a/v1"):
        with pytest.raises(EndpointError):
            checked_url(url)


def test_a_key_that_is_no_header(monkeypatch):
    monkeypatch.setenv("SAMVLM_API_KEY", "a\nHost: b")
    with pytest.raises(EndpointError, match="SAMVLM_API_KEY"):
        EndpointPredictor("http://localhost:1/v1", "tiny")


def test_threads_end_with_their_caller():
    stop, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        return number

    results = in_threads(work, range(1000), 1, stop)
    next(results)
    results.close()
    assert stop.is_set() and sorted(in_threads(work, range(50), 4, stop)) == list(range(50))
    assert list(in_threads(work, [], 4, stop)) == []


def test_what_a_thread_raises_ends_the_rest():
    stop, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("no further")
        return number

    results = list(in_threads(work, range(1000), 1, stop))
    assert results[:2] == [0, 1] and str(results[2]) == "no further" and len(results) == 3
    assert begun == [0, 1, 2] and stop.is_set()
