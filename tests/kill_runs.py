"""Kills training runs at random places, takes them up again until they are done, and compares them with an unbroken run.

    python tests/kill_runs.py --kills 50 --seed 7

A run is killed at its n-th event: a micro-batch, or anything that it does to a file, so that many kills fall into
saves. Then, as when the power fails, files that were written and not yet brought to the disk lose their ends. One kill
in four is a SIGTERM instead, which a run answers with a checkpoint. Whatever is left, every folder `checkpoint-N` must be complete, and the run must end with the bits of the unbroken one.
Runs are forked from this process, which has the libraries loaded and has not computed anything.
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import peft  # noqa: F401  (loaded once, for all)
import torch
from readers import build_reader
from safetensors.torch import load_file
from short_runs import STRIPS, write_recipe
from transformers.models.llama import modeling_llama  # noqa: F401

from samvlm.data.synth import sample
from training import train
from training.checkpoints import checkpoints_in, problem
from training.history import history_of, score_lines
from training.objective import Objective

TABLES = {"synth": "table", "size": [192, 64], "weight": 0.5}
TRAINER = {
    "max_steps": 6,
    "save_steps": 2,
    "logging_steps": 3,  # two of three checkpoints fall between two lines of the log
    "gradient_accumulation_steps": 2,
    "warmup_steps": 2,
}
SCORING = {"data": "synth:3", "options": {"size": [128, 64]}, "every": 2, "max_new_tokens": 4}
LORA = {"r": 2, "new_tokens": True, "lora_dropout": 0.1}
# Name: processes, and a recipe's sections. RECORDS stands for a file of drawn tables.
CASES = {
    "whole": (
        1,
        {
            "model": {"dtype": "bfloat16"},
            "data": {"sources": [STRIPS, TABLES, {"records": "RECORDS", "weight": 0.5}], "input_noise": 0.2},
            "trainer": {**TRAINER, "optimizer": "muon"},
            "scoring": {**SCORING, "report": True},
        },
    ),
    "tower": (
        1,
        {
            "data": {"sources": [STRIPS, TABLES]},
            "stage": {"name": "tower", "dense_weight": 0.5, "guide_weight": 0.5},
            "trainer": {**TRAINER, "optimizer": "muon", "save_total_limit": 1},
        },
    ),
    "lora": (
        1,
        {
            "data": {"sources": [STRIPS, {"records": "RECORDS"}], "workers": 2},
            "stage": {"lora": LORA},
            "trainer": TRAINER,
        },
    ),
    "two": (
        2,
        {
            "data": {"sources": [STRIPS, TABLES]},
            "stage": {"lora": LORA},
            "trainer": {**TRAINER, "save_steps": 1},
            "scoring": {**SCORING, "patience": 1},
        },
    ),
}
COMPARED = (
    "loss",
    "grad_norm",
    "learning_rate",
    "lm_loss",
    "token_accuracy",
    "dense_loss",
    "guide_loss",
    "step",
)


class Killer:
    """Counts a process' events; at number `at` the power fails (SIGKILL), or a signal comes."""

    def __init__(self, folder: Path, at: int | None, seed: int, how: signal.Signals):
        self.folder, self.at, self.random, self.how = str(folder), at, random.Random(seed), how
        self.events, self.process, self.started = 0, os.getpid(), time.time()
        self.safe: set[int] = set()  # inodes of files that are on the disk
        sys.addaudithook(self.audit)
        self.watch(Objective, "forward")
        self.watch(torch, "save")
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            self.event()
            fsync(descriptor)
            self.safe.add(os.fstat(descriptor).st_ino)
            self.event()

        os.fsync = counted

    def watch(self, owner: object, name: str) -> None:
        plain = getattr(owner, name)

        def counted(*args, **kwargs):
            self.event()
            return plain(*args, **kwargs)

        setattr(owner, name, counted)

    def audit(self, event: str, args: tuple) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and self.folder in str(
            args[0]
        ):
            self.event()

    def event(self) -> None:
        if os.getpid() != self.process:  # a data worker
            return
        self.events += 1
        if self.events == self.at:
            self.at = None
            if (
                self.how == signal.SIGKILL and os.environ.get("RANK", "0") == "0"
            ):  # which brings files to the disk
                self.tear()
            os.kill(self.process, self.how)

    def tear(self) -> None:
        for path in sorted(Path(self.folder).rglob("*")):
            status = path.stat()
            written = path.is_file() and status.st_mtime >= self.started - 0.01
            if written and status.st_ino not in self.safe and self.random.random() < 0.7:
                os.truncate(path, self.random.randint(0, status.st_size))


