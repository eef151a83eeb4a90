"""samvlm/generation/parser.py: loading, answers, endings, confidences."""

import json
import shutil

import pytest
import torch
from documents import drawing, encode, pdf, text_page
from PIL import Image
from safetensors.torch import load_file, save_file

import samvlm
from samvlm.data.images import DocumentError
from samvlm.data.tables import Table
from samvlm.data.tasks import messages
from samvlm.generation import Answer, DocumentParser
from samvlm.generation import parser as module
from samvlm.generation.answers import read_table
from samvlm.generation.decoding import AnswerDecoder, PieceStreamer
from samvlm.generation.prompts import encode_chats


def says(parser, monkeypatch, text: str, end: bool = True) -> None:
    """Let the model answer with this text, whatever it is shown."""
    tokenizer = parser.processor.tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] + ([tokenizer.eos_token_id] if end else [])

    def generate(input_ids, logits_processor, stopping_criteria, max_new_tokens, streamer=None, **kwargs):
        for token in ids[:max_new_tokens]:
            scores = torch.full((1, len(tokenizer)), -20.0)
            scores[0, token] = 0.0
            for processor in logits_processor:
                scores = processor(input_ids, scores)
            assert scores[0, token] > -100, f"{tokenizer.decode([token])!r} is not allowed here"
            input_ids = torch.cat([input_ids, torch.tensor([[token]])], dim=1)
            if bool(stopping_criteria(input_ids, scores)):
                break
        return input_ids

    monkeypatch.setattr(parser.model, "generate", generate)


def test_public_names():
    assert samvlm.DocumentParser is DocumentParser


def test_any_output_is_a_table(parser):
    result = parser(drawing(), max_new_tokens=40)
    (table,) = result.tables
    assert result.finish_reason == "length" and result.tokens <= 40
    assert result.image_size == (96, 64) and result.seconds > 0 and not result.pages
    assert Table.from_otsl(result.to_otsl()) == table and not table.repairs
    assert all(cell.confidence is None or 0 <= cell.confidence <= 1 for cell in table.cells)
    assert any(cell.confidence for cell in table.cells)


def test_sources_give_the_same_answer(parser, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(drawing(), "PNG"))
    texts = {
        parser(source, max_new_tokens=20).text for source in (path, str(path), path.read_bytes(), drawing())
    }
    assert len(texts) == 1
    other = parser(Image.effect_noise((96, 64), 100).convert("RGB"), max_new_tokens=20)
    assert {other.text} != texts  # the image matters


def test_a_clean_answer(parser, monkeypatch):
    otsl = "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"
    says(parser, monkeypatch, otsl)
    result = parser(drawing())
    assert result.finish_reason == "stop" and result.text == otsl and result.to_otsl() == otsl + "\n"
    assert [cell.confidence for cell in result.tables[0].cells] == [1.0] * 4


def test_the_grammar_may_be_off(parser, monkeypatch):
    says(parser, monkeypatch, "no table at all")
    result = parser(drawing(), grammar=False)
    assert (
        result.tables == []
        and result.text == "no table at all"
        and result.to_markdown() == "no table at all\n"
    )
    says(parser, monkeypatch, "<ched>a<ched>b<nl><fcel>1")
    result = parser(drawing(), grammar=False)
    assert result.to_otsl() == "<ched>a<ched>b<nl><fcel>1<ecel><nl>\n"  # closed


def test_a_loop_is_stopped_and_said(parser, monkeypatch):
    says(parser, monkeypatch, "<fcel>a<fcel>b<nl>" + "<fcel>x<fcel>y<nl>" * 200, end=False)
    result = parser(drawing())
    assert result.finish_reason == "repetition"
    assert result.tables[0].to_rows() == [["a", "b"], ["x", "y"]]  # what repeats is kept once


def test_length_is_said_with_and_without_grammar(parser, monkeypatch):
    says(parser, monkeypatch, "abc" * 10, end=False)
    assert parser(drawing(), task="text", max_new_tokens=12).finish_reason == "length"
    says(parser, monkeypatch, "abc")
    assert parser(drawing(), task="text", max_new_tokens=12).finish_reason == "stop"


def test_other_tasks(parser, monkeypatch):
    says(parser, monkeypatch, "Total: 12.50\nDate: 3 May")
    form = parser(drawing(), task="form")
    assert form.tables == [] and form.to_csv() == "Total,12.50\nDate,3 May\n".replace("\n", "\r\n")
    question = parser(drawing(), task="question", question="What is the total?")
    assert question.text == "Total: 12.50\nDate: 3 May"
    with pytest.raises(ValueError, match="needs a question"):
        parser(drawing(), task="question")
    with pytest.raises(ValueError, match="unknown task"):
        parser(drawing(), task="tabel")


def test_the_stream_is_the_text(parser):
    pieces = []
    result = parser(drawing(), max_new_tokens=30, stream=pieces.append)
    assert "".join(pieces) == result.text and len(pieces) > 10


def test_documents(parser, tmp_path):
    path = tmp_path / "two.pdf"
    path.write_bytes(pdf(text_page("A"), "0 0 50 50 re f"))
    result = parser(path, max_new_tokens=10)
    assert [page.page for page in result.pages] == [1, 2]
    assert len(result.tables) == 2 and result.finish_reason == "length" and result.error is None
    assert result.seconds == sum(page.seconds for page in result.pages)
    assert len(parser(path, max_new_tokens=10, max_pages=2).pages) == 2
    pages = parser.parse_pages(path, max_new_tokens=10)
    assert next(pages).page == 1
    pages.close()


