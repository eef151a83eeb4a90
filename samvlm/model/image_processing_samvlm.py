"""Document images to tensors: longest side to a fixed length, then a canvas of whole steps (or SAM's square), or the
ways of other towers: squashed to a square, or in the middle of a grey one."""

from typing import Literal

import numpy as np
from PIL import Image, ImageOps
from transformers import PreTrainedConfig
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ImageInput,
    PILImageResampling,
    SizeDict,
    get_image_size,
)
from transformers.processing_utils import ImagesKwargs, Unpack

from .text_scale import text_height as measure_text_height

# How many of the canvas's free pixels come before the image.
PLACEMENTS = {
    "top_left": lambda free: 0,
    "center": lambda free: free // 2,
    "center_even": lambda free: round(free * 0.5),
}


class SamVlmImageProcessorKwargs(ImagesKwargs, total=False):
    r"""
    canvas_step (`int`):
        Both sides of the canvas are multiples of this many pixels (64: 16-pixel patches pooled 4x4).
    pad_to_square (`bool`):
        Pad to `size["longest_edge"]` squared, as SAM does, instead of to the native aspect.
    max_upscale (`float`, *optional*):
        Never enlarge an image by more than this; None: always to the longest edge, as SAM does.
    text_height (`float`, *optional*):
        Bring the text to this font size in pixels (estimated from the image, see `text_scale.py`) instead of the
        image to the longest edge, which remains the limit.
    keep_aspect (`bool`):
        False: resize to the square, whatever the image's aspect, as GOT-OCR2 and Vary do.
    background (`list[int]`, *optional*):
        Colour of the canvas around the image, R, G and B in [0, 255], painted before the normalisation (DeepSeek-OCR:
        127, 127, 127); None: zeros after it, as SAM pads.
    placement (`str`):
        Where the image lies on its canvas: "top_left" (SAM); "center", an odd pixel below and right of it
        (transformers' DeepSeek-OCR-2); "center_even", half pixels rounded to even (Pillow's `ImageOps.pad`, DeepSeek-OCR).
    """

    canvas_step: int
    pad_to_square: bool
    max_upscale: float | None
    text_height: float | None
    keep_aspect: bool
    background: list[int] | None
    placement: Literal["top_left", "center", "center_even"]


