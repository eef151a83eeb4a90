"""An XLSX file as what it is, a zip of XML parts (ECMA-376), read within limits that are checked before."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lxml import etree

MAX_FILE = 100_000_000  # bytes of a workbook
MAX_PARTS = 10_000  # of a workbook
MAX_PART = 20_000_000  # bytes of a part of it, unpacked
MAX_ELEMENTS = 1_000_000  # of a part

_OLE = b"\xd0\xcf\x11\xe0"  # what .xls files and encrypted .xlsx files start with
_ENTRY = b"PK\x01\x02"  # what each line of a zip's directory starts with
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)")


class Relation(NamedTuple):
    """Where a part refers to: the last word of the kind of reference, its id, the part that it names."""

    kind: str
    id: str
    target: str


class Package:
    """The parts of a workbook.

    source: a path or the file's bytes. Raises ValueError for what is no XLSX file, damaged, or beyond the limits.
    """

    def __init__(self, source: str | Path | bytes):
        self.name = "the workbook" if isinstance(source, bytes) else Path(source).name
        data = source if isinstance(source, bytes) else self._load(Path(source))
        if data.startswith(_OLE):
            raise self.problem("an old .xls file, or encrypted; save it as .xlsx without a password")
        if data.count(_ENTRY) > MAX_PARTS:
            raise self.problem(f"a zip of more than {MAX_PARTS} files, which no workbook needs")
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise self.problem(f"no XLSX file ({error}); save it as .xlsx") from None
        self.parts = {info.filename.lower(): info for info in self.archive.infolist()}

    def problem(self, what: str) -> ValueError:
        """An error that names the file."""
        return ValueError(f"{self.name}: {what}")

    def damage(self, part: str, what: object) -> ValueError:
        """An error that names the file and the part."""
        return self.problem(f"{part} is damaged ({what}); save the workbook again")

    def __contains__(self, part: str) -> bool:
        return part.lower() in self.parts

    def _load(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > MAX_FILE:
                raise self.problem(f"{size} bytes, more than {MAX_FILE}; split it")
            return path.read_bytes()
        except OSError as error:
            raise self.problem(f"cannot be read ({error.strerror}); correct the path") from None

    def read(self, part: str) -> bytes:
        """Return a part as UTF-8, b"" if there is none of this name. Its size is checked before it is unpacked."""
        info = self.parts.get(part.lower())
        if info is None:
            return b""
        if info.file_size > MAX_PART:
            raise self.problem(
                f"{part} holds {info.file_size} bytes, more than {MAX_PART}; split the workbook"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise self.problem(
                f"{part} is packed or encrypted in a way that XLSX does not know; save it again"
            )
        try:
            data = self.archive.read(info)
            if data.startswith((b"\xff\xfe", b"\xfe\xff")):
                data = data.decode("utf-16").encode()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise self.damage(part, error) from None
        if _DECLARATION.search(data):  # the way of entity bombs and of references to other files
            raise self.problem(f"{part} declares a document type, which XLSX forbids; save it again")
        return data

    def elements(self, part: str, *names: str) -> Iterator[etree._Element]:
        """Yield the elements of these names as they end, children first; each is emptied when the next is asked for.

        None for a part that is not there. Raises ValueError if the part is damaged or has too many elements.
        """
        data = self.read(part)
        if not data:
            return
        if data.count(b"<") - data.count(b"</") > MAX_ELEMENTS:
            raise self.problem(f"{part} has more than {MAX_ELEMENTS} elements; split the workbook")
        # The encoding is forced, so that no other one can hide a declaration from `read`.
        events = etree.iterparse(
            io.BytesIO(data),
            tag=[f"{{*}}{name}" for name in names],
            encoding="utf-8", resolve_entities=False, no_network=True,
            remove_comments=True, remove_pis=True,
        )  # fmt: skip
        try:
            for _, element in events:
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
        except etree.XMLSyntaxError as error:
            raise self.damage(part, error) from None

    def relations(self, part: str) -> list[Relation]:
        """What a part refers to; "" is the file as a whole."""
        folder, name = posixpath.split(part)
        return [
            Relation(
                element.get("Type", "").rpartition("/")[2],
                element.get("Id", ""),
                posixpath.normpath(posixpath.join("/", folder, element.get("Target", ""))).lstrip("/"),
            )
            for element in self.elements(posixpath.join(folder, "_rels", f"{name}.rels"), "Relationship")
        ]


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]
