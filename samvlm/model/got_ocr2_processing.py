"""What goes into GOT-OCR2: its tokenizer, prompts and images, by our processor and by transformers'."""

import base64
import json
from pathlib import Path

from PIL import Image
from transformers import AutoTokenizer, GotOcr2Processor, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.image_utils import PILImageResampling
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
    GotOcr2ImageProcessorPil,
    get_optimal_tiled_canvas,
)

from .checkpoint_files import Checkpoint, read_json
from .configuration_samvlm import SamVlmConfig
from .image_processing_samvlm import SamVlmImageProcessor
from .processing_samvlm import MESSAGE, SamVlmProcessor
from .source_layouts import PREPROCESSING

IMAGE_TOKENS = ("<img>", "</img>", "<imgpad>")
TURN_TOKENS = ("<|im_start|>", "<|im_end|>")
SYSTEM = "You should follow the instructions carefully and explain your answers in detail."
# Our instructions (samvlm/data/tasks.py) and the words that GOT-OCR2 knows for them, blanks included.
WORDS = {"Read the text.": " OCR: ", "Parse this table.": " OCR with format: "}
IMAGE_SETTINGS = (
    "do_resize",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "resample",
)

# ChatML without line ends behind the turns. Images in a row stand between one <img> and </img>, as GOT-OCR2 has the
# pages of a document. An instruction of its own that was typed without the blanks around it gets them.
CHAT_TEMPLATE = (
    """\
{%- set words = WORDS -%}
{%- macro asked(text) -%}
{%- if text in words -%}{{ words[text] }}
{%- elif text.startswith('OCR') and text.endswith(':') -%}{{ ' ' + text + ' ' }}
{%- elif text.startswith('[') and text.endswith(':') -%}{{ text + ' ' }}
{%- else -%}{{ text }}{%- endif -%}
{%- endmacro -%}
{%- if messages[0]['role'] != 'system' -%}
{{ '<|im_start|>system\\nSYSTEM<|im_end|>' }}
{%- endif -%}
{%- for message in messages -%}
"""
    + MESSAGE
    + """\
{%- if part['type'] == 'image' -%}
{%- if loop.first or loop.previtem['type'] != 'image' -%}{{ '<img>' }}{%- endif -%}
{{ '<imgpad>' }}
{%- if loop.last or loop.nextitem['type'] != 'image' -%}{{ '</img>\\n' }}{%- endif -%}
{%- elif part['type'] == 'text' -%}{{ asked(part['text']) if message['role'] == 'user' else part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
)


def chat_template(table_tokens: bool = False) -> str:
    """The chat template; with the OTSL tokens, a table is asked for in our words, since its answer is to be another."""
    words = {text: word for text, word in WORDS.items() if not (table_tokens and "table" in text)}
    return CHAT_TEMPLATE.replace("WORDS", json.dumps(words), 1).replace("SYSTEM", SYSTEM)


def instruction(
    formatted: bool = False,
    box: list[int] | tuple[int, int, int, int] | None = None,
    colour: str | None = None,
    pages: bool = False,
    tiled: bool = False,
) -> str:
    """What GOT-OCR2 is asked for a page: the words of transformers' processor, blanks included.

    Args:
        formatted: Markdown with LaTeX tables and formulas, instead of plain text.
        box: left, top, right and bottom of the region to read, in thousandths of the page's sides.
        colour: "red", "green" or "blue": read what stands in a box drawn in this colour.
        pages: the images in front of it are the pages of one document.
        tiled: the images in front of it are the `tiles` of one page.
    """
    return (
        (f"[{colour}] " if colour else "")
        + (str(list(box)) if box is not None else "")
        + " OCR"
        + (" with format" if formatted else "")
        + (" across multi pages" if pages else "")
        + (" upon the patch reference" if tiled else "")
        + ": "
    )


def tiles(image: Image.Image, side: int = 1024, most: int = 12) -> list[Image.Image]:
    """A large page in pieces, for one turn of a chat: what transformers' processor makes with `crop_to_patches`.

    Args:
        image: RGB.
        side: of a tile in pixels: the tower's `image_size`.
        most: at most so many tiles.

    Returns:
        Squares row by row from the top left, of the page stretched to a grid of about its aspect, and last the whole
        page; a page that is best as one tile alone.
    """
    columns, rows = get_optimal_tiled_canvas((image.height, image.width), (side, side), 1, most)
    if columns * rows == 1:
        return [image]
    whole = image.resize((columns * side, rows * side), PILImageResampling.BICUBIC)
    corners = [(column * side, row * side) for row in range(rows) for column in range(columns)]
    return [whole.crop((left, top, left + side, top + side)) for left, top in corners] + [image]


def our_processor(
    checkpoint: Checkpoint, config: SamVlmConfig, table_tokens: bool = False
) -> SamVlmProcessor:
    """Our processor for a GOT-OCR2 checkpoint; the settings of the checkpoint's own image processor are kept in
    `config.converted_from`, for the way back.

    Raises:
        ValueError: there is no tokenizer, or it is not of GOT-OCR2's kind; images are of another size.
    """
    path, tower = checkpoint.path, config.vision_config
    tokenizer = _tokenizer(checkpoint)
    lacking = [token for token in (*IMAGE_TOKENS, *TURN_TOKENS) if token not in tokenizer.get_vocab()]
    if lacking:
        raise ValueError(f"{path}: the tokenizer lacks {', '.join(lacking)}: it is not GOT-OCR2's.")
    if tokenizer.convert_tokens_to_ids("<imgpad>") != config.image_token_id:
        raise ValueError(
            f"{path}: <imgpad> is token {tokenizer.convert_tokens_to_ids('<imgpad>')}, config.json says "
            f"{config.image_token_id}."
        )
    tokenizer.padding_side = "left"
    given = _their_settings(checkpoint)
    side = tower.image_size
    size = given.get("size", {"height": side, "width": side})
    if (size.get("height"), size.get("width")) != (side, side):
        raise ValueError(f"{path}: its images are {size}, its tower takes {side} pixels a side.")
    if given.get("crop_to_patches"):
        raise ValueError(
            f"{path}: its image processor has crop_to_patches on, and samvlm takes a page as one image: turn it off."
        )
    config.converted_from["image_processor"] = given
    return SamVlmProcessor(
        image_processor=SamVlmImageProcessor.for_tower(tower, config.connector_factor),
        tokenizer=tokenizer,
        patch_size=tower.patch_size,
        pool_factor=config.connector_factor,
        image_token="<imgpad>",
        chat_template=chat_template(table_tokens),
    )


def image_settings(checkpoint: Checkpoint) -> dict:
    """The settings of our image processor that give the images of a GOT-OCR2 checkpoint."""
    given = {key: value for key, value in _their_settings(checkpoint).items() if key in IMAGE_SETTINGS}
    settings = {**PREPROCESSING["got_ocr2"], **given}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def got_processor(processor: SamVlmProcessor, settings: dict) -> GotOcr2Processor:
    """transformers' processor with the tokenizer and the image settings of one of ours.

    Args:
        settings: what the checkpoint's own image processor had beside them.
    """
    side = processor.image_processor.size.longest_edge
    ours = {key: getattr(processor.image_processor, key) for key in IMAGE_SETTINGS}
    given = {key: value for key, value in settings.items() if not key.endswith("processor_type")}
    images = GotOcr2ImageProcessorPil(**{**given, **ours, "size": {"height": side, "width": side}})
    return GotOcr2Processor(images, processor.tokenizer)


def chat_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a turn."""
    return tokenizer.convert_tokens_to_ids("<|im_end|>")


def _their_settings(checkpoint: Checkpoint) -> dict:
    """The settings of a checkpoint's own image processor; {} if it has none."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = checkpoint.find(name)
        settings = read_json(file) if file else {}
        settings = settings.get("image_processor", settings)
        if "image_mean" in settings:
            return settings
    return {}


def _tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint; the authors' is a tiktoken file, read without the code that lies beside it."""
    if checkpoint.find("tokenizer.json"):
        return AutoTokenizer.from_pretrained(checkpoint.path)
    ranks = checkpoint.find("qwen.tiktoken")
    if ranks is None:
        raise ValueError(
            f"{checkpoint.path}: there is neither tokenizer.json nor qwen.tiktoken: give the whole folder of the model."
        )
    return QwenTokenizer(str(ranks)).converted_tokenizer()


class QwenTokenizer(TikTokenConverter):
    """GOT-OCR2's tokenizer, Qwen's with image tokens, from its tiktoken file (as transformers' conversion makes it)."""

    @staticmethod
    def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
        """The file's lines: a token in base64 and its rank."""
        lines = Path(tiktoken_url).read_bytes().splitlines()
        try:
            pairs = [line.split() for line in lines if line]
            return {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
        except ValueError as error:
            raise ValueError(f"{tiktoken_url} is no tiktoken file ({error}): fetch it again.") from None

    def converted_tokenizer(self) -> PreTrainedTokenizerFast:
        """A fast tokenizer with the special tokens behind the ranks, in GOT-OCR2's order."""
        self.extra_special_tokens = [
            "<|endoftext|>",
            *TURN_TOKENS,
            *(f"<|extra_{number}|>" for number in range(205)),
            *("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"),
            *IMAGE_TOKENS,
        ]
        return PreTrainedTokenizerFast(
            tokenizer_object=self.converted(),
            model_input_names=["input_ids", "attention_mask"],
            model_max_length=8000,
            bos_token="<|endoftext|>",
            eos_token="<|endoftext|>",
            pad_token="<|endoftext|>",
            padding_side="left",
            clean_up_tokenization_spaces=True,
        )
