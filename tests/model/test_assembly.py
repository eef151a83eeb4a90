"""A first checkpoint from a tower and a pretrained language model with its own tokenizer."""

import pytest
import torch
from PIL import Image
from sam_reference import random_tower, randomise, relative_error
from tiny import TINY_TOWER
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedTokenizerFast,
)

from samvlm.model.assembly import OTSL_TOKENS, assemble

DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
}
CORPUS = [
    "Parse this table.",
    "The total of sales in 2004 was 34.7 million, of 2003 31.2.",
    "<table> <fcel> <row>",
]
ADDED = ["<image>", *OTSL_TOKENS]


def bpe_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """As Qwen2's: bytes, pairs merged, ChatML among the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    special = ["<|endoftext|>", *(["<|im_start|>", "<|im_end|>", "<|box|>"] if chat else [])]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        extra_special_tokens=special[1:],
        padding_side="right",
    )


def language_model(folder, family: str = "qwen2", chat: bool = True, spare: int = 0, **settings):
    tokenizer = bpe_tokenizer(chat)
    config = AutoConfig.for_model(
        family, **DECODER | {"vocab_size": len(tokenizer) + spare, "tie_word_embeddings": True} | settings
    )
    model = randomise(AutoModelForCausalLM.from_config(config)).eval()
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("chat", [True, False])
def test_added_tokens_start_from_their_pieces(chat, tied, tmp_path):
    decoder, tokenizer = language_model(tmp_path, chat=chat, tie_word_embeddings=tied)
    model, processor = assemble(dict(TINY_TOWER), str(tmp_path))
    added = ADDED if chat else ["<image>", "<|im_start|>", "<|im_end|>", *OTSL_TOKENS]
    assert len(processor.tokenizer) == len(tokenizer) + len(added)
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    assert model.config.tie_word_embeddings == tied
    for new, old in (
        (model.get_input_embeddings().weight, decoder.get_input_embeddings().weight),
        (model.lm_head.weight, decoder.lm_head.weight),
    ):
        assert torch.equal(new[: len(tokenizer)], old)
        for token in added:
            pieces = tokenizer(token, add_special_tokens=False)["input_ids"]
            assert len(pieces) > 1
            index = processor.tokenizer.convert_tokens_to_ids(token)
            assert torch.allclose(new[index], old[pieces].mean(0), atol=1e-6), token


def test_spare_rows_are_used_and_none_is_lost(tmp_path):
    """Vocabularies are often padded: the rows stay, and the added tokens take the first of them."""
    decoder, tokenizer = language_model(tmp_path, spare=70)
    model, processor = assemble(dict(TINY_TOWER), str(tmp_path))
    size = len(tokenizer) + 70
    assert model.config.text_config.vocab_size == model.lm_head.out_features == size
    weight = model.get_input_embeddings().weight
    assert weight.shape[0] == size
    assert torch.equal(weight[len(processor.tokenizer) :], decoder.lm_head.weight[len(processor.tokenizer) :])
    pieces = tokenizer("<fcel>", add_special_tokens=False)["input_ids"]
    index = processor.tokenizer.convert_tokens_to_ids("<fcel>")
    assert torch.allclose(weight[index], decoder.lm_head.weight[pieces].mean(0), atol=1e-6)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "opt", "gpt2"])
def test_text_goes_through_as_before(family, tmp_path):
    """Any causal language model; its answers to text alone stay what they were."""
    names = {
        "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    }
    decoder, tokenizer = language_model(tmp_path, family, spare=70, **names.get(family, {}))
    model, _ = assemble(dict(TINY_TOWER), str(tmp_path))
    ids = tokenizer(CORPUS[1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        old, new = decoder(input_ids=ids).logits, model(input_ids=ids).logits
    known = len(tokenizer)  # the rows behind are new tokens
    assert relative_error(new[..., :known], old[..., :known]) < 1e-6
    model.save_pretrained(tmp_path / "vlm")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "vlm")
    assert again.lm_head.weight is again.get_input_embeddings().weight
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, new)


@pytest.mark.parametrize(
    ("family", "settings"),
    [("granite", {"logits_scaling": 8.0}), ("phi", {"tie_word_embeddings": False})],
    ids=["scaled logits", "bias"],
)
def test_heads_that_do_more_are_refused(family, settings, tmp_path):
    language_model(tmp_path, family, **settings)
    with pytest.raises(ValueError, match="scales, caps or shifts its logits"):
        assemble(dict(TINY_TOWER), str(tmp_path))


def test_processor_and_generation_settings(tmp_path):
    language_model(tmp_path)
    model, processor = assemble(dict(TINY_TOWER), str(tmp_path))
    tokenizer = processor.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.generation_config.eos_token_id == end
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id == tokenizer.eos_token_id
    assert model.generation_config.suppress_tokens == [processor.image_token_id]
    assert tokenizer.padding_side == "left"
    ids = tokenizer("<fcel>34.7<nl><|box|><|im_end|><image>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<fcel>34.7<nl>"
    assert tokenizer.decode(ids) == "<fcel>34.7<nl><|box|><|im_end|><image>"


def test_the_whole_way(tmp_path):
    """Assembled, saved, loaded by the Auto classes, asked."""
    language_model(tmp_path / "lm")
    model, processor = assemble(
        dict(TINY_TOWER), str(tmp_path / "lm"), image={"pad_to_square": True}, dtype="bfloat16"
    )
    model.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "vlm")
    processor = AutoProcessor.from_pretrained(tmp_path / "vlm")
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.get_input_embeddings().weight
    image = Image.effect_noise((120, 50), 80)
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": "Parse this table."}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "<fcel>34.7<nl>"}]},
    ]
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True
    )
    said = inputs["input_ids"][0][inputs.pop("assistant_masks")[0].bool()]
    assert processor.tokenizer.decode(said) == "<fcel>34.7<nl><|im_end|>"
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 16
    assert model.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]


def test_towers_of_every_kind(tiny_checkpoint, tmp_path):
    """The same tower from a tower folder, from a whole model, and from Hugging Face's SAM."""
    from sam_reference import hf_twin

    tower = random_tower(**TINY_TOWER, token_pool="pixel_unshuffle", token_pool_factor=2)
    tower.save_pretrained(tmp_path / "tower")
    hf_twin(tower, "eager").save_pretrained(tmp_path / "sam")
    settings = {"language_model": {"model_type": "llama", **DECODER}, "characters": "abc"}
    first, _ = assemble(str(tmp_path / "tower"), **settings)
    assert first.config.vision_config.token_pool == "pixel_unshuffle"
    first.save_pretrained(tmp_path / "vlm")
    for source in ("sam", "vlm"):
        model, processor = assemble(str(tmp_path / source), **settings)
        assert processor.image_processor.size.longest_edge == 256
        for name, tensor in tower.state_dict().items():
            assert torch.equal(model.model.vision_tower.state_dict()[name], tensor), name
    assert type(AutoModel.from_pretrained(tmp_path / "tower")).__name__ == "SamVisionTower"


