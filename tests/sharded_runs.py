"""Runs of two processes over gloo with DeepSpeed's ZeRO, FSDP and DDP, compared with a run of one process, broken off
and taken up again, and fed with a loss that is no number in one of them.

    python tests/sharded_runs.py --folder runs/sharded --ways zero2 zero3 fsdp --times 10

Prints a line of JSON for each way. Runs are forked from this process, which has the libraries loaded.
"""

import argparse
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ["DS_ACCELERATOR"] = "cpu"

import peft  # noqa: F401  (loaded once, for all)
import torch
from kill_runs import finish, forked
from readers import build_reader
from safetensors.torch import load_file
from short_runs import STRIPS, log_of, write_recipe
from transformers.models.llama import modeling_llama  # noqa: F401

from samvlm.data.datasets import SizeBatchSampler
from training import train
from training.objective import Objective
from training.sharding import FOLDER

LORA = {"r": 2, "new_tokens": True, "lora_dropout": 0.1}
EXACT = ("loss", "grad_norm", "learning_rate", "lm_loss", "token_accuracy", "step")
CLOSE = ("loss", "grad_norm", "lm_loss")
ASKED = ("plain", "resumed", "packed", "lora", "bad")
WAYS = ("ddp", "zero2", "zero2_offload", "zero3", "zero3_offload", "fsdp")


class Runs:
    """Runs in a folder; all read strips, tables and chats without an image, in packed rows or batches."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log.txt"
        folder.mkdir(parents=True)
        assert finish(forked(self.prepare, self.log)) == 0, self.log.read_text()

    def prepare(self) -> int:
        model, processor = build_reader({"tie_word_embeddings": False})
        for part in (model, processor):
            part.save_pretrained(self.folder / "reader")
        turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
        lines = [json.dumps({"id": f"chat{number}", "conversations": turns}) for number in range(5)]
        (self.folder / "chats.jsonl").write_text("\n".join(lines))
        for stage in (2, 3):  # shipped files, with nothing too small to be spread
            for end in ("", "_offload"):
                config = json.loads((FOLDER / f"zero{stage}{end}.json").read_text())
                config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
                (self.folder / f"zero{stage}{end}.json").write_text(json.dumps(config))
        return 0

    def words(self, way: str) -> list[str]:
        if way == "ddp":
            return []
        return ["trainer.fsdp=true"] if way == "fsdp" else [f"trainer.deepspeed={self.folder / way}.json"]

    def recipe(self, name: str, **sections) -> Path:
        sources = [STRIPS, {"synth": "table", "size": [64, 64]}]
        packing = sections.get("data", {}).get("packing", False)  # there, most batches have images
        sources.append({"records": str(self.folder / "chats.jsonl"), "weight": 0.2 if packing else 2.0})
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        data = {"sources": sources, "max_images": 3, **sections.pop("data", {})}
        trainer = {"logging_steps": 1, "warmup_steps": 2, "rates": {"connector": 1e-3}}
        trainer |= sections.pop("trainer", {})
        sections.setdefault("stage", {"name": "tower"})
        return write_recipe(folder, str(self.folder / "reader"), data=data, trainer=trainer, **sections)

    def run(
        self,
        recipe: Path,
        output: Path,
        *words: str,
        world: int = 2,
        before: Callable[[int], None] = lambda rank: None,
    ) -> list[int]:
        """Run in processes; returns their exit codes. `before(rank)` is called in each."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def work(rank: int) -> int:
            before(rank)
            return train.main([str(recipe), f"trainer.output_dir={output}", *words])

        pids = []
        for rank in range(world):
            several = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
            several |= {"LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1"}
            environment = {key: str(value) for key, value in several.items()} if world > 1 else {}
            pids.append(forked(lambda rank=rank: work(rank), self.log, environment))
        return [finish(pid, 300) for pid in pids]  # the first build of DeepSpeed's library is among them

    def trained(self, recipe: Path, output: Path, *words: str, **settings) -> Path:
        """The stage's folder of a run that ends well."""
        codes = self.run(recipe, output, *words, **settings)
        assert set(codes) == {0}, f"{codes}\n{self.log.read_text()[-6000:]}"
        (stage,) = output.glob("1-*")
        return stage

    def against_one(self, way: str, packing: bool = False) -> dict:
        """The largest differences, of the log's figures and of weights, to a run of one process with two micro-batches
        a step; and how many sizes the images of each micro-batch had in either process."""
        data = {"packing": packing, "row_tokens": 256}
        data |= {"max_pixels": 49152, "max_images": 12} if packing else {}
        name = "packed" if packing else "plain"
        one, two = self.folder / f"{name}-one", self.folder / f"{name}-{way}"
        if not one.exists():
            trainer = {"gradient_accumulation_steps": 2}
            alone = self.recipe(f"{name}-recipe-one", trainer=trainer, data=data)
            self.trained(alone, one, world=1, before=note_sizes(one))
        recipe = self.recipe(f"{name}-recipe", data=data)
        self.trained(recipe, two, *self.words(way), before=note_sizes(two))
        logs = [log_of(folder / "1-tower") for folder in (one, two)]
        figures = max(abs(a[key] - b[key]) for a, b in zip(*logs, strict=True) for key in CLOSE)
        a, b = (load_file(folder / "1-tower" / "model.safetensors") for folder in (one, two))
        assert a.keys() == b.keys()
        weights = max(float((a[key] - b[key]).abs().max()) for key in a)
        return {"figures": figures, "weights": weights, "sizes": sizes_in(two)}

    def resumed(self, way: str, recipe: Path, whole: Path) -> dict[str, bool]:
        """Whether the run in `whole`, broken off behind step 2, ends with the same bits, of weights and log."""
        (stage,) = whole.glob("1-*")
        broken = whole.with_name(whole.name + "-broken") / stage.name
        broken.mkdir(parents=True)
        shutil.copytree(stage / "checkpoint-2", broken / "checkpoint-2")
        words = [*self.words(way), "--resume", "auto"]
        self.trained(recipe, broken.parent, *words, before=note_sizes(broken.parent))
        (file,) = (path.name for path in stage.glob("*model.safetensors"))
        a, b = (load_file(folder / file) for folder in (stage, broken))
        logs = [[{key: line[key] for key in EXACT} for line in log_of(folder)] for folder in (stage, broken)]
        weights = a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        return {"weights": weights, "log": logs[0] == logs[1]}

    def resumed_lora(self, way: str) -> dict[str, bool]:
        """The same of adapters in bf16, with accumulation."""
        trainer = {"gradient_accumulation_steps": 2}
        recipe = self.recipe(
            "lora-recipe", stage={"lora": LORA}, model={"dtype": "bfloat16"}, trainer=trainer
        )
        whole = self.folder / f"lora-{way}"
        self.trained(recipe, whole, *self.words(way), before=note_sizes(whole))
        return self.resumed(way, recipe, whole)

    def with_a_bad_loss(self, way: str) -> list[dict]:
        """The log of a run in one of whose processes the loss of the third step is infinite."""

        def spoil(rank: int) -> None:
            forward, count = Objective.forward, 0

            def counted(self, **batch):
                nonlocal count
                count += 1
                loss, figures = forward(self, **batch)
                return (loss + float("inf") if count == 3 and rank else loss), figures

            Objective.forward = counted

        recipe = self.recipe("bad-recipe", trainer={"save_steps": 100})
        stage = self.trained(recipe, self.folder / f"bad-{way}", *self.words(way), before=spoil)
        assert (stage / "bad_steps.jsonl").is_file() and (stage / "bad_steps.rank1.jsonl").is_file()
        return [{key: line.get(key) for key in ("step", "lm_loss", "bad_steps")} for line in log_of(stage)]


