"""Time stage 1 with the tower against stage 1 from cached features, the same steps on the same images, in one run.

    python scripts/bench_features.py                              # ViT-B, a tiny and a 0.5B-shaped language model
    python scripts/bench_features.py --language-models tiny --images 16 --dtype bfloat16

A step is what training does with one image: its file is read, the batch made, forward, backward, and AdamW on the
connector. Live and cached steps take turns; the figures are medians. "first pass" is a live step that also fills the
cache. Both losses are compared image by image: features are rounded to 16 bits on their way into the cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # training
from samvlm.data.samples import RecordSource
from samvlm.data.synth import CHARSET, sample
from samvlm.features import FeatureCache
from samvlm.model.assembly import assemble
from training.collator import Collator
from training.objective import Objective
from training.recipe import StageRecipe
from training.stages import set_trainable

TOWERS = {
    "b": {},
    "toy": {"embed_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 64,
            "global_attn_indexes": [1], "output_channels": 16},
}  # fmt: skip
LANGUAGE_MODELS = {
    "tiny": {"model_type": "llama", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4,
             "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 4096},
    "0.5B": {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
             "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 4096},
}  # fmt: skip


def write_pages(folder: Path, number: int, side: int) -> Path:
    """A record file of pages of `side` x `side` pixels with a drawn table on each."""
    lines = []
    for index in range(number):
        table = sample("table", 77, index, size=(min(512, side), min(256, side)))
        page = Image.new("RGB", (side, side), "white")
        page.paste(table.image, (side // 8 if side > 512 else 0, side // 8 if side > 512 else 0))
        page.save(folder / f"{index}.png")
        target = {"otsl": table.answer}
        lines.append(
            json.dumps({"id": str(index), "image": f"{index}.png", "task": "table", "target": target})
        )
    (folder / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "records.jsonl"


class Steps:
    """Stage 1 on single images."""

    def __init__(self, options: argparse.Namespace, language_model: str, folder: Path, records: Path):
        model, processor = assemble(
            TOWERS[options.tower] | {"image_size": options.side},
            LANGUAGE_MODELS[language_model],
            characters=CHARSET,
            image={"size": {"longest_edge": options.side}},
        )
        recipe = StageRecipe(name="align")
        model.to(getattr(torch, options.dtype))
        self.objective = Objective(set_trainable(model, recipe), recipe).train()
        self.cache = FeatureCache(folder, self.objective.core, processor.image_processor)
        self.source, self.collator = RecordSource(str(records)), Collator(processor)
        trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.0)  # the weights stay, so that losses compare

    def step(self, index: int, cached: bool) -> tuple[float, float]:
        """Seconds and loss of a step."""
        start = time.perf_counter()
        self.source.lookup = self.cache.lookup if cached else None
        self.objective.features = self.cache if cached else None
        batch = self.collator([self.source.load(1, index)])
        if batch["refused"]:
            raise ValueError(f"page {index} is refused: {batch['refused'][0].reason}")
        batch = {k: v for k, v in batch.items() if k not in ("sample_ids", "drawn", "refused")}
        loss, _ = self.objective(**batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - start, loss.item()


def measure(options: argparse.Namespace, language_model: str, folder: Path) -> dict:
    """Live against cached with one language model."""
    steps = Steps(options, language_model, folder / f"cache-{language_model}", folder / "records.jsonl")
    steps.step(0, cached=False)  # warms up
    first = [steps.step(index, cached=True)[0] for index in range(options.images)]
    steps.cache.flush()
    live, cached, apart = [], [], []
    for index in range(options.images):
        seconds, loss = steps.step(index, cached=False)
        again, same = steps.step(index, cached=True)
        live.append(seconds)
        cached.append(again)
        apart.append(abs(same - loss) / loss)
        print(
            f"\r{language_model}: image {index + 1} of {options.images}", end="", file=sys.stderr, flush=True
        )
    print("\r", end="", file=sys.stderr)
    size = sum(path.stat().st_size for path in steps.cache.store.folder.rglob("*") if path.is_file())
    result = {
        name: statistics.median(v) for name, v in (("first", first), ("live", live), ("cached", cached))
    }
    return result | {
        "language_model": language_model,
        "loss_apart": max(apart),
        "bytes": size / options.images,
        "on": bool(steps.cache.active),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", choices=TOWERS, default="b")
    parser.add_argument("--language-models", nargs="+", choices=LANGUAGE_MODELS, default=["tiny", "0.5B"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--side", type=int, default=1024, help="pixels a side of the pages")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="all figures as JSON")
    options = parser.parse_args(arguments)
    if options.images < 1 or options.side < 64 or options.side % 64:
        print("bench_features: --images at least 1, --side a multiple of 64", file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pages(folder, options.images, options.side)
        print(
            f"stage 1, ViT-{options.tower.upper()}, {options.side}x{options.side}, {options.dtype}, samples/s"
        )
        print(
            f"{'language model':<16}{'live':>8}{'first pass':>12}{'cached':>8}{'ratio':>7}{'loss apart':>12}{'KB an image':>13}"
        )
        for language_model in options.language_models:
            result = measure(options, language_model, folder)
            results.append(result)
            print(
                f"{language_model:<16}{1 / result['live']:>8.3g}{1 / result['first']:>12.3g}"
                f"{1 / result['cached']:>8.3g}{result['live'] / result['cached']:>7.1f}"
                f"{result['loss_apart']:>12.1e}{result['bytes'] / 1e3:>13.0f}"
                + ("" if result["on"] else "  (the cache turned itself off)")
            )
    if options.output:
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
