"""Time SAM's image encoder: samvlm's tower against transformers' and Meta's, the same weights, in one run.

    python scripts/bench_tower.py                               # ViT-B, 1024x1024, fp32 and bf16
    python scripts/bench_tower.py --sizes 1024x1024 1024x320    # by aspect
    python scripts/bench_tower.py --modes train frozen          # a training step
    python scripts/bench_tower.py --device cuda                 # on a GPU: see scripts/bench_tower_gpu.py
    python scripts/bench_tower.py --profile                     # where the time goes

The methods take turns, round after round; the figures are medians, "+-" half the distance of the quartiles. "x sdpa" is
how many times as fast as transformers with sdpa. "limit" is the time by the limit: that of the products of the real
tokens alone at the speed of this machine's oneDNN, measured in the same rounds. "MiB" is the peak during the forward over what was resident before it, by the operating system's count. "error" is the relative
L2 distance to transformers' eager fp32 (of inference; what training computes is compared in tests/model). A step of "train"
is forward and backward with all weights trainable; of "frozen" the same with a trainable 1x1 convolution behind a tower
without trainable weights. Methods whose package is not installed are left out, and that is said.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import re
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
from samvlm.model import cpu_path, native_attention, trained_attention
from scripts.tower_peers import gflops, hf_twin, meta_twin, metas_encoder, random_weights

MODELS = {
    "b": {},
    "l": {"embed_dim": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_dim": 4096,
          "global_attn_indexes": [5, 11, 17, 23]},
    "h": {"embed_dim": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120,
          "global_attn_indexes": [7, 15, 23, 31]},
    "tiny": {"embed_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 128,
             "global_attn_indexes": [1], "image_size": 256, "output_channels": 32},
}  # fmt: skip
GEMM = (4096, 768, 3072)
PRODUCTS = {"forward": 1, "frozen": 1, "train": 3}  # modes, and their products over those of a forward
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Method = Callable[[torch.Tensor], torch.Tensor]


def methods(
    tower: SamVisionTower, options: argparse.Namespace, grid: tuple[int, int]
) -> tuple[dict[str, Method], list[torch.nn.Module]]:
    """What is timed, by name, and the models behind."""
    models = [tower]

    def ours(pixels: torch.Tensor) -> torch.Tensor:
        return tower(pixels).last_hidden_state

    found: dict[str, Method] = {"samvlm": ours}
    if native_attention.library() is not None:
        works = cpu_path.kernel_works

        def without_kernel(pixels: torch.Tensor) -> torch.Tensor:
            cpu_path.kernel_works = trained_attention.works = lambda dtype: False
            try:
                return ours(pixels)
            finally:
                cpu_path.kernel_works = trained_attention.works = works

        found["samvlm, PyTorch alone"] = without_kernel
    square = grid == (tower.config.image_size // tower.config.patch_size,) * 2
    for attention in ("sdpa", "eager"):
        if not square:
            break  # transformers takes squares of its own size only
        model = hf_twin(tower, attention).to(tower.dtype)
        models.append(model)
        found[f"transformers {attention}"] = lambda pixels, model=model: model(pixels).last_hidden_state
        if options.compile:
            compiled = torch.compile(model)
            found[f"transformers {attention}, compiled"] = lambda pixels, model=compiled: (
                model(pixels).last_hidden_state
            )
    if find_spec("segment_anything") is None:
        print("segment_anything is not installed: Meta's code is left out", file=sys.stderr)
    else:
        with metas_encoder() as encoder:
            found["Meta"] = meta_twin(encoder, tower, None if square else grid).to(tower.dtype)
            models.append(found["Meta"])
    if options.compile:
        compiled_tower = torch.compile(tower)
        found["samvlm, compiled"] = lambda pixels: compiled_tower(pixels).last_hidden_state
    unknown = set(options.only or found) - set(found)
    if unknown:
        raise ValueError(f"--only {', '.join(sorted(unknown))}: the methods are {', '.join(found)}")
    return {name: found[name] for name in found if not options.only or name in options.only}, models


def resident(field: str) -> float:
    """MiB of this process by the kernel's count: VmRSS now, VmHWM at most since the last reset."""
    return int(re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())[1]) / 1024


def once(method: Method, pixels: torch.Tensor, mode: str) -> tuple[float, float | None]:
    """Seconds of one call, and MiB at its peak over those before it (None where nobody counts)."""
    before = None
    if RESET.exists():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed is not resident any more
        RESET.write_text("5")
        before = resident("VmRSS")
    start = time.perf_counter()
    if mode == "train":
        method(pixels).square().mean().backward()
    elif mode == "frozen":
        features = method(pixels)
        weight = torch.eye(features.shape[1], dtype=features.dtype)[..., None, None].requires_grad_()
        torch.conv2d(features, weight).square().mean().backward()
    else:
        with torch.inference_mode():
            method(pixels)
    seconds = time.perf_counter() - start
    return seconds, None if before is None else resident("VmHWM") - before


