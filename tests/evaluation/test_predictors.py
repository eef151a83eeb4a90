"""A checkpoint as predictor: batches, memory, bad images; what tells checkpoints apart."""

import json
import shutil

import pytest
import torch
from documents import drawing

from samvlm.data.images import DocumentError
from samvlm.data.tables import Table
from samvlm.evaluation import predictors
from samvlm.evaluation.cases import Case
from samvlm.evaluation.predictors import ModelPredictor, fingerprint, lacks_memory
from samvlm.generation import DocumentParser, ParseResult


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(predictors.gc, "collect", lambda: 0)  # slow where a test run has made many objects


class Parser:
    """Stands for a DocumentParser: reads the width of a page; `room` pixels fit into its memory."""

    model = None

    def __init__(self, room: int = 10**9, never: int = 0):
        self.room, self.never = room, never
        self.batches: list[list[int]] = []
        self.questions: list = []

    def parse_batch(self, images, task, question, max_new_tokens):
        widths = [image.width for image in images]
        self.batches.append(widths)
        self.questions.append(question)
        if sum(image.width * image.height for image in images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
        if self.never in widths:
            raise ValueError("the prompt is too long\nfor this model")
        return [
            ParseResult(task, f"{width}", [Table.from_rows([[f"{width}"]])], tokens=1, seconds=0.1)
            for width in widths
        ]


def case(width: int, **more) -> Case:
    return Case(f"{width}", more.pop("task", "table"), lambda: drawing(width, 64), area=width * 64, **more)


def predict(parser: Parser, cases, size: int = 3):
    predictions = list(ModelPredictor(parser, "model", size).predict(cases))
    assert sorted(prediction.id for prediction in predictions) == sorted(case.id for case in cases)
    return {prediction.id: prediction for prediction in predictions}


def test_batches_of_similar_size_the_largest_first():
    parser = Parser()
    made = predict(parser, [case(width) for width in (100, 104, 101, 103, 102)])
    assert parser.batches == [[104, 103, 102], [101, 100]]
    assert all(
        prediction.text == name and f">{name}<" in prediction.html for name, prediction in made.items()
    )
    assert made["100"].seconds == 0.1 and made["100"].tokens == 1 and made["100"].finish_reason == "stop"
    assert predict(Parser(), []) == {}


def test_tasks_are_kept_apart_and_questions_asked_together():
    parser = Parser()
    asked = [case(width, task="question", question=f"{width}?", truths=("x",)) for width in (96, 97)]
    predict(parser, [case(100), *asked, case(101)])
    assert parser.batches == [[97, 96], [101, 100]] and parser.questions == [["97?", "96?"], None]


def test_a_batch_without_memory_is_halved_and_none_of_its_size_tried_again():
    parser = Parser(room=2 * 104 * 64)
    made = predict(parser, [case(width) for width in range(97, 105)], size=4)
    assert parser.batches == [[104, 103, 102, 101], [104, 103], [102, 101], [100, 99], [98, 97]]
    assert all(prediction.error is None for prediction in made.values())
    parser = Parser(room=2 * 100 * 64)
    predict(parser, [case(width) for width in (120, 119, 118, 117, 90, 89)], size=2)
    assert parser.batches == [[120, 119], [120], [119], [118], [117], [90, 89]]


def test_one_image_without_memory_is_an_error_of_its_own():
    made = predict(Parser(room=100 * 64), [case(100), case(101)])
    assert made["100"].error is None and made["101"].error == "CUDA out of memory. Tried to allocate 2 GiB"
    assert made["101"].finish_reason == "error"


def test_what_cannot_be_read_costs_itself_alone():
    def broken():
        raise DocumentError("x.png: is torn")

    def wild():
        raise KeyError("page")

    parser = Parser(never=102)
    cases = [case(100), case(101), case(102), Case("torn", "table", broken), Case("wild", "table", wild)]
    made = predict(parser, cases, size=5)
    assert made["torn"].error == "x.png: is torn" and "page" in made["wild"].error
    assert made["102"].error == "the prompt is too long"
    assert made["100"].error is None and made["101"].error is None


def test_what_lack_of_memory_looks_like():
    assert lacks_memory(MemoryError()) and lacks_memory(torch.OutOfMemoryError("x"))
    assert lacks_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    )
    assert not lacks_memory(RuntimeError("size mismatch"))


def test_fingerprints(tiny_checkpoint, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    assert fingerprint(copy) == fingerprint(tiny_checkpoint)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) != fingerprint(tiny_checkpoint)
    assert fingerprint(tmp_path / "user" / "model") is None


def test_an_adapter_on_another_base_is_another_model(tiny_checkpoint, tmp_path):
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    adapter.mkdir()
    shutil.copytree(tiny_checkpoint, base)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    before = fingerprint(adapter)
    assert before == fingerprint(adapter)
    (base / "model.safetensors").write_bytes(b"trained on")
    assert fingerprint(adapter) != before


def test_a_real_model_gives_in_batches_what_it_gives_alone(tiny_checkpoint):
    parser = DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
    cases = [
        case(128),
        case(64),
        case(100, task="question", question="Who?", truths=("x",)),
        case(99, task="text"),
    ]
    predictor = ModelPredictor(parser, tiny_checkpoint, 2, max_new_tokens=9)
    made = {prediction.id: prediction for prediction in predictor.predict(cases)}
    for one in cases:
        alone = parser(one.open(), task=one.task, question=one.question, max_new_tokens=9)
        assert (made[one.id].text, made[one.id].finish_reason) == (alone.text, alone.finish_reason)
        assert made[one.id].html == (alone.tables[0].to_html() if alone.tables else "")
    assert predictor.identity["dtype"] == "float32" and predictor.identity["max_new_tokens"] == 9