def forked(work: Callable[[], int], log: Path, environment: dict[str, str] | None = None) -> int:
    """Start `work` in a process of its own, its output in `log`. Returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.environ.update(environment or {})
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        torch.set_num_threads(1)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int, patience: float | None = None) -> int:
    """Wait for a process, and kill it after `patience` seconds; its exit code, or the signal's number below 0."""
    end = time.monotonic() + (patience if patience is not None else 1e9)
    while patience is not None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Case:
    """One kind of run, its unbroken run, and the kills of others.

    Args:
        folder: to work in. name: in CASES.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name, self.log = folder / name, name, folder / name / "log.txt"
        self.folder.mkdir(parents=True)
        self.processes, self.sections = CASES[name]
        assert finish(forked(self.prepare, self.log)) == 0, self.log.read_text()
        self.recipe = self.folder / "recipe.yaml"
        self.whole, counts = self.folder / "unbroken", self.folder / "events"
        codes = self.run(self.whole, counts=counts)
        assert codes == [0] * self.processes, self.log.read_text()
        self.events = int(counts.read_text())

    def prepare(self) -> int:
        model, processor = build_reader({"tie_word_embeddings": False})
        for part in (model, processor):
            part.save_pretrained(self.folder / "reader")
        lines = []
        for index in range(12):
            drawn = sample("table", 77, index, size=(128, 64))
            drawn.image.save(self.folder / f"{index}.png")
            record = {"id": f"t{index}", "image": f"{index}.png", "task": "table"}
            lines.append(json.dumps({**record, "target": {"html": drawn.table.to_html()}}))
        records = self.folder / "records.jsonl"
        records.write_text("\n".join(lines))
        sections = json.loads(json.dumps(self.sections).replace("RECORDS", str(records)))
        write_recipe(self.folder, str(self.folder / "reader"), **sections)
        return 0

    def run(
        self,
        output: Path,
        at: int | None = None,
        how: signal.Signals = signal.SIGKILL,
        seed: int = 0,
        counts: Path | None = None,
    ) -> list[int]:
        """Run, or go on, in `output`; one of the processes gets a signal at its event number `at`. Returns exit codes."""
        victim = seed % self.processes
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def work(rank: int) -> int:
            killer = Killer(output, at if rank == victim else None, seed, how)
            code = train.main([str(self.recipe), f"trainer.output_dir={output}", "--resume", "auto"])
            if counts is not None and rank == victim:
                counts.write_text(str(killer.events))
            return code

        pids = []
        for rank in range(self.processes):
            several = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": self.processes, "MASTER_PORT": port}
            several |= {"LOCAL_WORLD_SIZE": self.processes, "MASTER_ADDR": "127.0.0.1"}
            environment = {key: str(value) for key, value in several.items()} if self.processes > 1 else {}
            pids.append(forked(lambda rank=rank: work(rank), self.log, environment))
        codes = {victim: finish(pids[victim])}
        patience = {0: None, 143: 60}.get(codes[victim], 0)  # a launcher kills the others when one has died
        for rank in set(range(self.processes)) - {victim}:
            codes[rank] = finish(pids[rank], patience)
        return [codes[rank] for rank in range(self.processes)]

    def kill_often(self, kills: int, seed: int) -> tuple[int, int]:
        """Runs until so many kills have happened; returns the kills and the runs. Raises AssertionError."""
        choose, done, runs = random.Random(f"{seed} {self.name}"), 0, 0
        while done < kills:
            output, runs = self.folder / f"broken-{runs}", runs + 1
            while True:
                at = choose.randint(1, max(2, self.events // 2)) if done < kills else None
                how = signal.SIGTERM if choose.random() < 0.25 else signal.SIGKILL
                codes = self.run(output, at, how, seed=choose.getrandbits(30))
                self.look_at(output)
                if codes == [0] * self.processes:
                    break
                ended = -signal.SIGKILL if how == signal.SIGKILL else 128 + signal.SIGTERM
                assert ended in codes, f"{codes}\n{self.log.read_text()[-5000:]}"
                done += 1
            self.compare(output)
        return done, runs

    def look_at(self, output: Path) -> None:
        for stage in output.glob("*-*"):
            for checkpoint in checkpoints_in(stage):
                assert problem(checkpoint) is None, f"{checkpoint}: {problem(checkpoint)}"

    def compare(self, output: Path) -> None:
        """The same bits, the same lines of the log, the same checkpoints, and nothing left over."""
        (first,), (second,) = (list(path.glob("1-*")) for path in (self.whole, output))
        kept = [[path.name for path in checkpoints_in(stage)] for stage in (first, second)]
        # A SIGTERM adds one between, which then may stand for the best one among the last.
        assert len(kept[1]) - len(kept[0]) in (0, 1) and kept[0][-1] == kept[1][-1], kept
        names = []
        for stage, earlier in zip((first, second), kept, strict=True):
            paths = {path.relative_to(stage) for path in stage.rglob("*")}
            names.append({path for path in paths if path.parts[0] not in earlier[:-1]})
        assert names[0] == names[1], names[0] ^ names[1]
        for name in sorted(names[0]):
            if name.suffix == ".safetensors":
                a, b = load_file(first / name), load_file(second / name)
                assert all(torch.equal(a[key], b[key]) for key in a.keys() | b.keys()), name
        logs = [json.loads((stage / "log.json").read_text()) for stage in (first, second)]
        lines = [[{key: line.get(key) for key in COMPARED} for line in log] for log in logs]
        assert lines[0] == lines[1], lines
        # Scores that a SIGTERM cut off behind the last step are made when the run is taken up, for its result: the
        # checkpoint had been written.
        scores = [score_lines(history_of(checkpoints_in(stage)[-1])) for stage in (first, second)]
        scores = [[{**line, "eval_seconds": None} for line in part] for part in scores]
        assert scores[1] in (scores[0], scores[0][:-1]), scores
        told = [(stage / "README.md").read_text().partition("## Scores")[2] for stage in (first, second)]
        told = [re.sub(r"eval \S+", "", text.partition("\n## ")[0]) for text in told]
        assert told[0] == told[1] != "", told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="of each case")
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--folder", type=Path, required=True, help="to work in; must be new")
    options = parser.parse_args()
    for name in options.cases:
        case = Case(options.folder.resolve(), name)
        kills, runs = case.kill_often(options.kills, options.seed)
        print(
            f"{name}: {kills} kills in {runs} runs of {case.events} events each; all ended alike", flush=True
        )


if __name__ == "__main__":
    main()