def test_a_broken_page_is_named_among_the_others(parser):
    broken = pdf("", "", "").replace(b"/Kids [4 0 R 6 0 R 8 0 R]", b"/Kids [4 0 R 99 0 R 8 0 R]")
    result = parser(broken, max_new_tokens=5)
    assert [page.finish_reason for page in result.pages] == ["length", "error", "length"]
    assert result.finish_reason == "error" and "page 2 of 3" in result.error
    with pytest.raises(DocumentError, match="page 1 of 1"):
        parser(pdf("").replace(b"/Kids [4 0 R]", b"/Kids [99 0 R]"))


def test_limits_of_an_answer(parser):
    with pytest.raises(ValueError, match="at least 1"):
        parser(drawing(), max_new_tokens=0)
    with pytest.raises(ValueError, match=r"context holds 4096; shorten the question"):
        parser(drawing(), task="question", question="x" * 5000)
    assert parser.generator.budget(4000) == 96 and parser.generator.budget(10, 50) == 50


def test_confidence_is_that_of_the_worst_token(parser):
    tokenizer, decoder = parser.processor.tokenizer, parser.generator.decoder
    ids = tokenizer("<ched>ab<ched>c<nl><fcel>d<ecel><nl>", add_special_tokens=False)["input_ids"]
    sure = [0.9, 0.5, 0.8, 0.7, 0.99, 0.1, 1.0, 0.6, 0.4, 0.2]
    answer = Answer([*ids, tokenizer.eos_token_id], decoder.decode(ids), "stop", [*sure, 0.3])
    (table,) = read_table(answer, decoder)
    assert [cell.confidence for cell in table.cells] == [0.5, 0.7, 0.6, 0.4]


def test_greedy_answer_equals_plain_generate(parser):
    """Nothing around `generate` changes what the model says."""
    inputs = encode_chats(parser.processor, [messages("text")], [drawing()])
    plain = parser.model.generate(**inputs, max_new_tokens=25, do_sample=False)
    answer = parser.answer(messages("text"), drawing(), 25)
    assert plain[0, inputs["input_ids"].shape[1] :].tolist() == answer.ids


def test_decoder_drops_control_tokens_and_escapes_spelled_ones(parser):
    tokenizer = parser.processor.tokenizer
    decoder = AnswerDecoder(tokenizer)
    spelled = [tokenizer.convert_tokens_to_ids(c) for c in "<nl>"]
    cell, end = tokenizer.convert_tokens_to_ids(["<fcel>", "<|im_end|>"])
    assert decoder.decode([cell, *spelled, end]) == "<fcel><nl>"
    assert decoder.decode([cell, *spelled, end], escape=True) == "<fcel><\\nl>"
    assert Table.from_otsl(decoder.decode([cell, *spelled], escape=True)).to_rows() == [["<nl>"]]


def test_pieces_wait_for_whole_characters(parser):
    tokenizer = parser.processor.tokenizer
    received = []
    streamer = PieceStreamer(AnswerDecoder(tokenizer), received.append)
    streamer.put(torch.tensor([[1, 2, 3]]))  # the prompt
    for token in tokenizer("a日b", add_special_tokens=False)["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert received == ["a", "日", "b"]


def copy(checkpoint, target):
    return shutil.copytree(checkpoint, target)


def test_what_is_no_checkpoint(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "absent")
    with pytest.raises(ValueError, match="no checkpoint at"):
        DocumentParser.from_pretrained()
    with pytest.raises(ValueError, match="no such folder"):
        DocumentParser.from_pretrained(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"has no config\.json"):
        DocumentParser.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"some/name: not a document model"):  # offline
        DocumentParser.from_pretrained("some/name")


@pytest.mark.parametrize("device", ["cuda:99", "frobnicator"])
def test_devices_that_are_not_there(device, tiny_checkpoint):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used here") as caught:
        DocumentParser.from_pretrained(tiny_checkpoint, device=device)
    assert "\n" not in str(caught.value)


def test_the_shipped_checkpoint_is_the_default(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tiny_checkpoint)
    assert DocumentParser.from_pretrained().model.dtype == torch.float32
    assert DocumentParser.from_pretrained(dtype="bfloat16").model.dtype == torch.bfloat16


def test_the_checkpoint_that_ships_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert module.find_checkpoint("samvlm-tiny") == str(module.SHIPPED)
    (tmp_path / "samvlm-tiny").mkdir()
    with pytest.raises(ValueError, match=r"samvlm-tiny: not a checkpoint folder"):  # a folder comes first
        module.find_checkpoint("samvlm-tiny")


@pytest.mark.parametrize("dtype", ["float99", "int8", "nn"])
def test_what_is_no_dtype_is_not_blamed_on_the_checkpoint(dtype, tiny_checkpoint):
    with pytest.raises(ValueError, match=f"^dtype '{dtype}' is none for weights; use 'float32'"):
        DocumentParser.from_pretrained(tiny_checkpoint, device="cpu", dtype=dtype)


@pytest.mark.parametrize("damage", ["truncated", "missing", "renamed", "type"])
def test_damaged_checkpoints_are_refused(damage, tiny_checkpoint, tmp_path):
    folder = copy(tiny_checkpoint, tmp_path / "model")
    weights = folder / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "missing":
        weights.unlink()
    elif damage == "renamed":
        tensors = load_file(weights)
        tensors["other"] = tensors.pop(next(name for name in tensors if "projector" in name))
        save_file(tensors, weights, metadata={"format": "pt"})
    else:
        config = json.loads((folder / "config.json").read_text())
        config["model_type"] = "unheard"
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"not a document model|weights are missing") as caught:
        DocumentParser.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_does_not_run(tiny_checkpoint, tmp_path):
    folder = copy(tiny_checkpoint, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "foreign"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match="not a document model"):
        DocumentParser.from_pretrained(folder)
    assert not (tmp_path / "ran").exists()
