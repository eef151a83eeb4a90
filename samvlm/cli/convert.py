"""`samvlm convert`: a tower folder, or a whole model, made of a checkpoint of others."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.utils import logging

from ..cards import CARD, card_text
from ..data.whole_files import check_new_folder, whole_folder
from ..model.modeling_sam_vision import SamVisionTower
from ..model.sources import COMPRESSOR, TowerSource, find_tower
from .console import BAD_INPUT, OK, one_line, say
from .convert_whole import convert_back, convert_whole, is_whole

DISK = 1
FULL = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EIO,
    errno.EFBIG,
)  # what a disk says no with


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        if options.output is None and not options.dry_run:
            raise ValueError("OUT is missing: name the new folder, or see what is there with --dry-run")
        check_choices(options)
        if options.to or (not options.tower_only and not options.preprocessing and is_whole(options.source)):
            return run_whole(options)
        if options.table_tokens:
            raise ValueError(
                f"{options.source}: --table-tokens is for whole models, and it is none that is read so"
            )
        source = find_tower(options.source, options.preprocessing)
        if not options.dry_run:
            check_new_folder(Path(options.output), (Path(options.source),), options.force)
        print("\n".join(source.report()))
        if options.dry_run:
            return OK
        tower = source.load(SamVisionTower)
        convs = source.load_compressor()
    except (ValueError, OSError) as problem:
        say(f"error: {one_line(problem)}")
        return BAD_INPUT
    try:
        size = write_tower(Path(options.output), source, tower, convs, options.dtype)
    except OSError as problem:
        say(f"error: {options.output}: {problem.strerror or problem}; nothing was written")
        return DISK
    compressor = " with its compressor" if convs else ""
    say(f"{options.output}: a tower{compressor} for AutoModel and scripts/assemble.py, {size / 1e6:,.1f} MB")
    return OK


def check_choices(options: argparse.Namespace) -> None:
    """Raise ValueError for options that exclude each other."""
    if options.to and (
        options.table_tokens or options.tower_only or options.preprocessing or options.dry_run
    ):
        raise ValueError("--to takes neither --table-tokens, --tower-only, --preprocessing nor --dry-run")
    if options.tower_only and options.table_tokens:
        raise ValueError("--table-tokens is for whole models: leave --tower-only out")


def run_whole(options: argparse.Namespace) -> int:
    """Convert a whole model, or back; returns the exit code. Raises ValueError, and OSError for what cannot be read."""
    output = options.output
    try:
        (convert_back if options.to else convert_whole)(options)
    except OSError as problem:
        if problem.errno not in FULL:
            raise
        say(f"error: {output}: {problem.strerror}; nothing was written")
        return DISK
    return OK


def write_tower(
    output: Path,
    source: TowerSource,
    tower: SamVisionTower,
    convs: dict[str, torch.Tensor],
    dtype: str | None = None,
) -> int:
    """Write a tower's folder, with image processor, compressor and a card that says where it comes from; it is there
    whole or not at all.

    Args:
        convs: the weights of the compressor; {} for none.
        dtype: of the weights; None: as they are.

    Returns:
        The bytes of the weights. Raises OSError.
    """
    kind = getattr(torch, dtype) if dtype else tower.dtype
    tower = tower.to(kind)
    convs = {name: weight.to(kind) for name, weight in convs.items()}
    title, *found = source.report()
    name = source.checkpoint.path
    front = {"library_name": "transformers", "pipeline_tag": "image-feature-extraction", "tags": ["samvlm"]}
    if not Path(name).expanduser().exists():
        front["base_model"] = name
    body = (
        f"# {output.name}\n\nAn image encoder of SAM's kind, made by `samvlm convert` of `{Path(name).name}`: "
        f"{title.removeprefix(name).lstrip(': ')}. The licence of its source holds for it.\n\n"
        + "\n".join(f"- {line}" for line in found)
        + "\n\n```python\nimport samvlm\nfrom transformers import AutoImageProcessor, AutoModel\n\n"
        f'tower = AutoModel.from_pretrained("{output.name}")\n'
        f'processor = AutoImageProcessor.from_pretrained("{output.name}")\n```\n'
    )
    with whole_folder(output) as folder:
        with contextlib.redirect_stdout(io.StringIO()):  # DeepSpeed writes there where it is installed
            tower.save_pretrained(folder)
        if convs:
            save_file(convs, folder / COMPRESSOR, metadata={"format": "pt"})
        (folder / CARD).write_text(card_text(front, body), encoding="utf-8")
        return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
