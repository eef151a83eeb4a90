"""`samvlm features build`: fill the feature cache before training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from ..features import FeatureCache
from ..features.build import Built, build_features, images_of
from ..generation.parser import find_checkpoint
from .console import BAD_INPUT, OK, own_words, say

SOME_FAILED = 1
MOST_TOLD = 20  # images that could not be read, told one by one


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    try:
        records, settings = read_files([Path(file) for file in options.files])
        folder = options.output or settings.get("feature_cache")
        if folder is None:
            raise ValueError("name the folder of the cache: -o DIR, or data.feature_cache in a recipe.")
        built = Built()
        images = images_of(records, built, *options.part)
        cache, image_processor = open_cache(options, settings, folder)
    except (ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}")
        return BAD_INPUT
    with (
        tqdm(total=len(images), unit="image", file=sys.stderr, disable=not sys.stderr.isatty()) as bar,
        own_words(),
    ):
        try:
            build_features(cache, image_processor, images, built, options.max_pixels, bar.update)
        finally:
            cache.flush()
    for where, reason in built.failed[:MOST_TOLD]:
        say(f"{where}: {reason}")
    if len(built.failed) > MOST_TOLD:
        say(f"… and {len(built.failed) - MOST_TOLD} more")
    told = (
        f"{cache.store.folder}: {built.made} made, {built.present} there before, {len(built.failed)} failed"
    )
    say(told + (f", {built.left_out} left out: the cache is full" if built.left_out else ""))
    return SOME_FAILED if built.failed or built.left_out else OK


def read_files(files: list[Path]) -> tuple[list[Path], dict[str, Any]]:
    """The record files that are named, by recipes too, and what the recipes say of the cache: `feature_cache`,
    `feature_cache_gb`, `dtype`. Raises ValueError, OSError."""
    records: list[Path] = []
    settings: dict[str, Any] = {}
    for file in files:
        if file.suffix not in (".yaml", ".yml"):
            records.append(file)
            continue
        for document in _documents(file):
            data = document.get("data") or {}
            named = [
                Path(s["records"])
                for s in data.get("sources") or []
                if isinstance(s, dict) and "records" in s
            ]
            found = {
                key: data[key] for key in ("feature_cache", "feature_cache_gb") if data.get(key) is not None
            }
            if named:
                found["dtype"] = (document.get("model") or {}).get("dtype", "float32")
            for key, value in found.items():
                if settings.setdefault(key, value) != value:
                    option = {"feature_cache": "-o", "feature_cache_gb": "--max-gb", "dtype": "--dtype"}[key]
                    raise ValueError(
                        f"{file}: its stages differ in {key}, {settings[key]} and {value}: name their records, and "
                        f"say {option}."
                    )
            records += [path for path in named if path not in records]
    if not records:
        raise ValueError("no records are named: drawn samples are without end, and not cached.")
    return records, settings


def _documents(file: Path) -> list[dict]:
    """The stages of a recipe. Raises ValueError, OSError."""
    import yaml

    try:
        documents = [
            document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document
        ]
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from None
    if not all(isinstance(document, dict) for document in documents):
        raise ValueError(f"{file} is no recipe: a mapping of model, data, stage and trainer is needed.")
    return documents


def open_cache(options: argparse.Namespace, settings: dict, folder: str) -> tuple[FeatureCache, Any]:
    """The cache, with the model loaded as training loads it, and its image processor. Raises ValueError, OSError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    source = find_checkpoint(options.model)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError:
        raise ValueError(f"--device {device}: there is no such device.") from None
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    model.to(getattr(torch, options.dtype or settings.get("dtype", "float32"))).to(device).eval()
    model.requires_grad_(False)
    processor = AutoProcessor.from_pretrained(source)
    most = options.max_gb or float(settings.get("feature_cache_gb", 50.0))
    return FeatureCache(folder, model, processor.image_processor, int(most * 1e9)), processor.image_processor
