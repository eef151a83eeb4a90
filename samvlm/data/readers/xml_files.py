"""XML of data sets: read without entities, network or deep trees, and within a size."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

MAX_BYTES = 32 << 20  # the largest annotation of a page has less than one MiB


def read_xml(path: Path) -> etree._Element:
    """Return the root element. Raises ValueError for what is no XML, too large, or declares a document type.

    A DOCTYPE is refused whatever it says: no data set has one, and it is where entity bombs and foreign files come in.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB of XML; is it an annotation file?")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"no XML ({error.msg or 'empty'}); is the file complete?") from None
    if root.getroottree().docinfo.doctype:
        raise ValueError("the XML declares a document type (DOCTYPE), which no data set does; take it out")
    return root


def text_of(element: etree._Element | None) -> str:
    """Return all text within an element, blanks collapsed; "" for None."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def number_of(parent: etree._Element, name: str) -> float:
    """Return the finite number in a child element. Raises ValueError if it is missing or none."""
    text = text_of(parent.find(name))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"<{name}> of <{parent.tag}> is {text!r}; a number is needed")
    return value
