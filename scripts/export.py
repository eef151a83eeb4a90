"""Write a checkpoint that carries its own code, for `trust_remote_code=True` where samvlm is not installed.

python scripts/export.py checkpoints/mine exported/
"""

import argparse
import sys
from pathlib import Path

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

import samvlm
from samvlm.model.export import export_remote_code


def main(argv: list[str] | None = None) -> int:
    """Export; returns 0, or 2 after one line on what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="folder or hub name of a samvlm model or tower")
    parser.add_argument("output", type=Path, help="where to; must not exist or be empty")
    args = parser.parse_args(argv)
    try:
        if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
            raise ValueError(f"{args.output} is not empty: name a new folder.")
        config = AutoConfig.from_pretrained(args.checkpoint)
        if isinstance(config, samvlm.SamVisionTowerConfig):
            model, processor = AutoModel.from_pretrained(args.checkpoint), None
        elif isinstance(config, samvlm.SamVlmConfig):
            model = AutoModelForImageTextToText.from_pretrained(args.checkpoint)
            processor = AutoProcessor.from_pretrained(args.checkpoint)
        else:
            raise ValueError(f"{args.checkpoint} is a {config.model_type!r}: only samvlm's own are exported.")
        files = export_remote_code(model, processor, args.output)
    except (ValueError, OSError) as error:
        print(f"export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{args.output}: weights and {len(files)} code files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
