"""What the renderer hands out."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from ..tables import Table


@dataclass
class SynthSample:
    """One synthetic image with its exact truth.

    image:     RGB, values in [0, 255]
    task:      "table" | "text" | "form" | "question"
    question:  the question itself for task "question", else None
    answer:    what the model must emit: OTSL for tables, lines joined by line feeds for text
    table:     the table behind it (tasks "table" and "question")
    chars:     the n visible characters drawn, blanks left out
    centres:   (n, 2) float32, x and y in pixels of `image` after all damage. x is the middle of the ink, y lies 0.3 em
               above the baseline for every character, so that a line of text is a line of centres
    positions: (n,) int32, offset of each character in `answer`, -1 where it is no part of it
    meta:      names of the styles that were drawn
    """

    image: Image.Image
    task: str
    question: str | None
    answer: str
    table: "Table | None"
    chars: str
    centres: np.ndarray
    positions: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)
