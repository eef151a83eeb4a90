"""A character tokenizer, for small models trained from scratch: one token a character, bytes for all others."""

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

CHAT_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


def character_tokenizer(characters: str) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each of `characters`, and UTF-8 bytes for every other, so that nothing is lost.

    Args:
        characters: the characters that get a token of their own; blank and newline are always among them.

    Returns:
        A fast tokenizer with ChatML's special tokens; `<|im_end|>` ends a turn, `<|endoftext|>` pads.
    """
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += sorted(set(characters) | {" ", "\n"})
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CHAT_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
    )
