"""Time one layer's attention on a GPU by every path, and find the Triton kernels' best block sizes.

    python scripts/tune_attention.py                       # ViT-B and ViT-H, batch 8, windows and whole grid
    python scripts/tune_attention.py --models b --batch 1 --no-search

From query, key and value where the projection left them to the output: the relative terms, the splitting of windows and
whatever copies a path makes are in. Medians of CUDA events, paths in turns. The search then tries queries of a tile,
warps and stages of each kernel, the others as they are, and prints the fastest beside what `LAUNCH` in
samvlm/model/triton_attention.py has, which is where to write it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts.bench_tower
from samvlm import SamVisionTowerConfig
from samvlm.model import triton_attention
from samvlm.model.vision_layers import SamAttention
from scripts.bench_tower import MODELS
from scripts.bench_tower_gpu import Clock

PATHS = ("triton", "flex", "folded", "bias")
CHOICES = list(itertools.product((32, 64, 128), (4, 8), (1, 2, 3, 4)))


def layer_call(
    config: SamVisionTowerConfig, window: int, options: argparse.Namespace, path: str, train: bool
) -> Callable[[], object]:
    """One call of a layer's attention between its projections."""
    generator = torch.Generator().manual_seed(0)
    config = copy.deepcopy(config)
    config.attention_path = path
    layer = SamAttention(config, window)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
    dtype = getattr(torch, options.dtype)
    layer.to(options.device, dtype).requires_grad_(train)
    side = config.image_size // config.patch_size
    qkv = torch.randn(options.batch, side, side, 3 * config.embed_dim, generator=generator)
    qkv = qkv.to(options.device, dtype).requires_grad_(train)

    def call() -> None:
        with torch.inference_mode(not train):
            output = layer.attend_places(qkv)
        if train:
            output.backward(output.detach())
            layer.zero_grad(set_to_none=True)
            qkv.grad = None

    return call


def compare(
    calls: dict[str, Callable[[], object]], options: argparse.Namespace, clock: Clock
) -> dict[str, float]:
    """Median milliseconds of each call that can run; the others' lines say why not."""
    times: dict[str, list[float]] = {}
    for name, call in calls.items():
        try:
            for _ in range(3):
                call()
            clock.wait()
            times[name] = []
        except Exception as problem:  # a path that cannot run, a configuration that does not fit the GPU
            print(f"  {name}: {type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:90]}")
    for _ in range(options.rounds):
        for name, found in times.items():
            found.append(clock(calls[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def search(
    kernel: str,
    call: Callable[[], object],
    case: tuple[bool, bool],
    options: argparse.Namespace,
    clock: Clock,
) -> str:
    """The launch of a kernel that makes a call fastest; `LAUNCH`, whose `case` it is, is left as it was."""
    before = triton_attention.LAUNCH[kernel][case]

    def with_choice(choice: tuple[int, int, int]) -> Callable[[], object]:
        def chosen() -> None:
            triton_attention.LAUNCH[kernel][case] = choice
            try:
                call()
            finally:
                triton_attention.LAUNCH[kernel][case] = before

        return chosen

    found = compare({str(choice): with_choice(choice) for choice in (before, *CHOICES)}, options, clock)
    best = min(found, key=found.get)
    return f"{kernel}: now {before} {found.get(str(before), float('nan')):.4g} ms, best {best} {found[best]:.4g} ms"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda; cpu tries the script out")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["b", "h"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--no-search", action="store_true", help="compare the paths alone")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"tune_attention: PyTorch {torch.__version__} sees no GPU here", file=sys.stderr)
        return 2
    clock = Clock(options.device)
    for model in options.models:
        config = SamVisionTowerConfig(**MODELS[model])
        head_dim = config.embed_dim // config.num_attention_heads
        for window in (0, config.window_size):
            for train in (False, True):
                where = f"windows of {window}" if window else "whole grid"
                print(
                    f"\nViT-{model.upper()}, batch {options.batch}, {where}, {'training' if train else 'forward'}"
                )
                calls = {path: layer_call(config, window, options, path, train) for path in options.paths}
                for path, milliseconds in compare(calls, options, clock).items():
                    print(f"  {path:<8}{milliseconds:>9.4g} ms")
                side = window or config.image_size // config.patch_size
                case = (head_dim <= 64, triton_attention.fit(side)[0] == 1)
                kernels = ("backward_query", "backward_key") if train else ("forward",)
                if not options.no_search and "triton" in calls:
                    for kernel in kernels:
                        print("  " + search(kernel, calls["triton"], case, options, clock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
