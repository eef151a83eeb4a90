"""Files that are there whole or not at all: written aside, then moved to their place."""

from __future__ import annotations

import contextlib
import os
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
    handle, aside = tempfile.mkstemp(dir=target.parent, prefix=ASIDE)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(aside, 0o666 & ~umask)  # mkstemp's files are private
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
