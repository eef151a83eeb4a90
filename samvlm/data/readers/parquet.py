"""Rows of parquet files, streamed, and the images in them as Hugging Face's datasets store them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .items import Rejected, split_named

BATCH = 32  # rows in memory at once: an image has up to a few megabytes


def parquet_files(path: Path) -> list[Path]:
    """Return the file, or all .parquet files below a folder, sorted.

    Raises ValueError if there is none, or pyarrow is not installed.
    """
    if path.is_file() and path.suffix == ".parquet":
        files = [path]
    else:
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else []
    if not files:
        raise ValueError(f"{path}: no .parquet file; give one, or the folder of them")
    pyarrow_parquet()
    return files


def parquet_rows(
    files: Iterable[Path], needed: Iterable[str] = (), wanted: Iterable[str] | None = None
) -> Iterator[tuple[str, tuple[Path, dict[str, Any]] | Rejected]]:
    """Yield ("FILE: row 1", (file, row as a dict)) for each row; a file that cannot be read gives a Rejected.

    needed: columns without which a file is none of the data set
    wanted: columns to read beside them, where they are there; None: all
    """
    parquet, broken = pyarrow_parquet()
    needed = list(needed)
    for file in files:
        number = 0
        try:
            with parquet.ParquetFile(file) as table:
                there = table.schema_arrow.names
                missing = [name for name in needed if name not in there]
                if missing:
                    reason = f"has no column {', '.join(missing)}; it has {', '.join(there)}"
                    yield str(file), Rejected(str(file), reason)
                    continue
                columns = None if wanted is None else [name for name in there if name in {*needed, *wanted}]
                for batch in table.iter_batches(batch_size=BATCH, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{file}: row {number}", (file, row)
        except broken as error:
            reason = f"cannot be read beyond row {number} ({_one_line(error)}); get a complete copy"
            yield str(file), Rejected(str(file), reason)


def count_rows(files: Iterable[Path]) -> int | None:
    """Return the number of rows, from the ends of the files; None if one is broken."""
    parquet, broken = pyarrow_parquet()
    try:
        return sum(parquet.read_metadata(file).num_rows for file in files)
    except broken:
        return None


def image_bytes(value: Any) -> bytes:
    """Return the encoded image of a cell: bytes, or a struct with "bytes". Raises ValueError if there is none."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        named = value.get("path") if isinstance(value, dict) else None
        raise ValueError(f"the row holds no image bytes{f', only the path {named!r}' if named else ''}")
    return data


def split_of_file(file: Path) -> str | None:
    """Return the split in the name of a file, as in train-00000-of-00049.parquet; None if it names none."""
    return split_named(file.stem.split("-")[0], file.parent.name)


def pyarrow_parquet() -> tuple[Any, tuple[type[Exception], ...]]:
    """The module that reads parquet, and what it raises for a broken file."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError('reading parquet needs pyarrow; run `pip install "samvlm[train]"`') from None
    return pyarrow.parquet, (OSError, pyarrow.ArrowException)


def _one_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
