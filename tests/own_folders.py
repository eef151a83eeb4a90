"""Folders of images with their truth beside them, for the tests of readers."""

from pathlib import Path

from layouts import split_items

from samvlm.data.readers import READERS
from samvlm.data.tables import Table

TABLE = Table.from_rows([["Year", "Sales"], ["2004", "34.7"]], header_rows=1)
HTML = TABLE.to_html()


def save(folder: Path, **files: str | bytes) -> Path:
    """Write files; `__` in a name is a folder, a `.` before the suffix is written as `_dot_`."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read(folder: Path, **options) -> tuple[dict, dict]:
    """Items by id, and reasons by the path within the folder."""
    items, rejected = split_items(READERS["folder"](folder, **options))
    assert len({item.id for item in items}) == len(items)
    return {item.id: item for item in items}, {
        str(Path(entry.where).relative_to(folder)): entry.reason for entry in rejected
    }
