"""Packing: the samples of a micro-batch stand one behind the other in rows, so that no place is padding.

What keeps them apart are position ids, which start again with each sample: transformers makes the mask from them, if
there is no attention_mask and no cache; where one of the two is there, it silently does not. So `Packing.check` looks,
before the first step, whether the language model at hand keeps samples apart.
"""

from typing import Any

import torch
from torch import nn

FLASH = "flash"  # in the names of attention kernels that tell samples apart in a single row only
APART = ("eager", "sdpa", "flex_attention", FLASH)
LENGTHS = (5, 4, 6)  # tokens of the samples that `check` makes up


class Packing:
    """Packs micro-batches.

    Args:
        core: a `SamVlmForConditionalGeneration`.
        row_tokens: of a row; a longer sample has a row of its own. Flash attention always gets one row: its work does
            not grow with the square of the length.

    Raises ValueError for an attention that does not tell samples apart.
    """

    def __init__(self, core: nn.Module, row_tokens: int):
        attention = core.config.get_text_config()._attn_implementation or "eager"
        if not any(name in attention for name in APART):
            raise ValueError(
                f"data.packing=true needs attention that keeps samples apart, and model.attn_implementation={attention} "
                "is not known to: set it to sdpa, or data.packing to false."
            )
        self.row_tokens = None if FLASH in attention else row_tokens

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of the [`Collator`] (B samples, padded) as rows.

        Returns:
            The batch with input_ids, labels and position_ids (R, L), without attention_mask. Samples keep their order,
            as images do. What is left of a row is a sample without labels.
        """
        batch = dict(batch)
        batch.pop("has_image", None)
        real = batch.pop("attention_mask").bool()
        ids, labels = batch.pop("input_ids"), batch.pop("labels")
        rows = fill(real.sum(1).tolist(), self.row_tokens)
        packed: dict[str, list[torch.Tensor]] = {"input_ids": [], "labels": [], "position_ids": []}
        width = max(sum(length for _, length in row) for row in rows)
        for row in rows:
            members = torch.tensor([sample for sample, _ in row], device=ids.device)
            there = real[members]
            tokens, learnt = ids[members][there], labels[members]
            learnt = learnt.masked_fill(there.cumsum(1) == 1, -100)[
                there
            ]  # nothing predicts a sample's first token
            left = width - len(tokens)
            steps = [torch.arange(length, device=ids.device) for length in (*(n for _, n in row), left)]
            packed["input_ids"].append(torch.cat([tokens, tokens[-1:].expand(left)]))
            packed["labels"].append(torch.cat([learnt, learnt.new_full((left,), -100)]))
            packed["position_ids"].append(torch.cat(steps))
        return batch | {name: torch.stack(parts) for name, parts in packed.items()}

    def check(self, model: nn.Module) -> None:
        """Look whether packed samples are what they are alone. Raises ValueError where they are not.

        One sample's logits must have no gradient at the tokens of another, and be those without the others.
        """
        core = model.get_base_model() if hasattr(model, "get_base_model") else model
        embeddings = core.get_input_embeddings()
        image = core.config.image_token_id
        device = embeddings.weight.device
        known = [i for i in range(min(64, core.config.get_text_config().vocab_size)) if i != image]
        mask = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long, device=device)
        for sample, length in enumerate(LENGTHS):
            mask[sample, :length] = 1
        ids = torch.tensor(known, device=device).repeat(mask.numel())[: mask.numel()].view_as(mask)
        most = None if self.row_tokens is None else sum(LENGTHS[:2])
        packing = Packing(core, 1)
        packing.row_tokens = most
        batch = packing({"input_ids": ids, "attention_mask": mask, "labels": ids})
        training = model.training
        model.eval()
        try:
            with torch.enable_grad():
                embedded = embeddings(batch["input_ids"]).detach().requires_grad_()
                start, length = LENGTHS[0], LENGTHS[1]  # the second sample, in the first row
                places = {"inputs_embeds": embedded, "position_ids": batch["position_ids"]}
                logits = model(**places, use_cache=False).logits[0, start : start + length].float()
                seen = torch.autograd.grad(logits.pow(2).sum(), embedded)[0].abs().sum(-1)
            with torch.no_grad():
                alone = embeddings(ids[1:2, :length])
                other = model(inputs_embeds=alone, attention_mask=mask[1:2, :length], use_cache=False).logits
        finally:
            model.train(training)
        own = torch.zeros_like(seen, dtype=torch.bool)
        own[0, start : start + length] = True
        near = 1e-3 if embedded.dtype == torch.float32 else 0.05
        apart = not seen[~own].any() and bool(seen[own].all())
        if not apart or (logits - other[0].float()).abs().max() > near * other.abs().max():
            what = "sees the others" if seen[~own].any() else "has other logits than alone"
            raise ValueError(
                f"data.packing=true: in this language model ({type(core.model.language_model).__name__}, attention "
                f"{core.config.get_text_config()._attn_implementation}) a packed sample {what}: set "
                "data.packing=false."
            )


def fill(lengths: list[int], most: int | None) -> list[list[tuple[int, int]]]:
    """Samples in rows of at most `most` tokens, in their order: (number, length) of each; None: one row.

    There are as few rows as their order allows, and these are as short as it allows.
    """
    low, high = max(lengths), max(sum(lengths) if most is None else most, *lengths)
    rows = fewest = _in_rows(lengths, high)
    while low < high:
        middle = (low + high) // 2
        found = _in_rows(lengths, middle)
        if len(found) > len(fewest):
            low = middle + 1
        else:
            rows, high = found, middle
    return rows


def _in_rows(lengths: list[int], most: int) -> list[list[tuple[int, int]]]:
    rows: list[list[tuple[int, int]]] = []
    room = 0
    for sample, length in enumerate(lengths):
        if not rows or length > room:
            rows.append([])
            room = most
        rows[-1].append((sample, length))
        room -= length
    return rows
