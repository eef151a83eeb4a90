"""`samvlm convert` of whole models: GOT-OCR2 to a checkpoint of ours, and back to transformers' layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoModelForImageTextToText, AutoProcessor

from ..adapters import is_adapter
from ..cards import CARD, card_text
from ..data.whole_files import check_new_folder, whole_folder
from ..model.checkpoint_files import open_checkpoint
from ..model.configuration_samvlm import SamVlmConfig
from ..model.got_ocr2 import GotSource, find_got_ocr2, save_as_got_ocr2
from ..model.got_ocr2_layout import layout_of
from .console import say


def is_whole(source: str) -> bool:
    """Whether a folder or hub repository holds a whole model that can be read as one. Raises ValueError."""
    if Path(source).expanduser().is_file():
        return False
    checkpoint = open_checkpoint(source)
    return bool(checkpoint.config) and layout_of(checkpoint.names) is not None


def convert_whole(options: argparse.Namespace) -> None:
    """Write a whole model of others as a checkpoint of ours. Raises ValueError, or OSError where it is not written."""
    source = find_got_ocr2(options.source)
    if not options.dry_run:
        check_new_folder(Path(options.output), (Path(options.source),), options.force)
    print("\n".join(source.report()))
    if options.dry_run:
        return
    model, processor = source.load(options.table_tokens, options.dtype)
    output = Path(options.output)
    with whole_folder(output) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / CARD).write_text(card(source, output.name, options.table_tokens), encoding="utf-8")
    added = ", with tokens for tables" if options.table_tokens else ""
    say(f"{output}: a whole model{added}, for samvlm parse, chat and train")


def convert_back(options: argparse.Namespace) -> None:
    """Write a checkpoint of ours that came from GOT-OCR2 in transformers' layout. Raises ValueError or OSError."""
    source, output = options.source, Path(options.output)
    if is_adapter(source):
        raise ValueError(
            f"{source} is an adapter: make a checkpoint of it and its base with samvlm merge first"
        )
    config = open_checkpoint(source).config
    if config.get("model_type") != SamVlmConfig.model_type:
        raise ValueError(
            f"{source}: --to takes whole models of samvlm, and its config.json is of {config.get('model_type')!r}"
        )
    check_new_folder(output, (Path(source),), options.force)
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=options.dtype or "auto")
    processor = AutoProcessor.from_pretrained(source)
    with whole_folder(output) as folder:
        save_as_got_ocr2(model, processor, folder)
    say(f"{output}: GOT-OCR2 for transformers' GotOcr2ForConditionalGeneration")


def card(source: GotSource, name: str, table_tokens: bool) -> str:
    """The model card: where the weights come from."""
    path = source.checkpoint.path
    title, *found = source.report()
    front = {"library_name": "transformers", "pipeline_tag": "image-text-to-text", "tags": ["samvlm"]}
    if not Path(path).expanduser().exists():
        front["base_model"] = path
    tokens = " The tokens of OTSL were added; they are not trained." if table_tokens else ""
    return card_text(
        front,
        f"# {name}\n\nGOT-OCR2 (Wei et al., 2024), made by `samvlm convert` of `{Path(path).name}`: "
        f"{title.removeprefix(path).lstrip(': ')}. The licence of its source holds for it.{tokens}\n\n"
        + "\n".join(f"- {line}" for line in found)
        + f"\n\n```bash\nsamvlm parse page.png --model {name}\n```\n",
    )
