"""TEDS, the similarity of two HTML tables as trees: the official score, structure alone, and a normalised one.

Definition: Zhong et al., "Image-based table recognition" (arXiv 1911.10683); the official code is src/metric.py of
github.com/ibm-aur-nlp/PubTabNet (Apache-2.0), whose results `teds` and `teds_struct` reproduce to 1e-12.
"""

from __future__ import annotations

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, fromstring

from ..data.tables import Table
from .table_pair import normal_text, read_pair
from .table_tree import Content, Label, TableTree, similarity
from .text import check_text


def teds(prediction: str, truth: str) -> float:
    """Return the official TEDS of two HTML documents, 1.0 for equal ones.

    Its oddities are part of the definition: a table without `<html><body>` around it, or with text or a code fence
    before it, scores 0; of several tables the first counts; the text of a `th` is never compared, and a `th` never
    equals a `td`; inline tags count in the denominator though they are no nodes of the tree; blanks count, so that
    a cell with one blank against an empty one is wholly wrong. It can be negative.
    Raises ValueError for a span that is no integer and for a document with an XML declaration (there the official
    code raises as well), and for tables too large to compare.
    """
    return _official(prediction, truth, structure_only=False)


def teds_struct(prediction: str, truth: str) -> float:
    """Return the official TEDS-Struct (`structure_only=True`): as `teds`, with every cell taken as empty.

    Inline tags still count in the denominator, as in the official code.
    """
    return _official(prediction, truth, structure_only=True)


def teds_normalised(prediction: str, truth: str) -> float:
    """Return TEDS after both tables were brought to one form, so that only differences that a reader sees count.

    1. Wrapping: the first table anywhere counts; `<html><body>`, prose and code fences around it do not.
       ```` ```html <table>…</table> ``` ```` = `<html><body><table>…</table></body></html>`
    2. Header tags: `<th>a</th>` = `<td>a</td>`
    3. Sections: `<thead><tr>…</tr></thead><tbody>…` = `<tr>…</tr>…`; a row without cells is left out.
    4. Inline tags: `<b>5</b>`, `m<sup>2</sup>` = `5`, `m2`; `a<br>b`, `<p>a</p><p>b</p>` = `a b`
    5. Entities that were escaped twice: `&amp;lt;` = `&lt;`
    6. Width and other compatibility forms (Unicode NFKC): `Ａ１`, `ﬁ`, `m²`, `…` = `A1`, `fi`, `m2`, `...`
    7. Blanks: any run of any kind is one space, none at the ends: ` a&nbsp; b ` = `a b`; `<td> </td>` = `<td></td>`
    8. Spans: `colspan="1"`, `colspan=""` = none; what reaches beyond the table or onto another cell is cut.
    9. Short rows are filled with empty cells: `<tr><td>a</td></tr>` in a table of two columns =
       `<tr><td>a</td><td></td></tr>`

    Case, punctuation and the kinds of dashes count. A prediction without a table scores 0. Raises ValueError if
    the truth has none, or for tables too large to compare.
    """
    table, reference = read_pair(prediction, truth)
    if table is None:
        return 0.0
    return similarity(_normalised_tree(table), _normalised_tree(reference))


def teds_struct_normalised(prediction: str, truth: str) -> float:
    """Return TEDS-Struct of the two tables as `Table` writes them, without texts and with all rows in one tbody.

    As in `teds_normalised`, wrapping, header tags, sections and inline tags do not count, spans are mended and short
    rows filled. A prediction without a table scores 0. Raises ValueError if the truth has none, or for tables too
    large to compare.
    """
    table, reference = read_pair(prediction, truth)
    if table is None:
        return 0.0
    for cell in (*table.cells, *reference.cells):
        cell.text, cell.header = "", None
    return teds_struct(table.to_html(), reference.to_html())


def has_official_table(document: str) -> bool:
    """Whether `teds` finds a table in an HTML document: a child of the body, with nothing but tables before it."""
    return bool(document) and _official_table(document) is not None


def _official(prediction: str, truth: str, structure_only: bool) -> float:
    check_text(prediction, truth)
    if not prediction or not truth:
        return 0.0
    first, second = _official_table(prediction), _official_table(truth)
    if first is None or second is None:
        return 0.0
    return similarity(_official_tree(first, structure_only), _official_tree(second, structure_only))


def _official_table(document: str) -> HtmlElement | None:
    """Return the table that the official code finds: a child of `body`, and only in a full HTML document."""
    parser = HTMLParser(remove_comments=True, encoding="utf-8")
    try:
        found = fromstring(document, parser=parser).xpath("body/table")
    except etree.ParserError:  # nothing but blanks or comments
        return None
    except ValueError as error:  # an XML declaration; with some versions of lxml a lone surrogate
        raise ValueError(
            f"the HTML cannot be parsed: {error}; take that out, or use teds_normalised"
        ) from None
    return found[0] if found else None


def _official_tree(table: HtmlElement, structure_only: bool) -> TableTree:
    labels: list[Label] = []
    depths: list[int] = []
    contents: list[Content | None] = []
    todo = [(table, 0)]
    while todo:
        node, depth = todo.pop()
        depths.append(depth)
        if node.tag == "td":
            labels.append(("td", _span(node, "colspan"), _span(node, "rowspan")))
            contents.append(() if structure_only else _tokens(node))
        else:
            labels.append((node.tag, 0, 0))
            contents.append(None)
            todo.extend((child, depth + 1) for child in reversed(node))
    return TableTree.from_preorder(labels, depths, contents, int(table.xpath("count(.//*)")))


def _span(cell: HtmlElement, name: str) -> int:
    value = cell.get(name, "1")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f'{name}="{value:.40}" is no integer; correct it, or use teds_normalised') from None


def _tokens(cell: HtmlElement) -> Content:
    """The tokens of a cell: each character one, each inline tag one (`unk` has no closing one)."""
    if len(cell) == 0:
        return tuple(cell.text or "")
    tokens: list[str] = []
    for event, node in etree.iterwalk(cell, events=("start", "end", "pi")):
        if event == "start":
            if node is not cell:
                tokens.append(f"<{node.tag}>")
            tokens += node.text or ""
        elif node is not cell:
            if event == "pi":
                tokens += [f"<{node.tag}>", *(node.text or "")]
            if node.tag != "unk":
                tokens.append(f"</{node.tag}>")
            if node.tag != "td":
                tokens += node.tail or ""
    return tuple(tokens)


def _normalised_tree(table: Table) -> TableTree:
    rows: list[list[tuple[Label, Content]]] = [[] for _ in range(table.n_rows)]
    for cell in table.cells:
        rows[cell.row].append((("td", cell.colspan, cell.rowspan), tuple(normal_text(cell.text))))
    labels: list[Label] = [("table", 0, 0)]
    depths, contents = [0], [None]
    for row in rows:
        labels += [("tr", 0, 0), *(label for label, _ in row)]
        depths += [1] + [2] * len(row)
        contents += [None, *(content for _, content in row)]
    return TableTree.from_preorder(labels, depths, contents, len(labels) - 1)
