"""Web pages: whatever the texts are, the page shows them and does nothing else."""

import base64
import hashlib
import io
import json
import re

import pytest
from lxml import html
from PIL import Image

from samvlm.data.cells import Cell
from samvlm.data.tables import Table
from samvlm.data.webpage import image_uri, json_block, page, plain_line, show_text, table_markup

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></tr></table></script><script>alert(1)</script>",
    "<!-- <style> ]]>",
    "\" onmouseover='alert(1)'",
    "&lt;b&gt; &amp;",
    "\u2028\u2029",
]


def test_page_names_its_script_by_hash_and_loads_nothing():
    text = page("a <b>", "<p>body</p>", "p { color: red }", "let a = 1;")
    (policy,) = html.document_fromstring(text).xpath("//meta[@http-equiv]/@content")
    digest = base64.b64encode(hashlib.sha256(b"let a = 1;").digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "img-src data:" in policy
    assert "<title>a &lt;b&gt;</title>" in text and text.endswith(
        "<script>let a = 1;</script>\n</body>\n</html>\n"
    )


def test_page_without_a_script_runs_none():
    text = page("a", "")
    assert "script-src 'none'" in text and "<script" not in text


@pytest.mark.parametrize(("style", "script"), [("a</STYLE >", ""), ("", "'</script'"), ("", "<!--")])
def test_page_refuses_what_ends_its_own_elements(style: str, script: str):
    with pytest.raises(ValueError, match="write it in another way"):
        page("a", "", style, script)


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_show_hostile_texts(text: str):
    markup = table_markup(Table([Cell(text, 0, 0), Cell("b", 0, 1)], 1, 2))
    root = html.fragment_fromstring(markup)
    assert {element.tag for element in root.iter()} <= {"table", "tbody", "tr", "td", "span"}
    assert {name for element in root.iter() for name in element.attrib} <= {"dir", "class", "title"}
    if text.isprintable():
        assert root.xpath("string(.//td[1])") == text


@pytest.mark.parametrize("value", [*HOSTILE, "\ud800", {"a": [1, None, "</SCRIPT>"]}])
def test_json_blocks_hold_their_value_and_do_not_end_early(value: object):
    block = json_block(value, 'id="x"')
    assert block.startswith('<script type="application/json" id="x">') and block.endswith("</script>")
    content = block[block.index(">") + 1 : -len("</script>")]
    assert json.loads(content) == value
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", content)


def test_unseen_characters_are_shown():
    shown = show_text("a\u202eb\x07\u200b")
    assert html.fromstring(f"<p>{shown}</p>").text_content() == "a202Eb␇200B"
    assert 'title="U+202E right-to-left override"' in shown
    assert show_text("نمی\u200cخواهم") == "نمی\u200cخواهم", "a joiner within a word is spelling"
    assert "200C" in show_text("a\u200cb")
    assert show_text("a\nb & שלום") == "a<br>b &amp; שלום"
    assert plain_line("a\n\u202eb\x00 c") == "a b c"


def test_markup_keeps_spans_headers_and_direction():
    table = Table(
        [Cell("a", 0, 0, colspan=2, header="column"), Cell("r", 1, 0, header="row"), Cell("1", 1, 1)], 2, 2
    )
    root = html.fragment_fromstring(table_markup(table, lambda cell: "x" if cell.text == "1" else ""))
    assert root.xpath("thead/tr/th/@colspan") == ["2"] and root.xpath("thead/tr/th/@scope") == ["colgroup"]
    assert root.xpath("tbody/tr/th/@scope") == ["row"]
    assert root.xpath("tbody/tr/td/@class") == ["x"] and not root.xpath("//th/@class")
    assert set(root.xpath("//td/@dir | //th/@dir")) == {"auto"}


def test_markup_stops_at_the_limit_and_says_so():
    table = Table([Cell("a", 0, 0, rowspan=5), *(Cell(str(row), row, 1) for row in range(5))], 5, 2)
    root = html.fragment_fromstring(table_markup(table, max_rows=2))
    assert root.xpath(".//td/@rowspan") == ["2"]
    assert [td.text_content() for td in root.iter("td")] == ["a", "0", "1", "… 3 of 5 rows are not drawn"]


@pytest.mark.parametrize("colour", [False, True])
def test_images_become_small_data_uris(colour: bool):
    image = Image.new("RGB", (3000, 60), "white")
    image.paste((200, 30, 30) if colour else (0, 0, 0), (10, 10, 2000, 20))
    kind, data = image_uri(image, 500).split(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    decoded = Image.open(io.BytesIO(base64.b64decode(data)))
    assert decoded.size == (500, 10)
    red, green, _ = decoded.convert("RGB").getpixel((100, 2))
    assert (red - green > 100) == colour
    assert image.size == (3000, 60)
