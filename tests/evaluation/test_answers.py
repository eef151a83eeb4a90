"""Tables in answers of every form."""

import pytest

from samvlm.data.tables import Table
from samvlm.evaluation.answers import plain_answer, table_html

ROW = "<table><tr><th>a</th><td><b>1</b></td></tr></table>"
GRID = [["a", "1"]]


@pytest.mark.parametrize(
    "answer",
    [
        ROW,
        f"Here it is:\n```html\n{ROW}\n```\nAnything else?",
        f"<think>maybe <table><tr><td>no</td></tr></table></think>{ROW}",
        f"<html><body>{ROW}</body></html>",
    ],
)
def test_html_is_cut_out_as_it_stands(answer):
    assert table_html(answer) == f"<html><body>{ROW}</body></html>"


def test_html_that_was_cut_off_goes_to_its_end():
    assert table_html("```html\n<TABLE><tr><td>a") == "<html><body><TABLE><tr><td>a</body></html>"


@pytest.mark.parametrize(
    "answer",
    [
        "<fcel>a<fcel>1<nl>",
        "<fcel>a<fcel>1",
        "<otsl><loc_1><fcel>a<fcel>1<nl></otsl>",
        "```\n<ched>a<ched>1<nl>\n```",
        "| a | 1 |\n|---|---|\n",
        "Sure!\n```markdown\n| a | 1 |\n|---|---|\n```",
        r"\title{T} \begin{tabular}{|l|l|} \hline a & 1 \\ \hline \end{tabular} and more",
        r"\begin{tabular}{ll} a & 1",
    ],
)
def test_otsl_markdown_and_latex_are_converted(answer):
    html = table_html(answer)
    assert html.startswith("<html><body><table>") and Table.from_html(html).to_rows() == GRID


@pytest.mark.parametrize("answer", ["", "There is no table.", "<nl>", "<think>| a |\n|---|", "a | b"])
def test_no_table(answer):
    assert table_html(answer) == ""


def test_plain_answers():
    assert plain_answer("<think>\nhm</think>\n\n42 \n") == "42"
    assert plain_answer("```text\na\n b\n```\n") == "a\n b"
    assert plain_answer("say ``` twice ```") == "say ``` twice ```"
