"""Files that are whole or not there."""

import os
from pathlib import Path

import pytest

from samvlm.data.whole_files import whole_file


def test_a_block_that_ends_well_leaves_the_file(tmp_path: Path):
    target = tmp_path / "a.txt"
    with whole_file(target) as stream:
        stream.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    with pytest.raises(KeyError), whole_file(target) as stream:
        stream.write(b"half")
        raise KeyError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(OSError), whole_file(tmp_path / "none" / "a.txt"):
        pass