def gemm_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of one large matrix product."""
    rows, inner, columns = GEMM
    x, weight = (torch.randn(*shape).to(dtype) for shape in ((rows, inner), (columns, inner)))
    times = []
    for _ in range(4):  # the first warms up
        start = time.perf_counter()
        torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        times.append(time.perf_counter() - start)
    return 2e-9 * rows * inner * columns / min(times[1:])


def measure(options: argparse.Namespace, dtype: torch.dtype, size: tuple[int, int]) -> dict:
    """All methods on images of one size (height, width) in one dtype."""
    config = SamVisionTowerConfig(**MODELS[options.model])
    tower = random_weights(SamVisionTower(config), options.seed)
    pixels = torch.randn(options.batch, 3, *size, generator=torch.Generator().manual_seed(options.seed))
    grid = tuple(side // config.patch_size for side in size)
    right = exact(tower, pixels, grid) if "forward" in options.modes else None
    tower.to(dtype)
    pixels = pixels.to(dtype)
    found, models = methods(tower, options, grid)
    rates, rows = [], []
    for mode in options.modes:
        for model in models:
            model.requires_grad_(mode == "train")
        of_mode = {name: {"mode": mode, "method": name, "seconds": [], "mib": []} for name in found}
        rows += of_mode.values()
        for name, method in found.items():
            if mode == "forward":
                with torch.inference_mode():
                    result = method(pixels).float()
                of_mode[name]["error"] = ((result - right).norm() / right.norm()).item()
            once(method, pixels, mode)  # compiles, packs, warms up, makes the gradients' memory
        for round_number in range(options.rounds):
            rates.append(gemm_rate(dtype))
            for name, method in found.items():
                seconds, mib = once(method, pixels, mode)
                of_mode[name]["seconds"].append(seconds)
                of_mode[name]["mib"].append(mib)
            print(
                f"\r{mode}: round {round_number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True
            )
        print("\r", end="", file=sys.stderr)
    rate = statistics.median(rates)
    floor = gflops(config, *size) * options.batch / rate
    return {"dtype": str(dtype)[6:], "size": size, "gemm": rate, "floor": floor, "rows": rows}


def exact(tower: SamVisionTower, pixels: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The definition in fp32: every matrix written down."""
    kept = tower.config._attn_implementation
    tower.config._attn_implementation = "eager"
    try:
        with torch.inference_mode():
            return tower(pixels).last_hidden_state
    finally:
        tower.config._attn_implementation = kept


def spread(values: list[float]) -> float:
    """Half the distance of the quartiles."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def show(result: dict, options: argparse.Namespace) -> None:
    """One table."""
    height, width = result["size"]
    print(
        f"\nViT-{options.model.upper()}, {height}x{width}, batch {options.batch}, {result['dtype']}: the products of a "
        f"forward alone take {1e3 * result['floor']:.4g} ms at {result['gemm']:.0f} GFLOP/s"
    )
    print(
        f"{'':<9}{'':<30}{'ms':>9}{'+-':>8}{'images/s':>10}{'x sdpa':>8}{'limit':>7}{'MiB':>7}{'error':>10}"
    )
    medians = {(row["mode"], row["method"]): statistics.median(row["seconds"]) for row in result["rows"]}
    for row in result["rows"]:
        mib = [value for value in row["mib"] if value is not None]
        median, base = (medians.get((row["mode"], name)) for name in (row["method"], "transformers sdpa"))
        floor = result["floor"] * PRODUCTS[row["mode"]]
        error = f"{row['error']:.1e}" if "error" in row else "-"
        print(
            f"{row['mode']:<9}{row['method']:<30}{1e3 * median:>9.4g}{1e3 * spread(row['seconds']):>8.3g}"
            f"{options.batch / median:>10.4g}{f'{base / median:.2f}' if base else '-':>8}"
            f"{median / floor:>7.2f}{f'{statistics.median(mib):.0f}' if mib else '-':>7}{error:>10}"
        )


def profile(options: argparse.Namespace, dtype: torch.dtype, size: tuple[int, int]) -> None:
    """Where one forward of the tower spends its time."""
    tower = random_weights(SamVisionTower(SamVisionTowerConfig(**MODELS[options.model])), options.seed)
    tower.to(dtype)
    pixels = torch.randn(options.batch, 3, *size).to(dtype)
    kernel = cpu_path.attention

    def named(*arguments):
        with torch.profiler.record_function("fused attention"):
            return kernel(*arguments)

    cpu_path.attention = named
    try:
        with torch.inference_mode():
            tower(pixels)
            with torch.profiler.profile() as watch:
                tower(pixels)
    finally:
        cpu_path.attention = kernel
    print(f"\n{str(dtype)[6:]}, {size[0]}x{size[1]}")
    print(watch.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40))


def size_of(text: str) -> tuple[int, int]:
    """`1024x320` as (1024, 320)."""
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if sides is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 1024x320 (height x width)")
    return int(sides[1]), int(sides[2])


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    where = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    where.add_argument("--device", default="cpu")
    if where.parse_known_args(arguments)[0].device != "cpu":
        from scripts.bench_tower_gpu import main as on_gpu

        return on_gpu(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="b")
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"]
    )
    parser.add_argument("--sizes", nargs="+", type=size_of, default=[(1024, 1024)], metavar="HxW")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, or cuda, which has options of its own")
    parser.add_argument("--modes", nargs="+", choices=PRODUCTS, default=["forward"])
    parser.add_argument("--compile", action="store_true", help="also compiled by torch.compile")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="these methods alone")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="all figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    path = native_attention.instruction_set() or "PyTorch's operators (no compiled kernel)"
    print(
        f"{processor()}, {options.threads} threads, torch {torch.__version__}, transformers "
        f"{version('transformers')}; samvlm's attention: {path}"
    )
    results = []
    try:
        if options.rounds < 1 or options.batch < 1:
            raise ValueError("--rounds and --batch: at least 1")
        for size in options.sizes:
            for name in options.dtypes:
                if options.profile:
                    profile(options, getattr(torch, name), size)
                    continue
                results.append(measure(options, getattr(torch, name), size))
                show(results[-1], options)
    except ValueError as error:
        print(f"bench_tower: {error}", file=sys.stderr)
        return 2
    if options.output:
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
