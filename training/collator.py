"""Samples to a batch: processor, labels on what the assistant says, and where each character stands."""

import dataclasses
import hashlib

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase

from samvlm.data.datasets import Sample
from samvlm.model.processing_samvlm import SamVlmProcessor
from training.losses import DenseHead


class Collator:
    """Turns samples into model inputs.

    Args:
        processor: of the model.
        dense: the head whose targets are wanted, or None.
        guide: whether targets of the guide loss are wanted.
        input_noise: share of the answer's characters that the model sees replaced at random.
        text: whether the language model runs; else the images alone are wanted.
    """

    def __init__(
        self,
        processor: SamVlmProcessor,
        dense: DenseHead | None = None,
        guide: bool = False,
        input_noise: float = 0.0,
        text: bool = True,
    ):
        self.processor, self.dense, self.guide, self.text = processor, dense, guide, text
        self.input_noise = input_noise
        self.letters = letters_of(processor.tokenizer)

    def __call__(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        """Returns input_ids, attention_mask, labels (B, T); if the samples have images, pixel_values (B, 3, height,
        width) and image_sizes (B, 2); and, if wanted, dense_targets (B, height / 8, width / 4) and guide_targets (B, T)."""
        samples = [self.at_scale(sample) for sample in samples]
        text = self.text and not all(sample.dense_only for sample in samples)
        if text:
            batch = dict(self.encode(samples))
        else:
            images = [sample.image for sample in samples]
            batch = dict(self.processor.image_processor(images, do_resize=False, return_tensors="pt"))
        if self.dense is not None and "pixel_values" in batch:
            batch["dense_targets"] = self.dense_targets(samples, *batch["pixel_values"].shape[-2:])
        if self.guide and text:
            batch["guide_targets"] = self.guide_targets(samples, batch)
        if text and self.input_noise:
            self.add_noise(samples, batch)
        return batch

    def at_scale(self, sample: Sample) -> Sample:
        """The sample with its image as the model will see it in use; what is drawn at scale stays as it is."""
        if sample.drawn or sample.image is None:
            return sample
        processor = self.processor.image_processor
        pixels = np.asarray(sample.image.convert("RGB")).transpose(2, 0, 1)  # (3, height, width)
        resized = np.asarray(processor.resize(pixels, processor.size, processor.resample))
        image = Image.fromarray(resized.transpose(1, 2, 0))
        ratio = np.array([image.width / sample.image.width, image.height / sample.image.height], np.float32)
        return dataclasses.replace(sample, image=image, centres=sample.centres * ratio)

    def dense_targets(self, samples: list[Sample], height: int, width: int) -> torch.Tensor:
        """Classes of all slots; -100 where nobody knows what an image shows."""
        targets = [
            self.dense.targets(s.chars, s.centres, width, height)
            if s.chars or s.drawn
            else torch.full(self.dense.slots(width, height), -100)
            for s in samples
        ]
        return torch.stack(targets)

    def encode(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        """The chats as tokens; labels are -100 but where the assistant speaks."""
        chats = [with_image(s.messages, s.image) for s in samples]
        batch = self.processor.apply_chat_template(
            chats,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={"padding": True, "do_resize": False},
        )
        spoken = torch.as_tensor(np.asarray(batch.pop("assistant_masks"))).bool()
        silent = (~spoken.any(-1)).nonzero().flatten().tolist()
        if silent:
            raise ValueError(f"sample {samples[silent[0]].id} has no label: its answer is empty or cut off.")
        batch["labels"] = batch["input_ids"].masked_fill(~spoken, -100)
        return batch

    def guide_targets(self, samples: list[Sample], batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """For each place that predicts a token of the answer: the place of the visual token with the next character."""
        side = self.processor.patch_size * self.processor.pool_factor
        targets = torch.full_like(batch["input_ids"], -100)
        for row, sample in enumerate(samples):
            known = sample.positions >= 0
            if not known.any():
                continue
            columns = int(batch["image_sizes"][row, 1]) // side
            rows = int(batch["image_sizes"][row, 0]) // side
            x, y = (sample.centres[known] // side).astype(int).T
            visual = np.clip(y, 0, rows - 1) * columns + np.clip(x, 0, columns - 1)
            order = np.argsort(sample.positions[known], kind="stable")
            offsets, visual = sample.positions[known][order], visual[order]
            encoded = self.processor.tokenizer(
                sample.answer, add_special_tokens=False, return_offsets_mapping=True
            )
            starts = np.array([start for start, _ in encoded["offset_mapping"]])
            places = (batch["labels"][row] != -100).nonzero().flatten().numpy()
            if len(places) != len(starts) + 1:  # the answer, and the end of the turn
                raise ValueError(
                    f"sample {sample.id}: {len(places)} labels for {len(starts)} tokens of the answer."
                )
            following = np.searchsorted(offsets, starts)  # the first character at or behind each token
            seen = following < len(offsets)
            first = int((batch["input_ids"][row] == self.processor.image_token_id).nonzero()[0])
            targets[row, places[:-1][seen] - 1] = torch.as_tensor(first + visual[following[seen]])
        return targets

    def add_noise(self, samples: list[Sample], batch: dict[str, torch.Tensor]) -> None:
        """Replace some of the answer's characters in the input, by a generator of each sample's own."""
        for row, sample in enumerate(samples):
            digest = hashlib.blake2b(sample.id.encode(), digest_size=7).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
            places = (batch["labels"][row] != -100).nonzero().flatten()
            letter = torch.isin(batch["labels"][row][places], self.letters)
            chosen = places[letter & (torch.rand(len(places), generator=generator) < self.input_noise)]
            drawn = torch.randint(len(self.letters), (len(chosen),), generator=generator)
            batch["input_ids"][row, chosen] = self.letters[drawn]


def letters_of(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Ids of the tokens that are one character: no special tokens, no single bytes of a longer character."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    single = [i for token, i in tokenizer.get_vocab().items() if len(token) == 1 and i not in special]
    texts = tokenizer.batch_decode([[i] for i in single])
    readable = [text == "\n" or (text.isprintable() and text != "\ufffd") for text in texts]
    letters = [i for i, good in zip(single, readable, strict=True) if good]
    return torch.tensor(sorted(letters) or [tokenizer.eos_token_id])


def with_image(messages: list[dict], image: Image.Image | None) -> list[dict]:
    """The chat with the picture put in its image part."""
    chat, placed = [], False
    for message in messages:
        parts = message["content"]
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        filled = []
        for part in parts:
            if part["type"] == "image":
                if placed or image is None:
                    raise ValueError("a chat asks for more images than its sample has: one, or none.")
                part, placed = {"type": "image", "image": image}, True
            filled.append(part)
        chat.append({"role": message["role"], "content": filled})
    return chat
