"""Files and folders that are there whole or not at all: written aside, then moved to their place."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ASIDE = ".samvlm-"  # how names of files begin that are being written; one that is killed leaves such a file


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Open a stream of bytes that becomes `target` when the block ends well; a failed block leaves `target` as it was.

    Raises OSError.
    """
    aside = (
        target.parent / f"{ASIDE}{secrets.token_hex(6)}"
    )  # known before it exists: an interrupt leaves no file
    try:
        with open(aside, "xb") as stream:
            yield stream
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


@contextlib.contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A folder that becomes `output` when the block ends well, on the disk to the last byte; else nothing is left of
    it, and what was there stays. Raises OSError."""
    parent = output.absolute().parent
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{output.name}-"))
    old = folder.with_name(folder.name + "-old")
    try:
        yield folder
        for path in (*folder.rglob("*"), folder) if os.name == "posix" else ():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        umask = os.umask(0)
        os.umask(umask)
        folder.chmod(0o777 & ~umask)  # mkdtemp's are private
        if output.exists():
            os.replace(output, old)
        os.replace(folder, output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists() and not output.exists():
            os.replace(old, output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_new_folder(output: Path, sources: tuple[Path, ...], force: bool) -> None:
    """Raise ValueError where a checkpoint that is made of `sources` may not be written to the folder `output`.

    Args:
        sources: folders (or hub names) that it must not replace.
        force: whether it may replace a checkpoint.
    """
    here = output.resolve()
    for source in sources:
        there = source.resolve()
        if source.is_dir() and (here == there or here in there.parents):
            raise ValueError(f"{output}: is, or holds, {source}, which is read; name another folder")
    if not output.exists():
        if not output.absolute().parent.is_dir():
            output.absolute().parent.mkdir(parents=True)
        return
    if not force:
        raise ValueError(f"{output}: exists already; name another folder, or replace it with --force")
    if not output.is_dir() or (any(output.iterdir()) and not (output / "config.json").is_file()):
        raise ValueError(f"{output}: exists and is no checkpoint folder, which --force does not replace")
    if inner := [path.name for path in output.iterdir() if path.is_dir()]:
        raise ValueError(
            f"{output}: holds the folder {inner[0]}, which --force would delete; name another folder"
        )
