"""A converted GOT-OCR2 behind the parser, the chat and their commands: tables from its LaTeX, its own instructions."""

import io
import json
import sys

import pytest
import torch
from documents import drawing, encode
from got_models import IMGPAD, save_got, tiny_got
from transformers import GotOcr2ForConditionalGeneration, GotOcr2Processor

from samvlm.cli import main
from samvlm.data.tables import Table
from samvlm.generation import ChatSession, DocumentParser
from samvlm.model.got_ocr2 import load_got_ocr2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_got(tiny_got(), tmp_path_factory.mktemp("got"))


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    model, processor = load_got_ocr2(source)
    folder = tmp_path_factory.mktemp("converted")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def parser(folder):
    return DocumentParser.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize(("task", "formatted"), [("text", False), ("table", True)])
def test_answers_are_theirs(task, formatted, parser, source):
    """What transformers' processor, model and `generate` make of a page, the parser makes of it."""
    processor = GotOcr2Processor.from_pretrained(source)
    inputs = processor(drawing(), format=formatted, num_image_tokens=4, return_tensors="pt")
    ids = GotOcr2ForConditionalGeneration.from_pretrained(source).generate(
        **inputs,
        do_sample=False,
        max_new_tokens=32,
        suppress_tokens=[IMGPAD],
        tokenizer=processor.tokenizer,
        stop_strings="<|im_end|>",
    )
    expected = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    result = parser(drawing(), task=task, max_new_tokens=32)
    assert len(expected) > 5
    assert result.text == expected


def test_tables_from_latex(parser, monkeypatch):
    """The tables of a formatted page, cut off or not; their exports are those of every other table."""
    said = r"\section*{A} \begin{tabular}{|l|l|} \hline Year & Sales \\ \hline 2004 & 34.7 \\ \hline \end{tabular} end"
    tokenizer = parser.processor.tokenizer
    ids = tokenizer(said)["input_ids"] + [tokenizer.convert_tokens_to_ids("<|im_end|>")]

    def generate(input_ids, **kwargs):
        return torch.cat([input_ids, torch.tensor([ids])], dim=1)

    monkeypatch.setattr(parser.model, "generate", generate)
    result = parser(drawing())
    assert (result.text, result.finish_reason) == (said, "stop")
    assert [table.to_rows() for table in result.tables] == [[["Year", "Sales"], ["2004", "34.7"]]]
    assert result.to_csv() == "Year,Sales\r\n2004,34.7\r\n" or result.to_csv() == "Year,Sales\n2004,34.7\n"
    assert Table.from_otsl(result.to_otsl()) == result.tables[0]


def test_chat_of_several_turns(parser):
    """The second question stands behind the first answer, the image once."""
    session = ChatSession(parser, drawing())
    first = "".join(session.ask("OCR:", max_new_tokens=8))
    assert first == parser(drawing(), task="text", max_new_tokens=8).text
    "".join(session.ask("Once more?", max_new_tokens=8))
    assert [turn["role"] for turn in session.messages] == ["user", "assistant"] * 2


def test_commands(folder, tmp_path, monkeypatch, capsys):
    """`samvlm parse` and `samvlm chat`."""
    page = tmp_path / "page.png"
    page.write_bytes(encode(drawing(), "PNG"))
    options = ["--model", str(folder), "--device", "cpu", "--max-new-tokens", "8"]
    assert main(["parse", str(page), "--format", "json", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["tokens"] == 8 and result["tables"] == []
    assert main(["parse", str(page), "--task", "text", *options]) == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("OCR with format:\nAnd now?\n"))
    assert main(["chat", str(page), *options]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_transformers_own_is_to_be_converted(source):
    with pytest.raises(ValueError, match="samvlm convert"):
        DocumentParser.from_pretrained(source, device="cpu")


def test_with_table_tokens(source, tmp_path):
    """With the OTSL tokens the grammar makes a table of any answer."""
    model, processor = load_got_ocr2(source, table_tokens=True)
    (table,) = DocumentParser(model, processor)(drawing(), max_new_tokens=24).tables
    assert table.n_rows and table.n_cols
