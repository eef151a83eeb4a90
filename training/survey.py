"""What the first samples of a run are made of, for the eye and in figures."""

import re
from itertools import groupby

from samvlm.data.samples import Refusal
from samvlm.model.processing_samvlm import SamVlmProcessor

EXAMPLES, MOST = 2, 600  # samples shown, and characters of each of their parts


class Survey:
    """Sums up batches of the [`Collator`].

    examples: lines that show the first samples as the model reads them
    drawn, useful, batches: samples asked for, samples with labels or images to learn from, batches
    refused:  what cannot be used
    largest:  the batch that takes most
    seconds:  that reading took
    """

    def __init__(self, processor: SamVlmProcessor):
        self.processor = processor
        self.examples: list[str] = []
        self.drawn = self.useful = self.batches = self.shown = 0
        self.tokens = self.labels = self.chats = 0
        self.visual: list[int] = []
        self.refused: list[Refusal] = []
        self.largest: dict | None = None
        self.costs: list[int] = []
        self.seconds = 0.0

    @property
    def mean_cost(self) -> float:
        """What a batch takes (see `cost`)."""
        return sum(self.costs) / len(self.costs)

    def add(self, batch: dict) -> None:
        """Take note of a batch."""
        self.batches += 1
        self.drawn += batch["drawn"]
        self.refused += batch["refused"]
        self.costs.append(cost(batch))
        if self.largest is None or self.costs[-1] > cost(self.largest):
            self.largest = batch
        if batch.get("no_labels"):
            return
        self.useful += len(batch["sample_ids"])
        if "input_ids" not in batch:
            return
        real = batch["attention_mask"].bool()
        image = (batch["input_ids"] == self.processor.image_token_id) & real
        self.visual += [count for count in image.sum(1).tolist() if count]
        self.tokens += int(real.sum())
        self.labels += int((batch["labels"] != -100).sum())
        self.chats += len(real)
        for row in range(len(real)):
            if self.shown < EXAMPLES:
                self.shown += 1
                self.examples += self.example(batch, row)

    def example(self, batch: dict, row: int) -> list[str]:
        """A sample as the model reads it: what it is given and what it learns to say, in turn."""
        real = batch["attention_mask"][row].bool()
        ids, labels = batch["input_ids"][row][real].tolist(), batch["labels"][row][real].tolist()
        lines = [f"sample {shown(batch['sample_ids'][row])}"]
        places = groupby(range(len(ids)), lambda place: labels[place] != -100)
        for learnt, group in places:
            text = self.text([labels[place] if learnt else ids[place] for place in group])
            lines.append(f"  {'learnt' if learnt else 'given '}  {text}")
        return lines

    def text(self, ids: list[int]) -> str:
        """Tokens as text on one line, special ones visible, an image's as one."""
        text = self.processor.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        image = re.escape(self.processor.image_token)
        text = re.sub(
            f"(?:{image}){{2,}}",
            lambda match: (
                f"{self.processor.image_token} x {len(match[0]) // len(self.processor.image_token)} "
            ),
            text,
        )
        return shown(text)

    def lines(self) -> list[str]:
        """The figures."""
        told = [
            f"read: {self.useful} of {self.drawn} samples can be used, {self.batches} batches in {self.seconds:.1f} s"
        ]
        if self.tokens:
            told.append(
                f"labels: {self.labels:,} of {self.tokens:,} tokens, {1 - self.labels / self.tokens:.1%} are masked"
            )
        if self.visual:
            text = (self.tokens - sum(self.visual)) / self.chats
            told.append(
                f"tokens: {sum(self.visual) / len(self.visual):.0f} visual an image ({min(self.visual)} to "
                f"{max(self.visual)}), {text:.0f} of text a sample"
            )
        return told


def cost(batch: dict) -> int:
    """What a batch takes, roughly: tokens, and patches of the images."""
    tokens = batch["input_ids"].numel() if "input_ids" in batch else 0
    return tokens + (batch["pixel_values"][:, 0].numel() // 256 if "pixel_values" in batch else 0)


def shown(text: str) -> str:
    """Text that is safe on any terminal, on one line, its middle left out where it is long."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(safe) > MOST:
        safe = f"{safe[: MOST // 2]} … {safe[-MOST // 2 :]}"
    return safe