def test_same_seed_same_weights():
    settings = {"language_model": {"model_type": "llama", **DECODER}, "characters": "abc"}
    one, two, other = (assemble(dict(TINY_TOWER), **settings, seed=seed)[0] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language_model": {"model_type": "llama"}}, "needs `characters`"),
        ({"language_model": {"model_type": "lama"}, "characters": "a"}, "'lama' is not known"),
        ({"language_model": "folder", "characters": "a"}, "brings its own tokenizer"),
        ({"language_model": {**DECODER}, "characters": "a", "dtype": "float33"}, "'float33' does not exist"),
        ({"language_model": {**DECODER}, "characters": "a", "connector": {"factor": 3}}, "factor"),
        (
            {"language_model": {**DECODER}, "characters": "a", "connector": {"compresor": "conv"}},
            "connector: unknown setting 'compresor': did you mean 'compressor'",
        ),
        (
            {"language_model": {**DECODER}, "characters": "a", "image": {"max_upscal": 2}},
            "image: unknown setting 'max_upscal': did you mean 'max_upscale'",
        ),
        (
            {"language_model": {**DECODER, "num_hidden_layer": 2}, "characters": "a"},
            "language_model: unknown setting 'num_hidden_layer': did you mean 'num_hidden_layers'",
        ),
    ],
)
def test_parts_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        assemble(dict(TINY_TOWER), **settings)
