"""Whole models of GOT-OCR2 (Wei et al., "General OCR Theory", 2024) as ours and back: same tower, convolutions, one linear
layer and Qwen2, so that every tensor keeps its numbers and every logit its value.

model, processor = load_got_ocr2("GOT-OCR-2.0-hf")   # transformers' layout, or the authors' own
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    GotOcr2ForConditionalGeneration,
    GotOcr2VisionConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from .assembly import OTSL_TOKENS, start_from_pieces
from .checkpoint_files import Checkpoint, common_dtype, open_checkpoint, read_json
from .configuration_samvlm import SamVlmConfig
from .got_ocr2_layout import (
    CONVS,
    TOWER,
    back_config,
    got_config,
    layout_of,
    our_config,
    our_name,
    saved_name,
    their_tower,
)
from .got_ocr2_processing import chat_end, got_processor, image_settings, our_processor
from .modeling_samvlm import SamVlmForConditionalGeneration
from .processing_samvlm import SamVlmProcessor
from .source_sizes import check_tensors, read_sizes, some

logger = logging.getLogger(__name__)

HEAD, EMBEDDINGS = "lm_head.weight", "model.language_model.embed_tokens.weight"
MAX_NEW_TOKENS = 4096  # of an answer, as in the authors' demonstrations


@dataclass(frozen=True)
class GotSource:
    """A checkpoint in which a whole GOT-OCR2 was found; nothing of it has been read but names, shapes and settings.

    checkpoint: the file or files
    layout:     "transformers" or "original"
    names:      of the model's tensors: ours to those in the checkpoint
    ignored:    all other names, with the reason
    config:     ours
    """

    checkpoint: Checkpoint
    layout: str
    names: dict[str, str]
    ignored: dict[str, str]
    config: SamVlmConfig

    @property
    def dtype(self) -> torch.dtype:
        """The narrowest that holds every tensor as it is."""
        return common_dtype(map(self.checkpoint.dtype, self.names.values()))

    def load(
        self, table_tokens: bool = False, dtype: str | torch.dtype | None = None
    ) -> tuple[SamVlmForConditionalGeneration, SamVlmProcessor]:
        """The model and its processor; see `load_got_ocr2`."""
        path = self.checkpoint.path
        processor = our_processor(
            self.checkpoint, self.config, table_tokens
        )  # complains before the weights are read
        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype or self.dtype
        tensors = {ours: self.checkpoint.read(theirs) for ours, theirs in self.names.items()}
        broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise ValueError(f"{path}: weights that are not finite (NaN or infinite): {some(broken)}.")
        head = tensors.pop(HEAD, None) if self.config.tie_word_embeddings else None
        if head is not None and not torch.equal(head, tensors[EMBEDDINGS]):
            raise ValueError(
                f"{path}: config.json ties lm_head to the embeddings, but the file holds two different tables; set "
                "tie_word_embeddings to false in it if both were trained."
            )
        model = _filled(SamVlmForConditionalGeneration, self.config, tensors, dtype)
        _set_generation(model, processor.tokenizer, self.checkpoint)
        if table_tokens:
            add_table_tokens(model, processor)
        return model.eval(), processor

    def report(self) -> list[str]:
        """What was found, line by line."""
        checkpoint, text = self.checkpoint, self.config.text_config
        count = sum(
            torch.Size(checkpoint.shape(theirs)).numel()
            for ours, theirs in self.names.items()
            if ours != HEAD or not self.config.tie_word_embeddings
        )
        whose = "transformers' layout" if self.layout == "transformers" else "the authors' layout"
        widths = " -> ".join(map(str, [self.config.vision_config.output_channels, *self._widths()]))
        lines = [
            f"{checkpoint.path}: a whole GOT-OCR2, {whose}; licence: Apache-2.0",
            f"model: {len(self.names)} tensors, {count:,} parameters, {str(self.dtype).removeprefix('torch.')}",
            f"connector: convolutions of {widths} channels, one linear layer to {text.hidden_size}",
            f"language model: {text.model_type}, {text.num_hidden_layers} layers, {text.vocab_size} tokens",
        ]
        for reason in dict.fromkeys(self.ignored.values()):
            lines.append(
                f"not read: {reason} ({some(n for n, why in self.ignored.items() if why == reason)})"
            )
        return lines

    def _widths(self) -> list[int]:
        return list(self.config.connector_conv_widths)


def find_got_ocr2(path: str | Path) -> GotSource:
    """Find a whole GOT-OCR2 in a folder or hub repository, and check that it is complete, before any of it is read.

    Raises:
        ValueError: it is another model; tensors are missing, unknown or of a wrong shape; there is no config.json.
    """
    checkpoint = open_checkpoint(path)
    path, layout = checkpoint.path, layout_of(checkpoint.names)
    if layout is None:
        raise ValueError(
            f"{path} is no GOT-OCR2: its tensors begin with {', '.join(sorted(checkpoint.names)[:3])}; for the tower "
            "alone of another model use SamVisionTower.from_source."
        )
    source = got_config(checkpoint.config, layout, path)
    names, ignored = {}, {}
    for name in checkpoint.names:
        ours = our_name(name, layout)
        if ours is None:
            ignored[name] = "computed anew"
        else:
            names[ours] = name
    shapes = {ours: checkpoint.shape(theirs) for ours, theirs in names.items()}
    tower = {name.removeprefix(TOWER): shape for name, shape in shapes.items() if name.startswith(TOWER)}
    sizes = read_sizes(tower, source.vision_config.to_dict() if layout == "transformers" else {}, path)
    if layout == "original":
        source.vision_config = GotOcr2VisionConfig(**their_tower(sizes))
    missing = [name for name in CONVS if name not in shapes]
    if missing:
        raise ValueError(f"{path}: the model lacks {some(missing)}.")
    config = our_config(source, sizes, [shapes[name][0] for name in CONVS], image_settings(checkpoint))
    with torch.device("meta"):
        wanted = SamVlmForConditionalGeneration(config).state_dict()
    if config.tie_word_embeddings and HEAD not in shapes:
        wanted.pop(HEAD)
    dtypes = {ours: checkpoint.dtype(theirs) for ours, theirs in names.items()}
    check_tensors(shapes, dtypes, wanted, path, "the model", "GOT-OCR2")
    return GotSource(checkpoint, layout, names, ignored, config)


def load_got_ocr2(
    path: str | Path, table_tokens: bool = False, dtype: str | torch.dtype | None = None
) -> tuple[SamVlmForConditionalGeneration, SamVlmProcessor]:
    """A whole GOT-OCR2 as our model, in the checkpoint's own precision, with the processor that makes its inputs.

    Args:
        path: folder or hub name: of `GotOcr2ForConditionalGeneration.save_pretrained` (stepfun-ai/GOT-OCR-2.0-hf), or
            in the authors' layout (stepfun-ai/GOT-OCR2_0). With `config.json` and the tokenizer.
        table_tokens: add the nine OTSL tokens, for fine-tuning on tables; the logits of the others stay.
        dtype: of all weights, such as "bfloat16"; None: as they are stored.

    Raises:
        ValueError: it is no GOT-OCR2; files or tensors are missing, unknown, of a wrong shape, or not finite.
    """
    source = find_got_ocr2(path)
    for line in source.report():
        logger.info("%s", line)
    return source.load(table_tokens, dtype)


def save_as_got_ocr2(
    model: SamVlmForConditionalGeneration, processor: SamVlmProcessor, folder: str | Path
) -> None:
    """Write a model that came from GOT-OCR2, trained further or not, in transformers' layout, with its processor.

    Raises:
        ValueError: the model has another connector or tower than GOT-OCR2's.
    """
    config = back_config(model.config)
    tensors = {saved_name(name): tensor for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        tensors.pop(saved_name(HEAD))
    theirs = _filled(GotOcr2ForConditionalGeneration, config, tensors, model.dtype)
    kept = model.config.converted_from or {}
    for part in kept.get("without_dtype", []):
        getattr(theirs.config, part).dtype = None
    if kept.get("generation_config") is not None:
        theirs.generation_config = GenerationConfig(**kept["generation_config"])
    theirs.save_pretrained(folder)
    got_processor(processor, kept.get("image_processor") or {}).save_pretrained(folder)


@torch.no_grad()
def add_table_tokens(model: SamVlmForConditionalGeneration, processor: SamVlmProcessor) -> None:
    """Add the OTSL tokens to model and tokenizer; an embedding starts from the mean of its spelled-out pieces."""
    tokenizer = processor.tokenizer
    known = tokenizer.get_vocab()
    new = [token for token in OTSL_TOKENS if token not in known]
    spelled = {token: tokenizer(token, add_special_tokens=False)["input_ids"] for token in new}
    tokenizer.add_tokens(new)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    start_from_pieces(model, tokenizer, spelled)


def _filled(cls: type, config: PreTrainedConfig, tensors: dict[str, torch.Tensor], dtype: torch.dtype):
    """A model of a class with these tensors, none of them left over or made up. Raises ValueError otherwise."""
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    model, report = cls.from_pretrained(
        None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
    )
    wrong = sorted(
        {*report["missing_keys"], *report["unexpected_keys"], *map(str, report["mismatched_keys"])}
    )
    if wrong:
        raise ValueError(f"{len(wrong)} tensors do not fit {cls.__name__}, such as {wrong[0]}.")
    return model


def _set_generation(
    model: SamVlmForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, checkpoint: Checkpoint
) -> None:
    """The source's own settings of `generate`; a turn's end ends an answer, which there is a stop string's work."""
    file = checkpoint.find("generation_config.json")
    given = read_json(file) if file else None
    model.config.converted_from["generation_config"] = given
    ours = GenerationConfig(**given) if given is not None else model.generation_config
    ends = ours.eos_token_id if ours.eos_token_id is not None else tokenizer.eos_token_id
    ends = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]
    end = chat_end(tokenizer)
    ours.eos_token_id = [end, *(token for token in ends if token != end)]
    ours.pad_token_id = tokenizer.pad_token_id
    ours.max_new_tokens = ours.max_new_tokens or MAX_NEW_TOKENS
    ours.suppress_tokens = ours.suppress_tokens or [model.config.image_token_id]
    ours._from_model_config = False  # nobody is to make it anew of the model's configuration
    model.generation_config = ours
