"""XML of data sets: hostile files are refused, none of them reads another file or fills the memory."""

import resource

import pytest

from samvlm.data.readers import xml_files
from samvlm.data.readers.xml_files import number_of, read_xml, text_of

BOMB = "<!DOCTYPE a [<!ENTITY x0 'ha'>" + "".join(
    f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 12)
)


def test_reads_plain_xml(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><a><!-- no --><b> 1.5 </b><c>x<i>y</i>\n z&lt;é</c></a>',
        "latin-1",
    )
    root = read_xml(path)
    assert number_of(root, "b") == 1.5
    assert text_of(root.find("c")) == "xy z<é" and text_of(root.find("d")) == ""
    for name in ("c", "d"):
        with pytest.raises(ValueError, match="a number is needed"):
            number_of(root, name)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "26ß", ""])
def test_what_is_no_number(tmp_path, value):
    path = tmp_path / "a.xml"
    path.write_text(f"<a><b>{value}</b></a>", "utf-8")
    with pytest.raises(ValueError, match="<b> of <a>"):
        number_of(read_xml(path), "b")


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "]><a>&x11;</a>",
        BOMB + ']><a b="&x11;"/>',
        BOMB + "]><a/>",
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/a.dtd'><a/>",
        "<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>",
        "<!DOCTYPE a [<!ENTITY % f SYSTEM 'file:///etc/passwd'> %f;]><a/>",
        "<a>&undefined;</a>",
        "<a>" * 1000 + "</a>" * 1000,
        "<a><b></a>",
        "<a>\x01</a>",
        "",
        "no XML",
        "<a/><b/>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_refuses(tmp_path, text, encoding):
    path = tmp_path / "a.xml"
    path.write_text(text, encoding)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"no XML|DOCTYPE") as error:
        read_xml(path)
    assert "root:" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_refuses_what_is_too_large_or_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_files, "MAX_BYTES", 100)
    path = tmp_path / "a.xml"
    path.write_text("<a>" + "x" * 100 + "</a>")
    with pytest.raises(ValueError, match="annotation file"):
        read_xml(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_xml(tmp_path / "none.xml")
