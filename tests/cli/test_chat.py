"""samvlm chat: questions from a pipe, streamed answers, mistakes."""

import io
import sys

import pytest
from documents import drawing, encode, pdf

from samvlm.cli import main
from samvlm.cli.chat import converse, readable
from samvlm.generation import ChatSession


@pytest.fixture
def chat(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    """Run `samvlm chat` on page.png with these lines as input; returns (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.png").write_bytes(encode(drawing(), "PNG"))

    def run(lines: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        options = ["--model", str(tiny_checkpoint), "--max-new-tokens", "8", "--device", "cpu"]
        code = main(["chat", *(arguments or ["page.png"]), *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


class Session:
    """Stands for a ChatSession: says what it is told to and notes what it is asked."""

    finish_reason = "stop"

    def __init__(self, *answers):
        self.answers, self.asked, self.resets = list(answers), [], 0

    def ask(self, question, max_new_tokens=None):
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        yield from answer

    def reset(self):
        self.resets += 1


def test_questions_from_a_pipe(chat):
    code, out, errors = chat("How many rows?\n\n  And columns? \n")
    assert (code, errors) == (0, "")
    assert out.endswith(" […]\n") and out.count(" […]\n") == 2


def test_the_session_is_driven(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n/reset\ntwo\n<image>\n/quit\nfive\n"))
    session = Session(["4", "2"], ["<fcel>", "a", "<fcel>", "b", "<nl>"], ValueError("too\nlong"))
    assert converse(session) == 2
    assert session.asked == ["one", "two", "<image>"] and session.resets == 1
    said = capsys.readouterr()
    assert said.out == "42\n | a | b\n\n" and said.err == "samvlm: error: too\n"


def test_ctrl_c_in_an_answer_to_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    session = Session(KeyboardInterrupt(), ["never"])
    assert converse(session) == 130 and session.asked == ["one"]
    assert "[stopped]" in capsys.readouterr().out


def test_pages(chat, tmp_path):
    (tmp_path / "two.pdf").write_bytes(pdf("", ""))
    assert chat("x\n", "two.pdf", "--page", "2")[0] == 0
    code, out, errors = chat("x\n", "two.pdf", "--page", "3")
    assert (code, out) == (2, "") and errors == "samvlm: error: page 3 does not exist; the document has 2\n"


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_bad_input_is_one_line(chat, name):
    code, out, errors = chat("x\n", name)
    assert (
        (code, out) == (2, "") and errors.startswith(f"samvlm: error: {name}: ") and errors.count("\n") == 1
    )


def test_a_model_that_is_not_there(chat, tmp_path, capsys):
    assert main(["chat", str(tmp_path / "page.png"), "--model", "nowhere"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_readable_shows_rows_and_steers_nothing():
    assert readable("<ched>Year<nl>") == " | Year\n"
    assert readable("a\x1b[2J\u202eb\n") == "a[2Jb\n"


def test_piped_answers_are_those_of_a_session(chat, parser_of_chat):
    _, out, _ = chat("How many rows?\nAnd?\n")
    session = ChatSession(parser_of_chat, drawing())
    expected = []
    for question in ("How many rows?", "And?"):
        expected.append("".join(map(readable, session.ask(question, 8))) + " […]\n")
    assert out == "".join(expected)


@pytest.fixture
def parser_of_chat(tiny_checkpoint):
    from samvlm.generation import DocumentParser

    return DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
