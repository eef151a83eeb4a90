"""Two losses that only training knows. Both need to see where each character stands, which the renderer does.

dense  A linear head on each position of the tower's map says which character has its centre in each slot of
       4 x 8 pixels of the patch: it teaches a tower from nothing to read within minutes.
guide  One attention head of some early decoder layers attends to the visual token that holds the next character:
       it teaches the decoder to scan. At use both are gone: the model is a plain VLM.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

SLOT_WIDTH, SLOT_HEIGHT = 4, 8  # pixels


class DenseHead(nn.Module):
    """Characters at slots, from the tower's map.

    Args:
        channels: of the map.
        patch_size: in pixels; a patch has (patch_size / 4) * (patch_size / 8) slots.
        characters: the alphabet; class 0 of each slot is "no centre here".
    """

    def __init__(self, channels: int, patch_size: int, characters: str):
        super().__init__()
        self.columns, self.rows = patch_size // SLOT_WIDTH, patch_size // SLOT_HEIGHT
        self.classes = len(characters) + 1
        self.class_of = {character: i + 1 for i, character in enumerate(characters)}
        self.project = nn.Linear(channels, self.columns * self.rows * self.classes)

    @staticmethod
    def slots(width: int, height: int) -> tuple[int, int]:
        """Rows and columns of slots of an image of width x height pixels."""
        return height // SLOT_HEIGHT, width // SLOT_WIDTH

    def targets(self, chars: str, centres: np.ndarray, width: int, height: int) -> torch.Tensor:
        """Classes of all slots of an image.

        Args:
            chars: n characters. centres: (n, 2) x and y in pixels. width, height: of the image in pixels.

        Returns:
            (height / 8, width / 4) int64; characters outside the image or the alphabet are left out.
        """
        target = torch.zeros(self.slots(width, height), dtype=torch.long)
        for character, (x, y) in zip(chars, centres.tolist(), strict=True):
            row, column = int(y // SLOT_HEIGHT), int(x // SLOT_WIDTH)
            if 0 <= row < target.shape[0] and 0 <= column < target.shape[1]:
                target[row, column] = self.class_of.get(character, 0)
        return target

    def forward(self, features: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over the slots and divided by the number of characters, and their accuracy.

        Args:
            features: (B, C, H, W). targets: (B, H * rows, W * columns), -100 where nothing is known.
        """
        batch, _, height, width = features.shape
        logits = self.project(features.permute(0, 2, 3, 1))
        logits = logits.view(batch, height, width, self.rows, self.columns, self.classes)
        logits = logits.transpose(2, 3).reshape(-1, self.classes)  # in the order of targets
        flat = targets.flatten()
        full = flat > 0
        count = full.sum().clamp(min=1)
        loss = F.cross_entropy(logits.float(), flat, reduction="sum") / count
        right = ((logits.argmax(-1) == flat) & full).sum() / count
        return loss, right


class Guide:
    """Watches self-attention layers of a decoder and scores where their head 0 looks.

    The layers' `self_attn` must have `q_proj`, `k_proj` (and perhaps `q_norm`, `k_norm` of a head's width) and take
    rotary `position_embeddings`, as those of Llama, Qwen2, Qwen3 and most others of transformers do.

    Args:
        layers: the decoder's layers. which: the indices of those to guide.
    """

    def __init__(self, layers: nn.ModuleList, which: list[int]):
        wrong = [i for i in which if not 0 <= i < len(layers)]
        if wrong:
            raise ValueError(
                f"stage.guide_layers={wrong}: the language model has {len(layers)} layers, from 0."
            )
        if not all(hasattr(getattr(layers[i], "self_attn", None), "q_proj") for i in which):
            raise ValueError(
                f"stage.guide_weight needs attention with q_proj and k_proj; a {type(layers[which[0]]).__name__} has "
                "none: set it to 0."
            )
        self.seen: list[tuple[nn.Module, torch.Tensor, tuple]] = []
        self.handles = [
            layers[i].self_attn.register_forward_pre_hook(self._watch, with_kwargs=True) for i in which
        ]

    def _watch(self, attention: nn.Module, args: tuple, kwargs: dict) -> None:
        hidden_states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        self.seen.append((attention, hidden_states, kwargs["position_embeddings"]))

    def remove(self) -> None:
        """Stop watching."""
        for handle in self.handles:
            handle.remove()

    def loss(
        self, targets: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean cross-entropy of the watched heads since the last call, and the share of right looks.

        Args:
            targets: (B, T) int64: for each place of the sequence the place that its head should look at, -100: any.
            attention_mask: (B, T), 0 for padding, which no head sees.
        """
        losses, hits = [], []
        rows, places = (targets >= 0).nonzero(as_tuple=True)
        wanted = targets[rows, places]
        for attention, hidden_states, (cos, sin) in self.seen:
            query = self._project(attention, "q", hidden_states)  # (B, 1, T, head_dim)
            key = self._project(attention, "k", hidden_states)
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            scores = (query @ key.transpose(-2, -1)).squeeze(1) * attention.scaling  # (B, T, T)
            scores = scores[rows, places].float()
            hidden = torch.arange(scores.shape[1], device=scores.device) > places[:, None]  # the future
            if attention_mask is not None:
                hidden = hidden | (attention_mask[rows] == 0)
            scores = scores.masked_fill(hidden, float("-inf"))
            losses.append(F.cross_entropy(scores, wanted) if len(wanted) else scores.sum() * 0.0)
            hits.append((scores.argmax(-1) == wanted).float().mean() if len(wanted) else scores.new_zeros(()))
        self.seen.clear()
        return torch.stack(losses).mean(), torch.stack(hits)

    @staticmethod
    def _project(attention: nn.Module, name: str, hidden_states: torch.Tensor) -> torch.Tensor:
        """Head 0 of the query or key projection alone."""
        linear = getattr(attention, f"{name}_proj")
        bias = None if linear.bias is None else linear.bias[: attention.head_dim]
        head = F.linear(hidden_states, linear.weight[: attention.head_dim], bias)
        norm = getattr(attention, f"{name}_norm", None)
        return (head if norm is None else norm(head)).unsqueeze(1)
