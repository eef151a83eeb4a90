"""Samples to a batch: processor, labels on what the assistant says, and where each character stands."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase

from samvlm.data.samples import Refusal, Sample
from samvlm.data.tasks import messages
from samvlm.features.build import to_scale
from samvlm.model.processing_samvlm import SamVlmProcessor
from training.cached_features import encode_known
from training.losses import DenseHead

# What a batch shows whose samples were all refused: every process of a step runs the same parts of the model.
PLACEHOLDER = Sample("placeholder", Image.new("RGB", (64, 64), "white"), "text", messages("text", "-"), "-")


class Collator:
    """Turns samples into model inputs.

    Args:
        processor: of the model.
        dense: the head whose targets are wanted, or None.
        guide: whether targets of the guide loss are wanted.
        input_noise: share of the answer's characters that the model sees replaced at random.
        text: whether the language model runs; else the images alone are wanted.
        max_tokens: a sample with more, visual ones included, is refused, never cut; None: any number.
        mixed: whether some samples of a batch may have an image and others none; `has_image` (B,) then says which.
    """

    def __init__(
        self,
        processor: SamVlmProcessor,
        dense: DenseHead | None = None,
        guide: bool = False,
        input_noise: float = 0.0,
        text: bool = True,
        max_tokens: int | None = None,
        mixed: bool = False,
    ):
        self.processor, self.dense, self.guide, self.text = processor, dense, guide, text
        self.input_noise, self.max_tokens, self.mixed = input_noise, max_tokens, mixed
        self.letters = letters_of(processor.tokenizer)

    def __call__(self, samples: list[Sample]) -> dict[str, Any]:
        """Returns input_ids, attention_mask, labels (B, T); if the samples have images, pixel_values (B, 3, height,
        width) and image_sizes (B, 2); and, if wanted, dense_targets (B, height / 8, width / 4) and guide_targets (B, T).

        `sample_ids` are those of the rows, `drawn` the number of samples asked for, `refused` what of them could not
        be used; where that is every one, there is one row without a label, and `no_labels` says so.
        """
        drawn = len(samples)
        refused = [refusal for sample in samples for refusal in sample.refused]
        samples = [self.at_scale(sample) for sample in samples if sample.usable]
        text = self.text and not (samples and all(sample.dense_only for sample in samples))
        no_labels = False
        if text:
            samples, batch, more = self.encode_usable(samples)
            refused += more
            no_labels = not samples
            samples = samples or [PLACEHOLDER]
        else:
            images = [sample.image for sample in samples]
            batch = dict(self.processor.image_processor(images, do_resize=False, return_tensors="pt"))
        if self.dense is not None and "pixel_values" in batch:
            batch["dense_targets"] = self.dense_targets(samples, *batch["pixel_values"].shape[-2:])
        if self.guide and text:
            batch["guide_targets"] = self.guide_targets(samples, batch)
        if text and self.input_noise and not no_labels:
            self.add_noise(samples, batch)
        if self.mixed and text:
            batch["has_image"] = torch.tensor([s.image is not None or s.known is not None for s in samples])
        if no_labels:
            batch["no_labels"] = True
        return batch | {"sample_ids": [sample.id for sample in samples], "drawn": drawn, "refused": refused}

    def at_scale(self, sample: Sample) -> Sample:
        """The sample with its image as the model will see it in use; what is drawn at scale stays as it is."""
        if sample.drawn or sample.image is None:
            return sample
        image = to_scale(sample.image, self.processor.image_processor)
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

    def encode_usable(
        self, samples: list[Sample]
    ) -> tuple[list[Sample], dict[str, torch.Tensor], list[Refusal]]:
        """The samples that can be used, their encoding, and the refused others."""
        wrong = {row: told for row, sample in enumerate(samples) if (told := wrong_images(sample))}
        refused = [Refusal(samples[row].id, "", reason) for row, reason in wrong.items()]
        samples = [sample for row, sample in enumerate(samples) if row not in wrong]
        while samples:
            batch = self.encode(samples)
            wrong = self.wrong_rows(batch)
            if not wrong:
                return samples, batch, refused
            refused += [Refusal(samples[row].id, "", reason) for row, reason in wrong.items()]
            samples = [sample for row, sample in enumerate(samples) if row not in wrong]
        batch = self.encode([PLACEHOLDER])
        batch["labels"] = torch.full_like(batch["labels"], -100)
        return [], batch, refused

    def wrong_rows(self, batch: dict[str, torch.Tensor]) -> dict[int, str]:
        """The rows that cannot be learnt from, with the reason."""
        lengths = batch["attention_mask"].sum(1).tolist()
        labelled = (batch["labels"] != -100).any(1).tolist()
        wrong = {}
        for row, (length, known) in enumerate(zip(lengths, labelled, strict=True)):
            if self.max_tokens is not None and length > self.max_tokens:
                wrong[row] = (
                    f"it has {length} tokens with those of the image, more than the {self.max_tokens} allowed"
                )
            elif not known:
                wrong[row] = "it has no label: its answer is empty"
        return wrong

    def encode(self, samples: list[Sample]) -> dict[str, torch.Tensor]:
        """The chats as tokens; labels are -100 but where the assistant speaks."""
        if any(sample.known is not None for sample in samples):
            return encode_known(self.processor, samples, self.encode_chats)
        return self.encode_chats(self.processor, samples)

    def encode_chats(self, processor: SamVlmProcessor, samples: list[Sample]) -> dict[str, torch.Tensor]:
        """The chats as tokens, with the images as `processor` makes them."""
        chats = [with_image(s.messages, s.image) for s in samples]
        batch = processor.apply_chat_template(
            chats,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={"padding": True, "do_resize": False},
        )
        spoken = torch.as_tensor(np.asarray(batch.pop("assistant_masks"))).bool()
        batch["labels"] = batch["input_ids"].masked_fill(~spoken, -100)
        return dict(batch)

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


def wrong_images(sample: Sample) -> str | None:
    """What is wrong with the number of images that a chat asks for; None if nothing is."""
    asked = sum(
        part["type"] == "image"
        for message in sample.messages
        if not isinstance(message["content"], str)
        for part in message["content"]
    )
    given = int(sample.image is not None or sample.known is not None)
    return None if asked == given else f"its chat asks for {asked} images and its sample has {given}"


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
