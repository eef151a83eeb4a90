"""Before the first step: what will be read, learnt, needed and waited for, and whether it works at all.

Samples of the first batches are read and shown, and the longest batch in sight runs forward and backward. The run that
follows is bit for bit the one without pre-flight: random numbers, weights and gradients are left as they were found.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from training.checkpoints import checkpoints_in
from training.faults import TrainingStopped
from training.intake import LEAST
from training.longest import longest, planned
from training.micro_batches import MicroBatches, rows_of
from training.pace import peak_of_process
from training.rehearsal import rehearse
from training.saving import expected_bytes
from training.stages import part_of
from training.survey import Survey, cost
from training.trainer import SamVlmTrainer
from training.untouched import untouched

logger = logging.getLogger("samvlm.training")

SECONDS = 5.0  # after which no more samples are read
BOOKKEEPING = ("sample_ids", "drawn", "refused")


class Preflight:
    """Looks a stage over before it trains.

    Args:
        trainer: of the stage, on its device.
        folder: of the stage; its disk is looked at, and nothing is written.
        steps: that the run has behind it.
    """

    def __init__(self, trainer: SamVlmTrainer, folder: Path, steps: int = 0):
        self.trainer, self.folder, self.steps = trainer, folder, steps
        self.recipe, self.model = trainer.recipe, trainer.model
        self.first = trainer.is_world_process_zero()
        self.survey = Survey(trainer.processor)

    def run(self) -> None:
        """Look, and say what was seen. Raises ValueError, with the remedy, for what would end the run later."""
        self.check_model()
        self.check_disk()
        if self.trainer.sharding is not None and not self.trainer.sharding.weights:
            self.model.to(self.trainer.args.device)  # DeepSpeed would do it behind this
        with untouched(self.model, self.trainer.args.device), without_cache(self.trainer):
            batches = planned(self.trainer)
            self.read(batches)
            sharded = self.trainer.sharding is not None and self.trainer.sharding.weights
            seconds = None if sharded else self.try_out(longest(self.trainer, batches, self.survey.largest))
        rehearse(self.trainer, self.say, self.warn)
        self.say_time(seconds)

    def say(self, text: str, *values: object) -> None:
        """A line, by the first process."""
        if self.first:
            logger.info(text, *values)

    def warn(self, text: str, *values: object) -> None:
        """A warning, by the first process."""
        if self.first:
            logger.warning(text, *values)

    def check_model(self) -> None:
        """Something trains, every token has an embedding, and every weight is a number."""
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise ValueError("nothing trains: stage.train freezes every parameter.")
        core, tokenizer = self.trainer.objective.core, self.trainer.processor.tokenizer
        rows, tokens = core.config.get_text_config().vocab_size, max(tokenizer.get_vocab().values()) + 1
        if tokens > rows:
            raise ValueError(
                f"the tokenizer has {tokens} tokens and the language model embeddings for {rows}: the processor is of "
                "another model (model.init_from)."
            )
        for name, weight in self.model.named_parameters():
            if weight.is_floating_point() and not torch.isfinite(weight).all():
                raise ValueError(
                    f"model.init_from={self.recipe.model.init_from}: the weight {name} holds numbers that are not "
                    "finite: start from another checkpoint."
                )
        longest, positions = (
            self.recipe.data.max_tokens,
            core.config.get_text_config().max_position_embeddings,
        )
        if longest is not None and longest > positions:
            self.warn(
                "data.max_tokens=%d is more than the language model's max_position_embeddings, %d",
                longest,
                positions,
            )

    def check_disk(self) -> None:
        """The disk holds the checkpoints that will be kept, one that is being written, and the result."""
        place = self.folder
        while not place.exists():
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise ValueError(f"trainer.output_dir: {place} is no folder that can be written to.")
        settings = self.recipe.trainer
        left = max(0, settings.max_steps - self.steps)
        saves = -(-left // settings.save_steps)
        if settings.save_total_limit > 0:  # those that are there already go when others come
            saves = min(saves, max(1, settings.save_total_limit + 1 - len(checkpoints_in(self.folder))))
        saves += (
            self.recipe.scoring.data is not None and self.recipe.scoring.keep_best and saves > 0
        )  # the best
        size, free = expected_bytes(self.folder, self.model), shutil.disk_usage(place).free
        self.say(
            "disk: a checkpoint takes about %s; up to %d more and the result %s; %s are free",
            megabytes(size), saves, megabytes((saves + 1) * size), megabytes(free),
        )  # fmt: skip
        if (saves + 1) * size > free and not settings.force:
            raise ValueError(
                f"the disk of {place} has {megabytes(free)} free; {saves} checkpoints and the result take about "
                f"{megabytes((saves + 1) * size)}: make room, lower trainer.save_total_limit or raise "
                "trainer.save_steps, or go on all the same with --force (trainer.force=true)."
            )

    def read(self, batches: list[list[int]]) -> None:
        """Read the samples of the first batches; say what they are made of."""
        start, survey = time.monotonic(), self.survey
        for indices in batches:
            samples = [self.trainer.mixture[index] for index in indices]
            batch = self.trainer.data_collator(samples)
            survey.add(batch)
            enough = survey.drawn >= self.recipe.trainer.preflight_samples
            if enough or time.monotonic() - start > SECONDS:
                break
        survey.seconds = time.monotonic() - start
        for line in (*survey.examples, *survey.lines()):
            self.say("%s", line)
        self.judge_refused()

    def judge_refused(self) -> None:
        """Tell of samples that cannot be used, by their labels too. Raises ValueError where a run would end for them."""
        survey, most = self.survey, self.recipe.data.max_refused
        count = len(survey.refused)
        if count:
            first = survey.refused[0]
            where = f" ({first.where})" if first.where else ""
            told = (
                f"{count} of the first {survey.drawn} samples cannot be used, the first: {first.id}{where}: "
                f"{first.reason}"
            )
            useless = survey.useful == 0 and most < 1
            if useless or (survey.drawn >= LEAST and count > most * survey.drawn):
                raise ValueError(
                    f"{told}; data.max_refused={most:g} allows fewer: mend the data (samvlm data check finds all)."
                )
            if count > 0.01 * survey.drawn:
                self.warn("%s", told)

    def try_out(self, batch: dict) -> float:
        """One forward and backward pass; says what it took. Returns its seconds."""
        rows, device = rows_of(batch), self.trainer.args.device
        shape = f"{rows} x {batch['input_ids'].shape[1]} tokens" if "input_ids" in batch else f"{rows} images"
        if "pixel_values" in batch:
            height, width = batch["pixel_values"].shape[-2:]
            shape += f", images on {width}x{height} pixels"
        weight = cost(batch)
        if self.trainer.objective.packing is not None:
            self.trainer.objective.packing.check(self.model)
        batch = {name: value for name, value in batch.items() if name not in BOOKKEEPING}
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)

        def step(piece: dict, share: float) -> torch.Tensor:
            piece = self.trainer._prepare_inputs(piece)
            with self.trainer.compute_loss_context_manager():
                loss, _ = self.trainer.objective.losses(**piece)
            (loss * share).backward()
            return loss.detach() * share

        self.model.train()
        start = time.monotonic()
        try:
            loss = float(MicroBatches(self.model.zero_grad, alone=True).run(step, batch))
        except TrainingStopped as error:
            raise ValueError(f"pre-flight, the longest batch ({shape}): {error}.") from None
        seconds = time.monotonic() - start
        self.say("longest batch: %s: %.2f s forward and backward, loss %.3f", shape, seconds, loss)
        if not np.isfinite(loss):
            self.warn("the loss of the longest batch is no finite number: such steps are not taken")
        self.check_reached(bool(batch.get("no_labels")))
        self.say_memory(device)
        # A mean batch takes its share of the longest one's time.
        return seconds * min(1.0, self.survey.mean_cost / weight)

    def check_reached(self, no_labels: bool) -> None:
        """Warn of parts that train and that the losses do not reach."""
        reached: dict[str, bool] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                part = part_of(name)
                reached[part] = reached.get(part, False) or (
                    parameter.grad is not None and bool(parameter.grad.any())
                )
        for part, is_reached in reached.items():
            if not is_reached and not no_labels:
                self.warn("%s trains, but the longest batch gives it no gradient", part)

    def say_memory(self, device: torch.device) -> None:
        """Peak memory, and what the optimizer will add. Raises ValueError where a GPU cannot hold it."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        state = sum(p.numel() * (8 if p.element_size() == 4 else 12) for p in trained)
        if device.type != "cuda":
            peak = peak_of_process()
            told = "not known here" if peak is None else f"{megabytes(peak)} of the process at the peak"
            self.say("memory: %s, and %s for the optimizer", told, megabytes(state))
            return
        peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
        self.say(
            "memory: %s of the GPU's %s at the peak, and %s for the optimizer",
            megabytes(peak), megabytes(total), megabytes(state),
        )  # fmt: skip
        weights = sum(p.numel() * p.element_size() for p in (*self.model.parameters(), *trained))
        if weights + state > total:
            raise ValueError(
                f"weights, gradients and optimizer take {megabytes(weights + state)}, and the GPU has "
                f"{megabytes(total)}: train fewer parts (stage.train, stage.lora) or set model.dtype=bfloat16."
            )
        if peak + state > total:
            self.warn("the longest batch will not fit beside the optimizer: micro-batches will be halved")

    def say_time(self, seconds: float | None) -> None:
        """Steps, and the time they will take: computing, and reading where no workers do it meanwhile."""
        settings, workers = self.recipe.trainer, self.recipe.data.workers
        left = max(0, settings.max_steps - self.steps)
        if settings.warmup_steps >= settings.max_steps:
            self.warn(
                "trainer.warmup_steps=%d last as long as trainer.max_steps=%d or longer: the learning rate never gets to "
                "its peak",
                settings.warmup_steps,
                settings.max_steps,
            )
        if seconds is None:
            self.say("steps: %d; the longest batch is not tried where weights are sharded", left)
            return
        reading = self.survey.seconds / max(1, self.survey.batches)
        pace = max(seconds, reading / workers) if workers else seconds + reading
        pace *= settings.gradient_accumulation_steps
        self.say(
            "steps: %d, each of %d micro-batches; about %.2f s a step, %s in all",
            left, settings.gradient_accumulation_steps, pace, timedelta(seconds=round(pace * left)),
        )  # fmt: skip


@contextlib.contextmanager
def without_cache(trainer: SamVlmTrainer) -> Iterator[None]:
    """The tower runs live, as it does for every image that is new: nothing is read from or added to a cache."""
    objective, sources = trainer.objective, trainer.mixture.sources
    features, lookups = (
        objective.features,
        [getattr(source, "lookup", None) for source in sources],
    )
    objective.features = None
    for source in sources:
        source.lookup = None
    try:
        yield
    finally:
        objective.features = features
        for source, lookup in zip(sources, lookups, strict=True):
            source.lookup = lookup


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """A folder that is gone behind this context, for a Trainer that must leave nothing."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def megabytes(count: float) -> str:
    """A number of bytes as text."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"
