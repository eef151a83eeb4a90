"""Record files with small images of noise, for the tests."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

GOOD = "<html><body><table><tbody><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></tbody></table></body></html>"


def html(rows: str) -> str:
    return f"<html><body><table><tbody>{rows}</tbody></table></body></html>"


def noise(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> str:
    """Write an image like no other; return its name."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path.name


def record(name: str, image: str | None = None, truth: str = GOOD, **more) -> dict:
    return {"id": name, "image": image, "task": "table", "target": {"html": truth}, **more}


def save(path: Path, *items: dict | str) -> Path:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
