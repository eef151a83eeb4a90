"""The arithmetic of a training step, counted from the shapes of its batches, and what the machine can do at best.

Counted are the matrix products that the model's definition asks for (two operations for each multiply and add): of
the tower on its patches (attention with the places that SAM pads its windows with), of the connector, and of the language model on
its real tokens, padding left out, attention as causal. Backward: once more for the gradients of the inputs wherever
something before trains, and once more for the gradients of the weights that train; attention counts twice. Left out are
norms, activations, softmax, the training heads, and features that a cache knew. So the share of the peak (MFU,
Chowdhery et al., 2022) that follows from it is rather too low than too high.
"""

import time
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import nn

PEAK_SECONDS = 0.25  # that the peak is looked for
SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices


class StepFlops:
    """Counts the operations of forward and backward passes of a model.

    Args:
        core: a `SamVlmForConditionalGeneration`, adapters in it or not; what trains in it is settled.
    """

    def __init__(self, core: nn.Module):
        tower, self.config = core.model.vision_tower, core.config.vision_config
        self.cell = self.config.patch_size * core.config.connector_factor  # pixels a side of a visual token
        self.text = core.config.get_text_config()
        first = next((i for i, block in enumerate(tower.layers) if _share(block) > 0), len(tower.layers))
        self.patches = _factor(_share(tower.patch_embed), False)
        self.blocks = [(_share(block), i >= first) for i, block in enumerate(tower.layers)]
        self.neck = (_share(tower.neck), first < len(tower.layers) or _share(tower.neck) > 0)
        connector = core.model.multi_modal_projector
        through = self.neck[1] or _share(connector) > 0
        self.connector = _matrices(connector) * _factor(_share(connector), through)
        language = core.model.language_model
        through = through or _share(language) > 0
        self.language = _matrices(language, self.text, embeddings=False) * _factor(
            _share(language, embeddings=False), through
        )
        head = core.get_output_embeddings().weight
        self.head = head.numel() * _factor(float(head.requires_grad), through)
        self.attention = 3 if through else 1  # in the language model

    def image(self, height: int, width: int) -> float:
        """Of the tower and its map's way into the language model, for an image of height x width pixels."""
        config = self.config
        rows, columns = height // config.patch_size, width // config.patch_size
        patches, width_ = rows * columns, config.embed_dim
        total = self.patches * patches * config.num_channels * config.patch_size**2 * width_
        for number, (share, through) in enumerate(self.blocks):
            window = 0 if number in config.global_attn_indexes else config.window_size
            if window:
                places = -(-rows // window) * -(-columns // window) * window**2
                seen, sides = window**2, 2 * window
            else:
                places, seen, sides = patches, patches, rows + columns
            linear = patches * width_ * (4 * width_ + 2 * config.mlp_dim)
            attention = places * width_ * (2 * seen + sides)  # sides: relative positions
            total += linear * _factor(share, through) + attention * (3 if through else 1)
        channels = config.output_channels
        neck = patches * (width_ * channels + 9 * channels**2)
        return 2 * (total + neck * _factor(*self.neck))

    def visual(self, tokens: int) -> float:
        """Of the connector, for so many visual tokens."""
        return 2 * self.connector * tokens

    def sequence(self, tokens: int) -> float:
        """Of the language model, for a sequence of so many tokens."""
        text = self.text
        heads = text.num_attention_heads
        width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
        attention = (
            text.num_hidden_layers * tokens**2 * width * self.attention
        )  # half of 2 * T^2 * width: causal
        return 2 * (tokens * (self.language + self.head) + attention)

    def batch(self, sizes: Sequence[Sequence[int]], known: Sequence[bool], lengths: Sequence[int]) -> float:
        """Of images of these (height, width), of which a cache knew some, and of sequences; none: the tower alone."""
        count = sum(self.image(*size) for size, is_known in zip(sizes, known, strict=True) if not is_known)
        if lengths:
            count += sum(self.visual((height // self.cell) * (width // self.cell)) for height, width in sizes)
        return count + sum(self.sequence(length) for length in lengths)


def _factor(share: float, through: bool) -> float:
    """How often a matrix product's operations are done: forward, for its inputs' gradients, for its weights'."""
    return 1 + through + share


def _matrices(module: nn.Module, text: object = None, embeddings: bool = True) -> float:
    """The weights that a token is multiplied with; of a mixture of experts those that it meets."""
    skipped = set() if embeddings else _embeddings(module)
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    met = getattr(text, "num_experts_per_tok", 1) / experts if experts else 1.0
    return sum(
        _size(p) * (met if p.ndim == 3 else 1.0)
        for p in module.parameters()
        if p.ndim > 1 and id(p) not in skipped
    )


def _share(module: nn.Module, embeddings: bool = True) -> float:
    """The share of a module's matrices that trains."""
    skipped = set() if embeddings else _embeddings(module)
    matrices = [p for p in module.parameters() if p.ndim > 1 and id(p) not in skipped]
    trained = sum(_size(p) for p in matrices if p.requires_grad)
    return trained / max(1, sum(map(_size, matrices)))


def _size(parameter: nn.Parameter) -> int:
    """Weights in a parameter; of 4 bits, two are kept in a byte."""
    return parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)


def _embeddings(module: nn.Module) -> set[int]:
    return {id(p) for part in module.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}


def sequence_lengths(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Tokens of each sequence of a batch: those that are no padding; of a packed row, of each sequence in it."""
    if batch.get("attention_mask") is not None and batch["attention_mask"].ndim == 2:
        return batch["attention_mask"].sum(1)
    positions = batch.get("position_ids")
    if positions is None:
        return torch.full((len(batch["input_ids"]),), batch["input_ids"].shape[1])
    starts = (positions.reshape(-1) == 0).nonzero().flatten()
    ends = torch.cat([starts[1:], starts.new_tensor([positions.numel()])])
    return ends - starts


@lru_cache
def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large product of matrices: the best of some tries in a quarter of a second.

    Nobody's random numbers are used. On a machine that others use too, it is what they leave.
    """
    side = SIDE["cuda" if device.startswith("cuda") else "cpu"]
    generator = torch.Generator(device).manual_seed(
        0
    )  # equal numbers would cost a GPU less power, and so time
    a, b = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    best, tries, begin = float("inf"), 0, time.perf_counter()
    while tries < 3 or time.perf_counter() - begin < PEAK_SECONDS:
        start = time.perf_counter()
        _ = a @ b
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        tries, best = tries + 1, min(best, time.perf_counter() - start)
        if tries > 1 and time.perf_counter() - begin > 8 * PEAK_SECONDS:
            break
    return 2 * side**3 / best