class SamVlmImageProcessor(PilBackend):
    r"""
    SAM's preprocessing at native aspect: the image is resized (bilinear) so that its longest side is
    `size["longest_edge"]`, scaled to [0, 1], normalised, and padded with zeros at the bottom and right up to a canvas
    of whole `canvas_step`s, or to the square. With `pad_to_square=True` and the defaults the result is that of
    transformers' `SamImageProcessor`; `keep_aspect`, `background` and `placement` give those of other towers, which
    `source_layouts.PREPROCESSING` lists.

    Returns a batch with `pixel_values` (B, 3, height, width), the largest canvas of the batch, and `image_sizes`
    (B, 2): height and width of each image's own canvas in it.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"longest_edge": 1024}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    canvas_step = 64
    pad_to_square = False
    max_upscale = None
    text_height = None
    keep_aspect = True
    background = None
    placement = "top_left"
    valid_kwargs = SamVlmImageProcessorKwargs
    model_input_names = ["pixel_values", "image_sizes"]

    def __init__(self, **kwargs: Unpack[SamVlmImageProcessorKwargs]):
        super().__init__(**kwargs)
        if self.canvas_step < 1 or self.size.longest_edge % self.canvas_step:
            raise ValueError(
                f"size longest_edge={self.size.longest_edge} must be a multiple of canvas_step={self.canvas_step}."
            )
        if not self.keep_aspect and (self.max_upscale is not None or self.text_height is not None):
            raise ValueError(
                f"keep_aspect=False makes every image the square: leave out max_upscale={self.max_upscale} and "
                f"text_height={self.text_height}."
            )
        if self.placement not in PLACEMENTS:
            raise ValueError(f"placement={self.placement!r}: choose one of {', '.join(PLACEMENTS)}.")
        if self.background is not None and not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background={self.background}: give a colour of three numbers from 0 to 255.")

    @classmethod
    def for_tower(cls, config: PreTrainedConfig, factor: int = 4, **kwargs) -> "SamVlmImageProcessor":
        """What a tower with configuration `config` takes, its map condensed `factor` times a side behind it; for a tower
        with weights of others, as these were trained (`config.images`).

        Args:
            kwargs: settings that differ from the tower's.
        """
        token = config.patch_size * factor  # pixels a side of one visual token
        steps = [step for step in (token * max(1, 64 // token), token) if config.image_size % step == 0]
        settings = {"size": {"longest_edge": config.image_size}, "canvas_step": (steps or [token])[0]}
        return cls(**{**settings, **(getattr(config, "images", None) or {}), **kwargs})

    def process_image(
        self, image: ImageInput, do_convert_rgb: bool | None = None, **kwargs: Unpack[ImagesKwargs]
    ) -> np.ndarray:
        """One image to (3, height, width), values as in the file."""
        if do_convert_rgb and isinstance(image, Image.Image):
            image = as_seen(image)
        return super().process_image(image, do_convert_rgb=do_convert_rgb, **kwargs)

    def resized_shape(
        self,
        height: int,
        width: int,
        longest_edge: int | None = None,
        max_upscale: float | None = None,
        text_scale: float | None = None,
        keep_aspect: bool | None = None,
        placement: str | None = None,
    ) -> tuple[int, int]:
        """Height and width in pixels after resizing, before padding; at least 1 each.

        Args:
            text_scale: what brings the text to its size; the longest edge remains the limit.
        """
        longest, largest = longest_edge or self.size.longest_edge, max(height, width)
        if not (self.keep_aspect if keep_aspect is None else keep_aspect):
            return longest, longest
        scale = full = longest / largest
        if text_scale is not None:
            scale = min(scale, text_scale)
        limit = max_upscale if max_upscale is not None else self.max_upscale
        if limit is not None:
            scale = min(scale, limit)
        placement = placement or self.placement
        if placement == "top_left":  # each rounds as the code that it stands for
            sides = [int(side * scale + 0.5) for side in (height, width)]
        elif placement == "center_even" and scale == full:
            sides = [round(side / largest * longest) for side in (height, width)]
        else:
            sides = [round(side * scale) for side in (height, width)]
        return max(1, sides[0]), max(1, sides[1])

    def text_scale(self, image: np.ndarray, text_height: float | None = None) -> float | None:
        """The factor that brings the text of an image, (3, height, width) in [0, 255], to `text_height` pixels."""
        wanted = text_height if text_height is not None else self.text_height
        measured = measure_text_height(image) if wanted is not None else None
        return wanted / measured if measured else None

    def canvas_shape(
        self,
        height: int,
        width: int,
        size: SizeDict | dict | None = None,
        canvas_step: int | None = None,
        pad_to_square: bool | None = None,
        max_upscale: float | None = None,
        keep_aspect: bool | None = None,
        placement: str | None = None,
    ) -> tuple[int, int]:
        """Height and width in pixels of the canvas that an image of height x width is put on."""
        if self.text_height is not None:
            raise ValueError(
                f"with text_height={self.text_height} the canvas depends on what an image shows, not on its size "
                "alone: set text_height to None where canvases must be known beforehand."
            )
        longest = self.size.longest_edge if size is None else SizeDict(**dict(size)).longest_edge
        square = self.pad_to_square if pad_to_square is None else pad_to_square
        if square:
            return longest, longest
        step = canvas_step or self.canvas_step
        resized = self.resized_shape(height, width, longest, max_upscale, None, keep_aspect, placement)
        return tuple(-(-side // step) * step for side in resized)

    def resize(
        self,
        image: np.ndarray,
        size: SizeDict,
        resample: PILImageResampling | None = None,
        max_upscale: float | None = None,
        text_height: float | None = None,
        keep_aspect: bool | None = None,
        placement: str | None = None,
        **kwargs,
    ) -> np.ndarray:
        """(3, height, width) -> (3, new height, new width), longest side `size.longest_edge`."""
        if not size.longest_edge:
            raise ValueError(f"size needs the key 'longest_edge', got {size}.")
        scale = self.text_scale(image, text_height)
        height, width = self.resized_shape(
            *get_image_size(image), size.longest_edge, max_upscale, scale, keep_aspect, placement
        )
        return super().resize(image, SizeDict(height=height, width=width), resample=resample, **kwargs)

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling | None,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | list[float] | None,
        image_std: float | list[float] | None,
        canvas_step: int,
        pad_to_square: bool,
        max_upscale: float | None,
        text_height: float | None,
        keep_aspect: bool,
        background: list[int] | None,
        placement: str,
        return_tensors: str | None = None,
        **kwargs,
    ) -> BatchFeature:
        prepared, sizes = [], []
        for image in images:
            if do_resize:
                image = self.resize(image, size, resample, max_upscale, text_height, keep_aspect, placement)
            height, width = image.shape[-2:]
            own = (size.longest_edge, size.longest_edge)
            if not pad_to_square:
                own = (-(-height // canvas_step) * canvas_step, -(-width // canvas_step) * canvas_step)
            if height > own[0] or width > own[1]:
                raise ValueError(
                    f"an image of {height}x{width} pixels does not fit the square: leave do_resize on."
                )
            sizes.append(own)
            if background is not None:
                image = placed(image, own, placement, background)
            if do_rescale:
                image = self.rescale(image, rescale_factor)
            if do_normalize:
                image = self.normalize(image, image_mean, image_std)
            prepared.append(placed(image, own, placement))
        if not prepared:
            raise ValueError("no images: give at least one.")
        canvas = tuple(max(sides) for sides in zip(*sizes, strict=True))
        pixel_values = np.zeros((len(prepared), prepared[0].shape[0], *canvas), dtype=np.float32)
        for i, image in enumerate(prepared):
            pixel_values[i, :, : image.shape[-2], : image.shape[-1]] = image
        data = {"pixel_values": pixel_values, "image_sizes": np.array(sizes, dtype=np.int64)}
        return BatchFeature(data=data, tensor_type=return_tensors)


def placed(
    image: np.ndarray, canvas: tuple[int, int], placement: str, colour: list[int] | None = None
) -> np.ndarray:
    """An image (3, height, width) on a canvas (3, *canvas) of a colour; None: zeros."""
    if image.shape[-2:] == canvas:
        return image
    filled = np.zeros((image.shape[0], *canvas), dtype=image.dtype)
    if colour is not None:
        filled[:] = np.asarray(colour, dtype=image.dtype)[:, None, None]
    top, left = (
        PLACEMENTS[placement](whole - side) for whole, side in zip(canvas, image.shape[-2:], strict=True)
    )
    filled[:, top : top + image.shape[-2], left : left + image.shape[-1]] = image
    return filled


def as_seen(image: Image.Image) -> Image.Image:
    """An image as a person sees it, in RGB: upright as its EXIF data says, transparent is white, and 16-bit grey keeps
    its shades (Pillow would clip it to white)."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = np.asarray(image, dtype=np.float32)
        highest = grey.max()
        full = 1 if image.mode == "F" and highest <= 1 else 255 if highest <= 255 else 65535
        image = Image.fromarray((grey * (255 / full)).round().clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


__all__ = ["SamVlmImageProcessor"]
