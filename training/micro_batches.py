"""Out of memory: the micro-batch is cut in halves, the optimizer step starts again, and the global batch stays."""

import gc
import logging
from collections.abc import Callable

import torch

from training.faults import TrainingStopped

logger = logging.getLogger("samvlm.training")
# What has a row for each image, where the rest has one for each sample.
OF_IMAGES = ("pixel_values", "image_sizes", "feature_known", "feature_keys", "feature_maps")
Step = Callable[[dict, float], torch.Tensor]


class MicroBatches:
    """Runs the micro-batches of an optimizer step, in pieces if memory is short.

    Args:
        restart: undoes what the micro-batches of this optimizer step have done so far: gradients and figures.
        alone: whether this is the only process; with others, one cannot repeat its part of a collective step.
    """

    def __init__(self, restart: Callable[[], None], alone: bool):
        self.restart, self.alone = restart, alone
        self.pieces = 1
        self.done: list[dict] = []

    def begin(self) -> None:
        """A new optimizer step."""
        self.done = []

    def run(self, step: Step, batch: dict) -> torch.Tensor:
        """Call `step(piece, share)` for the pieces of a batch; returns the sum of what it gives: the batch's loss.

        When memory ends, pieces become half as large from now on, and all micro-batches of this optimizer step are
        run again. Raises TrainingStopped where one sample alone does not fit.
        """
        self.done.append(batch)
        todo = [batch]
        while True:
            try:
                for whole in todo:
                    loss = torch.stack([step(*piece) for piece in cut(whole, self.pieces)]).sum()
                return loss
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self.halve()
            todo = self.done

    def halve(self) -> None:
        """Halve the pieces, give memory back and take back the step so far."""
        largest = max(rows_of(batch) for batch in self.done)
        if not self.alone or self.pieces >= largest:
            what = "one sample alone" if self.alone else "a micro-batch of one process"
            raise TrainingStopped(
                f"out of memory: {what} does not fit; lower data.max_pixels (and data.max_images), train fewer parts "
                "(stage.train, stage.lora), or set model.dtype=bfloat16, and go on with --resume auto"
            )
        self.pieces *= 2
        self.restart()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(
            "out of memory: micro-batches are run in %d pieces from now on; lower data.max_pixels to save the time",
            self.pieces,
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error is about memory, on a GPU or of the CPU's allocator."""
    text = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "can't allocate memory" in text
        or "not enough memory" in text
    )


def rows_of(batch: dict) -> int:
    """Samples of a batch."""
    if "input_ids" in batch:
        return len(batch["input_ids"])
    return next(len(value) for value in batch.values() if isinstance(value, torch.Tensor))


def cut(batch: dict, pieces: int) -> list[tuple[dict, float]]:
    """A batch in at most `pieces` parts of whole samples, each with its share of the batch's loss.

    Losses are means over the labels, so the share is that of the labels, or of the samples where there are none.
    """
    rows = rows_of(batch)
    if pieces == 1 or rows == 1:
        return [(batch, 1.0)]
    weights = torch.ones(rows)
    if "labels" in batch and bool((batch["labels"] != -100).any()):
        weights = (batch["labels"][:, 1:] != -100).sum(1).float()
    parts = []
    for places in torch.arange(rows).chunk(pieces):
        part = part_of(batch, places)
        parts.append((part, float(weights[places].sum() / weights.sum())))
    return parts


def part_of(batch: dict, places: torch.Tensor) -> dict:
    """Some samples of a batch. Where `has_image` says that not all have an image, theirs are found by counting."""
    has_image = batch.get("has_image")
    images = places
    if has_image is not None:
        has_image = has_image.cpu()
        images = (has_image.cumsum(0) - 1)[places[has_image[places]]]
    part = {}
    for name, value in batch.items():
        if not isinstance(value, torch.Tensor):
            part[name] = value
        elif name not in OF_IMAGES:
            part[name] = value[places]
        elif len(images):
            part[name] = value[images]
    return part
