"""Model cards: a README.md with front matter, as the Hugging Face hub reads it; parts of one read and replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

CARD = "README.md"
LOADING = "Load it"  # the heading of the section that tells how
UNWRITTEN = "[More Information Needed]"  # in the forms that peft and TRL leave in a folder


def read_card(folder: Path) -> tuple[dict[str, Any], str]:
    """The front matter and the text behind it of a folder's card; ({}, "") where there is none, or an unwritten form."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}, ""
    if UNWRITTEN in text:
        return {}, ""
    parts = re.fullmatch(r"---\n(.*?\n)---\n(.*)", text, re.DOTALL)
    if parts is None:
        return {}, text
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        front = None
    return (front, parts[2]) if isinstance(front, dict) else ({}, parts[2])


def card_text(front: dict[str, Any], body: str) -> str:
    """A card of its two parts; keys of the front matter that say nothing are left out."""
    said = {key: value for key, value in front.items() if value not in (None, [], "")}
    matter = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{matter}---\n\n{body.strip()}\n"


def loading(name: str, base: str | None = None) -> str:
    """How a folder is loaded, in Markdown.

    Args:
        name: the folder's.
        base: of an adapter: the model that it belongs to.
    """
    needs = (
        f"It needs `pip install peft` and its base model, `{base}`; `samvlm merge` makes one checkpoint of both, which "
        "needs neither.\n\n"
        if base
        else ""
    )
    return (
        f"{needs}```python\n"
        "import samvlm  # registers the classes\n"
        "from transformers import AutoModelForImageTextToText, AutoProcessor\n\n"
        f'model = AutoModelForImageTextToText.from_pretrained("{name}")\n'
        f'processor = AutoProcessor.from_pretrained("{name}")\n'
        "```\n\n"
        f'`samvlm parse FILE --model {name}` reads a page with it. To publish it: `model.push_to_hub("USER/{name}")` '
        f'and `processor.push_to_hub("USER/{name}")`, and this file beside them.'
    )


def with_section(body: str, heading: str, text: str) -> str:
    """A card's text with the contents of a `##` section replaced, or the section added at the end."""
    section = f"## {heading}\n\n{text.strip()}\n\n"
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", body, re.DOTALL | re.MULTILINE)
    if found is None:
        return f"{body.rstrip()}\n\n{section}"
    return body[: found.start()] + section + body[found.end() :]


def merged_card(adapter: Path, base: str, name: str, said: str) -> str:
    """The card of an adapter carried on to the checkpoint that was made of it and its base.

    Args:
        adapter: the adapter's folder; without a card of its own it gets a short one.
        base: what it was merged into.
        name: the new folder's.
        said: how it was merged, a sentence or two.
    """
    front, body = read_card(adapter)
    front = {"library_name": "transformers", "pipeline_tag": "image-text-to-text", **front}
    front.setdefault("base_model", base)
    front["base_model_relation"] = "finetune"
    front["tags"] = [tag for tag in front.get("tags") or ["samvlm"] if tag not in ("lora", "adapter", "peft")]
    if not body.strip():
        body = f"# {name}\n\nThe adapter came without a card: what it was trained on, and how, is not known here.\n"
    title, _, rest = body.strip().partition("\n")
    body = f"{title}\n\n{said} What follows is the card of the adapter's training.\n{rest}\n"
    return card_text(front, with_section(body, LOADING, loading(name)))
