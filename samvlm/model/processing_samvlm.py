"""Images and chat text to model inputs: each `<image>` becomes as many placeholders as the image has tokens."""

from transformers import AutoImageProcessor, AutoProcessor
from transformers.image_utils import ImageInput, make_flat_list_of_images
from transformers.processing_utils import MultiModalData, ProcessorMixin

from .configuration_samvlm import SamVisionTowerConfig, SamVlmConfig
from .image_processing_samvlm import SamVlmImageProcessor

# A message of ChatML: what the assistant says, whole; of all others, up to their parts, which each template writes.
MESSAGE = """\
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}{%- for part in message['content'] -%}{{ part['text'] }}{%- endfor -%}{%- endif -%}
{{ '<|im_end|>' }}
{%- endgeneration -%}
{%- else -%}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
"""
CHAT_TEMPLATE = (
    """\
{%- for message in messages -%}
"""
    + MESSAGE
    + """\
{%- if part['type'] == 'image' -%}{{ '<image>' }}{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>' }}
{%- endif -%}
{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
)


class SamVlmProcessor(ProcessorMixin):
    r"""
    Args:
        image_processor: a [`SamVlmImageProcessor`].
        tokenizer: a tokenizer with the image token among its special tokens.
        patch_size: side in pixels of the tower's patches.
        pool_factor: the connector's `factor`: patches a side that one visual token condenses.
        image_token: the placeholder; the tokenizer's own `image_token` wins.
        chat_template: Jinja; default ChatML with `{% generation %}` around what the assistant says.
    """

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        patch_size: int = 16,
        pool_factor: int = 4,
        image_token: str = "<image>",
        chat_template: str | None = None,
        **kwargs,
    ):
        self.patch_size, self.pool_factor = patch_size, pool_factor
        self.image_token = getattr(tokenizer, "image_token", None) or image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        if self.image_token_id is None or self.image_token_id == tokenizer.unk_token_id:
            raise ValueError(
                f"The tokenizer has no image token {self.image_token!r}: build the checkpoint with "
                "scripts/assemble.py, or tokenizer.add_special_tokens({'additional_special_tokens': ['<image>']})."
            )
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def count_tokens(self, height: int, width: int) -> int:
        """Visual tokens of a canvas of height x width pixels."""
        side = self.patch_size * self.pool_factor
        return (height // side) * (width // side)

    def validate_inputs(
        self, images: ImageInput | None = None, text: str | list[str] | None = None, **kwargs
    ) -> None:
        """Raise ValueError where the texts do not have one placeholder for each image."""
        super().validate_inputs(images=images, text=text, **kwargs)
        if images is None or text is None:
            return
        texts = [text] if isinstance(text, str) else text
        places = sum(sample.count(self.image_token) for sample in texts)
        count = len(make_flat_list_of_images(images))
        if places != count:
            raise ValueError(
                f"{count} images, but {places} {self.image_token} in the text: give one for each."
            )

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs) -> str:
        """The placeholders of one image, for [`ProcessorMixin`]."""
        height, width = (int(side) for side in image_inputs["image_sizes"][image_idx])
        return self.image_token * self.count_tokens(height, width)

    def _get_num_multimodal_tokens(self, image_sizes=None, **kwargs) -> MultiModalData:
        if image_sizes is None:
            return MultiModalData()
        keys = ("size", "canvas_step", "pad_to_square", "max_upscale", "keep_aspect", "placement")
        settings = {key: kwargs[key] for key in keys if kwargs.get(key) is not None}
        shapes = [self.image_processor.canvas_shape(h, w, **settings) for h, w in image_sizes]
        return MultiModalData(
            num_image_tokens=[self.count_tokens(*shape) for shape in shapes],
            num_image_patches=[1] * len(shapes),
        )


AutoImageProcessor.register(
    SamVisionTowerConfig, image_processor_classes={"pil": SamVlmImageProcessor}, exist_ok=True
)
AutoImageProcessor.register(
    SamVlmConfig, image_processor_classes={"pil": SamVlmImageProcessor}, exist_ok=True
)
AutoProcessor.register(SamVlmConfig, SamVlmProcessor, exist_ok=True)

__all__ = ["SamVlmImageProcessor", "SamVlmProcessor"]