def note_sizes(path: Path) -> Callable[[int], None]:
    """Let each process write down, for every micro-batch, how many sizes its images have; 0: there is none.
    Batches are planned from few samples, so that packed ones have images of several sizes now and then."""

    def watch(rank: int) -> None:
        plain = SizeBatchSampler.__init__
        SizeBatchSampler.__init__ = lambda *args, **settings: plain(*args, **settings | {"window": 20})
        forward, file = Objective.forward, path.with_suffix(f".{rank}").open("w")

        def noted(self, **batch):
            sizes = batch.get("image_sizes")
            print(0 if sizes is None else len(sizes.unique(dim=0)), file=file, flush=True)
            return forward(self, **batch)

        Objective.forward = noted

    return watch


def sizes_in(path: Path) -> list[list[int]]:
    """What `note_sizes` has written: for each micro-batch, the numbers of both processes."""
    both = [path.with_suffix(f".{rank}").read_text().split() for rank in (0, 1)]
    return [[int(count) for count in counts] for counts in zip(*both, strict=True)]


def look(runs: Runs, way: str, asked: list[str]) -> dict:
    """What is asked of a way to spread state."""
    plain = runs.folder / f"plain-{way}"
    answers = {
        "plain": lambda: runs.against_one(way),
        "resumed": lambda: runs.resumed(way, runs.folder / "plain-recipe" / "recipe.yaml", plain),
        "packed": lambda: runs.against_one(way, packing=True),
        "lora": lambda: runs.resumed_lora(way),
        "bad": lambda: runs.with_a_bad_loss(way),
    }
    return {"way": way} | {name: answers[name]() for name in asked}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ways", nargs="+", default=[*WAYS], help=f"{' '.join(WAYS)}, or WAY:{','.join(ASKED)}"
    )
    parser.add_argument("--times", type=int, default=0, help="runs more, for their exit codes")
    parser.add_argument("--folder", type=Path, required=True, help="to work in; must be new")
    options = parser.parse_args()
    runs = Runs(options.folder.resolve())
    for way in options.ways:
        way, _, asked = way.partition(":")
        told = look(runs, way, asked.split(",") if asked else list(ASKED))
        for number in range(options.times):
            runs.trained(runs.recipe("again"), runs.folder / f"again-{way}-{number}", *runs.words(way))
        print(json.dumps(told | {"clean_exits": options.times}), flush=True)


if __name__ == "__main__":
    main()
