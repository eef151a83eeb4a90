"""parse_batch: what single calls give, whatever the rows beside it do."""

from contextlib import contextmanager

import pytest
import torch
from documents import drawing, encode
from lessons import LESSONS
from PIL import Image

from samvlm.data.images import DocumentError

LOOP = "<fcel>x<fcel>y<nl>"


def facts(result) -> dict:
    """All of a result but the time and the digits of the confidences."""
    values = result.to_dict()
    for table in values["tables"]:
        for cell in table["cells"]:
            cell.pop("confidence", None)
    return values | {"seconds": None}


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 100).convert("RGB")


@contextmanager
def saying(parser, *texts: str):
    """Let each row of a batch want its text and then the end; yields how many rows each `generate` had, for how long.

    The texts start with different tokens: rows are told apart by their first one.
    """
    tokenizer, generate, calls = parser.processor.tokenizer, parser.model.generate, []
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    by_first = {ids[0]: ids for ids in rows}
    assert len(by_first) == len(rows)
    prompt = None

    def want(input_ids, scores):
        scores = torch.full_like(scores, -20.0)
        step = input_ids.shape[1] - prompt
        for row, so_far in enumerate(input_ids[:, prompt:].tolist()):
            ids = by_first[so_far[0]] if step else rows[row]
            scores[row, ids[step] if step < len(ids) else tokenizer.eos_token_id] = 0.0
        return scores

    def guided(logits_processor, **inputs):
        nonlocal prompt
        width = inputs["input_ids"].shape[1]
        prompt = prompt or width
        output = generate(logits_processor=[want, *logits_processor], **inputs)
        calls.append((len(output), output.shape[1] - width))
        return output

    parser.model.generate = guided
    try:
        yield calls
    finally:
        del parser.model.generate


def test_rows_are_single_calls(parser):
    images = [noise(200, 90), drawing(60, 200), drawing(), noise(96, 64), drawing(250, 60)]
    together = parser.parse_batch(images, max_new_tokens=60)
    for image, result in zip(images, together, strict=True):
        alone = parser(image, max_new_tokens=60)
        assert facts(result) == facts(alone)
        sure = [cell.confidence for cell in alone.tables[0].cells]
        assert [cell.confidence for cell in result.tables[0].cells] == pytest.approx(sure, abs=2e-3)
        assert result.seconds > 0 and result.page == 1
    assert len({result.text for result in together}) == len(images)


@pytest.mark.parametrize("task, question", [("text", None), ("question", "<image>? <nl>")])
def test_other_tasks(parser, task, question):
    images = [drawing(), noise(200, 90)]
    together = parser.parse_batch(images, task, question, max_new_tokens=20)
    alone = [parser(image, task, question, max_new_tokens=20) for image in images]
    assert [facts(result) for result in together] == [facts(result) for result in alone]


def test_what_was_learnt_comes_out_of_a_batch(taught):
    order = [1, 0, 0, 1]
    results = taught.parse_batch([LESSONS[number][0] for number in order])
    assert [result.text for result in results] == [LESSONS[number][1] for number in order]
    assert {result.finish_reason for result in results} == {"stop"}
    plain = taught.parse_batch([LESSONS[number][0] for number in order], grammar=False)
    assert [result.text for result in plain] == [result.text for result in results]


@pytest.mark.parametrize("grammar", [True, False])
def test_each_row_ends_for_itself(parser, grammar):
    """A short answer is no loop of padding, a loop costs only its own row, a long answer goes on to its limit."""
    short = "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"
    start = "<fcel>a<fcel>b<nl>"
    long = "".join(f"<rhed>{number}<fcel>{number * 7919 % 1000}<nl>" for number in range(100))
    texts = [short, start + LOOP * 80, long, "<ecel><nl>"]
    reasons = ["stop", "repetition", "length", "stop"]
    images = [drawing()] * len(texts)
    with saying(parser, *texts):
        results = parser.parse_batch(images, max_new_tokens=320, grammar=grammar)
    assert [result.finish_reason for result in results] == reasons
    assert results[0].text == short and results[0].tokens == 6 + len("YearSales200434.7") + 1
    assert results[1].to_otsl() == start + LOOP + "\n" and results[1].tokens < 20
    assert long.startswith(results[2].text[:200]) and results[2].tokens == 320
    assert results[3].text == "<ecel><nl>" and results[3].tokens == 3
    for text, result in zip(texts, results, strict=True):
        with saying(parser, text):
            assert facts(parser(drawing(), max_new_tokens=320, grammar=grammar)) == facts(result)


def test_rows_that_have_ended_are_left_behind(parser):
    texts = ["<fcel>a<nl>", "<ched>abc<nl>", "<ecel><nl>", "<rhed>" + "ab" * 20 + "<nl>", "<srow>abcdef<nl>"]
    with saying(parser, *texts) as calls:
        results = parser.parse_batch([drawing()] * 5, max_new_tokens=300)
    assert [result.text for result in results] == texts
    assert {result.finish_reason for result in results} == {"stop"}
    assert calls == [(5, 6), (2, 3), (1, 34)]  # 3, 4 and 6 tokens; 9; 43
    assert all(cell.confidence > 0.99 for result in results for cell in result.tables[0].cells)
    with saying(parser, LOOP * 100, "<ched>" + LOOP * 100) as calls:
        parser.parse_batch([drawing()] * 2, max_new_tokens=900)
    assert sum(steps for _, steps in calls) < 300


def test_the_limit_holds_for_the_rows_that_are_left(parser):
    texts = ["<ecel><nl>", "<fcel>" + "ab" * 300, "<ched>" + "cd" * 300]
    for limit in (3, 4, 50):
        with saying(parser, *texts):
            results = parser.parse_batch([drawing()] * 3, max_new_tokens=limit)
        assert [result.tokens for result in results] == [3, limit, limit]
        assert [result.finish_reason for result in results][1:] == ["length"] * 2


def test_every_source_and_none(parser, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(drawing(), "PNG"))
    results = parser.parse_batch([path, path.read_bytes(), drawing(mode="LA")], max_new_tokens=9)
    assert len({result.text for result in results}) == 1
    assert parser.parse_batch([]) == []


def test_bad_input(parser, tmp_path):
    with pytest.raises(DocumentError, match="no such file"):
        parser.parse_batch([drawing(), tmp_path / "missing.png"])
    with pytest.raises(ValueError, match="unknown task"):
        parser.parse_batch([], task="tabel")
    with pytest.raises(ValueError, match="context holds"):
        parser.parse_batch([drawing()] * 2, task="question", question="x" * 5000)
    with pytest.raises(ValueError, match="2 questions for 1 images"):
        parser.parse_batch([drawing()], task="question", question=["a", "b"])


def test_a_question_for_each_image(parser):
    questions = ["How many rows?", "Who?", "How many rows?"]
    results = parser.parse_batch([drawing()] * 3, task="question", question=questions, max_new_tokens=12)
    alone = [parser(drawing(), task="question", question=asked, max_new_tokens=12) for asked in questions]
    assert [facts(result) for result in results] == [facts(result) for result in alone]
    assert results[0].text == results[2].text != results[1].text
