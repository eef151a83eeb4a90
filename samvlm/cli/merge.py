"""`samvlm merge`: a plain checkpoint of an adapter and its base model."""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings

from transformers.utils import logging

from ..merging import merge_adapter
from .console import BAD_INPUT, OK, say

DISK = 1


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # peft loads DeepSpeed where it is installed, which writes a line about accelerators to standard output.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # peft's, about tied tables, which are looked after
            merged = merge_adapter(
                options.adapter, options.output, options.base, options.dtype, options.force
            )
    except ValueError as problem:
        say(f"error: {' '.join(str(problem).split())}")
        return BAD_INPUT
    except OSError as problem:
        say(f"error: {options.output}: {problem.strerror or problem}; nothing was written")
        return DISK
    if merged.untied:
        say(
            "the adapter has made token table and head two: the checkpoint holds both, tie_word_embeddings is false"
        )
    if merged.quantised:
        say("the adapter was trained on the base model in 4 bits, and is merged into its whole weights")
    say(
        f"{options.output}: {merged.parameters / 1e6:,.1f} M parameters, {options.dtype}, {merged.size / 1e6:,.0f} MB; "
        f"the merged logits are the adapter's to {merged.difference:.0e} of the largest"
    )
    return OK
