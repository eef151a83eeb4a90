"""Put a first checkpoint together: a SAM tower, any causal language model, a new connector, tokens and processor.

python scripts/assemble.py --tower sam_vit_b_01ec64.pth --language-model Qwen/Qwen2.5-0.5B --output checkpoints/start
"""

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from samvlm.model.assembly import assemble


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--tower",
        required=True,
        help="weights of SAM, GOT-OCR2, DeepSeek-OCR, Vary … (docs/towers.md), or a samvlm tower or model folder",
    )
    add(
        "--language-model",
        required=True,
        help="folder or hub name of a causal language model with its tokenizer",
    )
    add("--output", required=True, type=Path, help="folder of the new checkpoint; must not exist or be empty")
    add("--compressor", default="avg_pool", choices=["avg_pool", "pixel_unshuffle", "conv"])
    add("--factor", default=4, type=int, choices=[1, 2, 4], help="by how much each side of the map shrinks")
    add("--depth", default=2, type=int, help="linear layers of the connector's MLP")
    add("--act", default="gelu", help="activation between them")
    add("--no-bias", action="store_true", help="linear layers without bias")
    add("--longest-edge", type=int, help="longest side of an image in pixels; default: the tower's own size")
    add("--max-upscale", type=float, help="never enlarge an image by more than this")
    add(
        "--pad-to-square",
        action=argparse.BooleanOptionalAction,
        help="a square instead of the image's own aspect (default: as the tower was trained; SAM's: own aspect)",
    )
    add(
        "--keep-aspect",
        action=argparse.BooleanOptionalAction,
        help="resize to the longest edge, or to the square whatever the aspect (default: as the tower was trained)",
    )
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the saved weights")
    add("--seed", default=0, type=int, help="of the new weights")
    return parser


@contextlib.contextmanager
def what_is_found_is_said() -> Iterator[None]:
    """Print what the assembly logs of the tower's source."""
    logger, handler = logging.getLogger("samvlm.model.assembly"), logging.StreamHandler(sys.stdout)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def main(argv: list[str] | None = None) -> int:
    """Assemble and save; returns 0, or 2 after one line on what was wrong."""
    args = arguments().parse_args(argv)
    image = {"pad_to_square": args.pad_to_square, "keep_aspect": args.keep_aspect}
    image = {key: value for key, value in image.items() if value is not None}
    image["max_upscale"] = args.max_upscale
    if args.longest_edge is not None:
        image["size"] = {"longest_edge": args.longest_edge}
    try:
        if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
            raise ValueError(f"--output {args.output} is not empty: name a new folder.")
        with what_is_found_is_said():
            model, processor = assemble(
                args.tower,
                args.language_model,
                connector={
                    "compressor": args.compressor,
                    "factor": args.factor,
                    "depth": args.depth,
                    "act": args.act,
                    "bias": not args.no_bias,
                },
                image=image,
                seed=args.seed,
                dtype=args.dtype,
            )
        model.save_pretrained(args.output)
        processor.save_pretrained(args.output)
    except (ValueError, OSError) as error:
        print(f"assemble: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{args.output}: {sum(p.numel() for p in model.parameters()):,} parameters")
    for name, part in model.model.named_children():
        print(f"  {name}: {type(part).__name__}, {sum(p.numel() for p in part.parameters()):,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
