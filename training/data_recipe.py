"""The section `data` of a recipe: what is read, and how it is put into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samvlm.data.datasets import kind_of
from training.typed_yaml import typed

if TYPE_CHECKING:
    from training.recipe import StageRecipe
KINDS = ("synth", "engine", "records", "parquet", "dataset")
PLACED = ("synth", "engine")  # kinds whose samples say where each character stands


@dataclass
class DataRecipe:
    """What is read."""

    sources: list[dict[str, Any]] = field(default_factory=list)
    """Each `{synth: KIND, weight: 1, size: [width, height], options: {}, resize: false, dense_only: false}` (drawn
    without end; see SynthSource), `{engine: FOLDER, weight: 1, damage: 0.3, dense_only: false}` (tables that
    scripts/make_engine_tables.py has printed; see EngineSource), `{records: FILE, weight: 1}` (JSON Lines, or LLaVA's JSON), or rows that stream:
    `{parquet: FILE, FOLDER or PATTERN, weight: 1, shuffle: 1000, columns: {}, images: FOLDER}` or `{dataset: NAME on the
    hub or FOLDER, split: train, config: NAME, streaming: true, …}` (see StreamSource)."""
    seed: int = 1
    """Of drawing, mixing and shuffling; held-out sets take others."""
    max_pixels: int = 1_000_000
    """Pixels of one micro-batch, after resizing to the model's scale; images in it have one size."""
    max_images: int = 32
    """Images of one micro-batch at the most."""
    by_length: bool = True
    """Whether micro-batches are of texts of about one length (of images of one size they always are, unless packed)."""
    packing: bool = False
    """Whether the samples of a micro-batch stand one behind the other in rows instead of being padded to the longest;
    then a micro-batch mixes images of all sizes and chats without one."""
    row_tokens: int = 4096
    """Of a packed row, visual tokens included; a longer sample has a row of its own. Flash attention gets one row."""
    input_noise: float = 0.0
    """Share of the answer's characters that the model sees replaced at random (its labels stay right)."""
    max_tokens: int | None = None
    """Tokens of a sample, visual ones included; longer ones are refused, never cut. Default: the language model's
    max_position_embeddings."""
    max_refused: float = 0.1
    """Share of samples that may be refused (broken images or lines, no answer, too long) before the run ends."""
    feature_cache: str | None = None
    """A folder in which a frozen tower's features of record images are kept; they are made once and read from then
    on. Features are rounded to 16 bits. Off by itself where it cannot be right, or takes longer than the tower."""
    feature_cache_gb: float = 50.0
    """Gigabytes (10^9 bytes) that the folder may take; then nothing is added any more."""
    workers: int = 0
    """Processes that draw and load samples."""
    worker_timeout: float = 600.0
    """Seconds after which a batch that has not come ends the run; for workers from 1 up."""

    def __post_init__(self):
        if not self.sources:
            raise ValueError("data.sources is empty: name at least one, for example {synth: table}.")
        for source in self.sources:
            if not isinstance(source, dict) or sum(kind in source for kind in KINDS) != 1:
                raise ValueError(
                    f"data.sources: {source!r} needs one of synth: KIND, engine: FOLDER, records: FILE, parquet: FILES "
                    "and dataset: NAME."
                )
        self.sources = [
            typed(kind_of(source), source, f"data.sources[{number}]")
            for number, source in enumerate(self.sources)
        ]
        for source in self.sources:
            if not 0 < source.get("weight", 1.0) < float("inf"):
                raise ValueError(f"data.sources: {source}: its weight is a number above 0.")
        for key in ("seed", "workers"):
            if getattr(self, key) < 0:
                raise ValueError(f"data.{key}={getattr(self, key)}: a whole number from 0 up.")
        for key in ("max_pixels", "max_images", "row_tokens"):
            if getattr(self, key) < 1:
                raise ValueError(f"data.{key}={getattr(self, key)}: at least 1.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"data.max_tokens={self.max_tokens}: at least 1, or leave it out.")
        if not 0 <= self.max_refused <= 1:
            raise ValueError(f"data.max_refused={self.max_refused}: a share from 0 to 1.")
        if not self.feature_cache_gb > 0:
            raise ValueError(f"data.feature_cache_gb={self.feature_cache_gb}: gigabytes, more than 0.")
        if not self.worker_timeout > 0:
            raise ValueError(f"data.worker_timeout={self.worker_timeout}: seconds, more than 0.")
        if not 0 <= self.input_noise < 1:
            raise ValueError(f"data.input_noise={self.input_noise}: a share from 0 up to 1.")


def is_placed(source: dict[str, Any]) -> bool:
    """Whether the samples of an entry of data.sources say where each character stands."""
    return any(kind in source for kind in PLACED)


def check_packing(data: DataRecipe, stage: StageRecipe) -> None:
    """Raise ValueError for losses that do not know packed rows."""
    for key in ("dense_weight", "guide_weight"):
        if data.packing and getattr(stage, key):
            raise ValueError(
                f"data.packing=true goes without stage.{key}={getattr(stage, key):g}, whose targets stand by rows: set "
                "one of them to 0 or false."
            )
