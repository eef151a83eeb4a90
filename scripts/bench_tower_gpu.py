"""Time SAM's image encoder on a GPU: every attention path of samvlm's tower against transformers' and Meta's code.

    python scripts/bench_tower.py --device cuda                    # ViT-B and ViT-H, batch 1 and 8, forward and training
    python scripts/bench_tower.py --device cuda --models b --batches 8 --modes forward
    python scripts/bench_tower.py --device cuda --only auto "sdpa, compiled"     # methods whose names end so
    python scripts/bench_tower.py --device cuda --profile          # where the GPU's time goes

All methods have the same weights and take turns, round after round; times are of CUDA events around a call, medians,
"+-" half the distance of the quartiles. "x compiled" is how many times as fast as transformers' sdpa under
torch.compile. "limit" is the time by the limit: that of the products of the real tokens (three times as many in
training) at the rate of a large product measured in the same rounds. "MiB" is the most that torch.cuda counts during the
call over what it held before. "error" is the relative L2 distance of the first image's map to the definition in fp32
(tests/model hold the gradients to theirs). The tables' heads say which paths `auto` takes; the last compare with the goals.
Where a method does not fit into memory or cannot run, its line says so and the others go on.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts.tower_peers
from samvlm import SamVisionTower, SamVisionTowerConfig
from samvlm.model.attention import resolve_path
from scripts.bench_tower import MODELS, size_of, spread
from scripts.tower_peers import gflops, hf_twin, meta_twin, metas_encoder, random_weights

PATHS = ("auto", "triton", "flex", "folded")
COMPILED = ("samvlm auto", "samvlm flex", "transformers sdpa")
BASE = "transformers sdpa, compiled"
DATASHEET = 790e3  # GFLOP/s of bf16 products that an H200 has been seen to reach
GOALS = {  # forward in bf16 of 1024x1024: (model, batch): images/s
    ("b", 8): 420,
    ("h", 8): 80,
}
RATIO_GOAL = 1.6  # of ViT-B at batch 8 to transformers' sdpa compiled


class Clock:
    """Milliseconds of calls: by CUDA events, or on a CPU (to try the script out) by the clock."""

    def __init__(self, device: str):
        self.cuda = device.startswith("cuda")

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def __call__(self, call: Callable[[], object]) -> float:
        self.wait()
        if not self.cuda:
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def methods(
    tower: SamVisionTower, options: argparse.Namespace, grid: tuple[int, int]
) -> dict[str, torch.nn.Module]:
    """What is timed, by name."""
    found: dict[str, torch.nn.Module] = {f"samvlm {path}": with_path(tower, path) for path in PATHS}
    square = grid == (tower.config.image_size // tower.config.patch_size,) * 2
    if square:  # transformers takes squares of its own size only
        for attention in ("eager", "sdpa"):
            found[f"transformers {attention}"] = hf_twin(tower, attention)
    if find_spec("segment_anything") is None:
        print("segment_anything is not installed: Meta's code is left out", file=sys.stderr)
    else:
        with metas_encoder() as encoder:
            found["Meta"] = meta_twin(encoder, tower, None if square else grid)
    if not options.no_compile:
        modes = (
            {"compiled": "default", "graphs": "reduce-overhead"}
            if options.graphs
            else {"compiled": "default"}
        )
        for ending, mode in modes.items():
            for name in [name for name in COMPILED if name in found]:
                found[f"{name}, {ending}"] = torch.compile(found[name], mode=mode)
    chosen = {
        name: model.to(options.device, tower.dtype).eval()
        for name, model in found.items()
        if not options.only or any(name.endswith(ending) for ending in options.only)
    }
    if not chosen:
        raise ValueError(f"--only {' '.join(options.only)}: the methods are {', '.join(found)}")
    return chosen


def with_path(tower: SamVisionTower, path: str, eager: bool = False) -> SamVisionTower:
    """The tower, its weights shared, with one attention path; `eager`: the definition."""
    config = copy.deepcopy(tower.config)
    config.attention_path = path
    config._attn_implementation = "eager" if eager else "sdpa"
    with torch.device("meta"):
        twin = SamVisionTower(config)
    twin.load_state_dict(tower.state_dict(), assign=True)
    return twin.eval()


def run(model: torch.nn.Module, pixels: torch.Tensor, train: bool) -> torch.Tensor:
    """One call: the map, or in training all gradients too (no optimiser)."""
    with torch.inference_mode(not train):
        output = model(pixels)
        features = output if isinstance(output, torch.Tensor) else output.last_hidden_state
    if train:
        features.float().square().mean().backward()
        model.zero_grad(set_to_none=True)
    return features


def gemm_rate(dtype: torch.dtype, device: str, clock: Clock) -> float:
    """GFLOP/s of one large matrix product of random numbers."""
    side = 8192 if clock.cuda else 512
    x, weight = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = [clock(lambda: x @ weight) for _ in range(5)][1:]
    return 2e-6 * side**3 / min(times)


def measure(options: argparse.Namespace, size_name: str, batch: int, mode: str) -> dict:
    """All methods on one batch of one model."""
    train, dtype, clock = mode == "training", getattr(torch, options.dtype), Clock(options.device)
    config = SamVisionTowerConfig(**MODELS[size_name])
    height, width = options.size or (config.image_size,) * 2
    grid = (height // config.patch_size, width // config.patch_size)
    tower = random_weights(SamVisionTower(config), options.seed)
    pixels = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(options.seed))
    right = definition(tower, pixels[:1].to(options.device), options.device)
    tower.to(options.device, dtype)
    pixels = pixels.to(options.device, dtype)
    rows: dict[str, dict] = {}
    found = methods(tower, options, grid)
    for name, model in list(found.items()):
        start = time.perf_counter()
        row = rows[name] = {"ms": [], "mib": None, "error": None, "failed": None}
        try:
            for _ in range(3):  # compiles, tries the paths, warms up
                first = run(model, pixels, train)[:1].detach().float()
            row["error"] = ((first - right).norm() / right.norm()).item()
            row["mib"] = peak(lambda model=model: run(model, pixels, train), clock)
        except Exception as problem:  # out of memory, an operator that is missing: the others go on
            row["failed"] = f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0]}"[:90]
            del found[name]
        gc.collect()
        if clock.cuda:
            torch.cuda.empty_cache()
        print(f"{name}: ready after {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    rates = []
    for _ in range(options.rounds):
        rates.append(gemm_rate(dtype, options.device, clock))
        for name, model in found.items():
            rows[name]["ms"].append(clock(lambda model=model: run(model, pixels, train)))
    rate = statistics.median(rates)
    work = gflops(config, height, width) * batch * (3 if train else 1)
    return {
        "model": size_name, "batch": batch, "mode": mode, "dtype": options.dtype, "size": (height, width),
        "gemm": rate, "floor": 1e3 * work / rate, "datasheet": 1e3 * work / DATASHEET, "rows": rows,
        "auto": auto_takes(tower, grid, train, options.device),
    }  # fmt: skip


def definition(tower: SamVisionTower, pixels: torch.Tensor, device: str) -> torch.Tensor:
    """The map in fp32 with every matrix written down."""
    exact = with_path(tower, "plain", eager=True).to(device)
    with torch.inference_mode():
        return exact(pixels).last_hidden_state


def peak(call: Callable[[], object], clock: Clock) -> float | None:
    """MiB that a call takes at most over what is held before it."""
    if not clock.cuda:
        return None
    clock.wait()
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    clock.wait()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def auto_takes(tower: SamVisionTower, grid: tuple[int, int], train: bool, device: str) -> dict[str, str]:
    """The path of windows and of the whole grid."""
    start = torch.zeros(1, dtype=tower.dtype, device=device, requires_grad=train)
    head_dim = tower.layers[0].attn.head_dim
    sizes = {"windows": tower.config.window_size**2, "whole grid": grid[0] * grid[1]}
    with torch.set_grad_enabled(train):
        return {name: resolve_path("auto", tokens, head_dim, (start,)) for name, tokens in sizes.items()}


def show(result: dict) -> None:
    """One table."""
    height, width = result["size"]
    print(
        f"\nViT-{result['model'].upper()}, {height}x{width}, batch {result['batch']}, {result['dtype']}, "
        f"{result['mode']}: the products alone take {result['floor']:.4g} ms at the measured "
        f"{result['gemm'] / 1e3:.0f} TFLOP/s, {result['datasheet']:.4g} ms at {DATASHEET / 1e3:.0f}; auto takes "
        + ", ".join(f"{path} ({where})" for where, path in result["auto"].items())
    )
    print(f"{'':<32}{'ms':>9}{'+-':>8}{'images/s':>10}{'x compiled':>11}{'limit':>7}{'MiB':>8}{'error':>10}")
    medians = {name: statistics.median(row["ms"]) for name, row in result["rows"].items() if row["ms"]}
    base = medians.get(BASE)
    for name, row in result["rows"].items():
        if row["failed"]:
            print(f"{name:<32}  cannot: {row['failed']}")
            continue
        print(
            f"{name:<32}{medians[name]:>9.4g}{spread(row['ms']):>8.3g}{1e3 * result['batch'] / medians[name]:>10.4g}"
            f"{f'{base / medians[name]:.2f}' if base else '-':>11}{medians[name] / result['floor']:>7.2f}"
            f"{'-' if row['mib'] is None else format(row['mib'], '.0f'):>8}{row['error']:>10.1e}"
        )


def goals(results: list[dict]) -> list[str]:
    """Measured against wanted, a line each, for what was measured of it."""
    lines = []
    for result in results:
        key = (result["model"], result["batch"])
        ours = {
            name: statistics.median(row["ms"])
            for name, row in result["rows"].items()
            if row["ms"] and name.startswith("samvlm")
        }
        if (
            key not in GOALS
            or result["mode"] != "forward"
            or not ours
            or tuple(result["size"]) != (1024, 1024)
        ):
            continue
        best = min(ours, key=ours.get)
        speed = 1e3 * result["batch"] / ours[best]
        lines.append(line(f"ViT-{key[0].upper()} at batch {key[1]}, images/s", GOALS[key], speed, best))
        base = result["rows"].get(BASE, {}).get("ms")
        if base and key == ("b", 8):
            ratio = statistics.median(base) / ours[best]
            lines.append(line("ViT-B at batch 8, times transformers sdpa compiled", RATIO_GOAL, ratio, best))
    return lines


def line(what: str, wanted: float, found: float, method: str) -> str:
    verdict = "met" if found >= wanted else "not met"
    return f"goal: {what}: >= {wanted:g}; found {found:.4g} ({method}): {verdict}"


def profile(options: argparse.Namespace, model: str, batch: int, mode: str) -> None:
    """Where one call of `samvlm auto` spends the GPU's time."""
    train = mode == "training"
    tower = random_weights(SamVisionTower(SamVisionTowerConfig(**MODELS[model])), options.seed)
    tower.to(options.device, getattr(torch, options.dtype))
    size = options.size or (tower.config.image_size,) * 2
    pixels = torch.randn(batch, 3, *size, device=options.device).to(tower.dtype)
    run(tower, pixels, train)
    with torch.profiler.profile() as watch:
        run(tower, pixels, train)
        Clock(options.device).wait()
    key = "self_device_time_total" if options.device.startswith("cuda") else "self_cpu_time_total"
    print(f"\nViT-{model.upper()}, batch {batch}, {mode}")
    print(watch.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=60))


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench_tower.py --device cuda",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …; cpu tries the script out")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["b", "h"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument(
        "--modes", nargs="+", choices=("forward", "training"), default=["forward", "training"]
    )
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--size", type=size_of, metavar="HxW", help="default: the model's square")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--graphs", action="store_true", help="also with CUDA graphs (reduce-overhead)")
    parser.add_argument("--only", nargs="+", metavar="ENDING", help="the methods whose names end so")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="all figures as JSON")
    options = parser.parse_args(arguments)
    results = []
    try:
        if options.rounds < 1 or min(options.batches) < 1:
            raise ValueError("--rounds and --batches: at least 1")
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {options.device}: PyTorch {torch.__version__} sees no GPU here")
        where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
        triton = version("triton") if find_spec("triton") else "none"
        print(f"{where}, torch {torch.__version__}, triton {triton}, transformers {version('transformers')}")
        for model in options.models:
            for mode in options.modes:
                for batch in options.batches:
                    if options.profile:
                        profile(options, model, batch, mode)
                        continue
                    torch.compiler.reset()
                    results.append(measure(options, model, batch, mode))
                    show(results[-1])
                    if options.output:  # after each table: a run that is cut off leaves what it has
                        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    except ValueError as error:
        print(f"bench_tower: {error}", file=sys.stderr)
        return 2
    print("\n" + "\n".join(goals(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
