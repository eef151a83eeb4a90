"""The whole model over three families of language models: training, precision, saving, what it refuses."""

import copy

import pytest
import torch
from PIL import Image
from sam_reference import enable_checkpointing, randomise, relative_error
from tiny import CHARACTERS, TINY_TOWER
from transformers import AutoModelForImageTextToText, AutoProcessor

from samvlm import SamVlmConfig, SamVlmForConditionalGeneration
from samvlm.model.assembly import assemble

DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
FAMILIES = {
    "llama": {"model_type": "llama", "tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": False},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True},
}


@pytest.fixture(scope="module", params=FAMILIES)
def parts(request):
    model, processor = assemble(dict(TINY_TOWER), DECODER | FAMILIES[request.param], characters=CHARACTERS)
    return randomise(model), processor


@pytest.fixture
def model(parts) -> SamVlmForConditionalGeneration:
    return copy.deepcopy(parts[0])


@pytest.fixture
def processor(parts):
    return parts[1]


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    """One model, where the family does not matter."""
    return AutoModelForImageTextToText.from_pretrained(tiny_checkpoint), AutoProcessor.from_pretrained(
        tiny_checkpoint
    )


def picture(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def batch(processor, *samples, labels: bool = True) -> dict:
    """Each sample is (image or None, answer)."""
    conversations = [
        [
            {
                "role": "user",
                "content": ([{"type": "image", "image": i}] if i else [])
                + [{"type": "text", "text": "Read."}],
            },
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
        for i, answer in samples
    ]
    inputs = processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )
    mask = inputs.pop("assistant_masks")
    if labels:
        inputs["labels"] = inputs["input_ids"].masked_fill(mask == 0, -100)
    return dict(inputs)


def test_forward_and_backward(model, processor):
    inputs = batch(processor, (picture(200, 90), "a b"), (picture(60, 200), "12.5"))
    output = model.train()(**inputs)
    assert output.logits.shape == (*inputs["input_ids"].shape, model.config.text_config.vocab_size)
    log = output.logits[:, :-1].log_softmax(-1)
    targets = inputs["labels"][:, 1:]
    by_hand = -log.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)[targets >= 0].mean()
    assert output.loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_picture_counts(model, processor):
    inputs = batch(processor, (picture(200, 90), "a"), labels=False)
    with torch.no_grad():
        before = model(**inputs).logits[:, -1]
        inputs["pixel_values"] = inputs["pixel_values"].flip(-1)
        assert relative_error(model(**inputs).logits[:, -1], before) > 1e-3


def test_save_and_reload(model, processor, tmp_path):
    tied = model.config.text_config.tie_word_embeddings
    assert model.config.tie_word_embeddings == tied
    embeddings = model.get_input_embeddings().weight
    assert (model.lm_head.weight.data_ptr() == embeddings.data_ptr()) == tied
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(again) is SamVlmForConditionalGeneration
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert (again.lm_head.weight.data_ptr() == again.get_input_embeddings().weight.data_ptr()) == tied
    inputs = batch(processor, (picture(200, 90), "a b"))
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
    assert again.generation_config.suppress_tokens == [processor.image_token_id]
    assert again.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_bfloat16_and_autocast(model, processor, tmp_path):
    inputs = batch(processor, (picture(200, 90), "a b"))
    with torch.no_grad():
        exact = model(**inputs).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert relative_error(model(**inputs).logits.float(), exact) < 0.1
    model.bfloat16().save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).train()
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    output = again(**inputs)
    assert relative_error(output.logits.float().detach(), exact) < 0.1
    output.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in again.parameters())


def test_gradient_checkpointing_changes_nothing(model, processor):
    inputs = batch(processor, (picture(200, 90), "a b"), (picture(60, 200), "12.5"))
    twin = copy.deepcopy(model).train()
    model.train()(**inputs).loss.backward()
    enable_checkpointing(twin)
    assert all(layer.gradient_checkpointing for layer in twin.model.vision_tower.layers)
    twin(**inputs).loss.backward()
    for (name, one), two in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert relative_error(two.grad, one.grad) < 1e-5, name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_tower_stays_out_of_the_graph(checkpointing, tiny):
    model, processor = copy.deepcopy(tiny[0]).train(), tiny[1]
    model.model.vision_tower.requires_grad_(False)
    if checkpointing:
        enable_checkpointing(model)
        model.enable_input_require_grads()
    maps = []
    model.model.vision_tower.register_forward_hook(lambda *args: maps.append(args[2].last_hidden_state))
    model(**batch(processor, (picture(200, 90), "a b"))).loss.backward()
    assert maps[0].grad_fn is None and not maps[0].requires_grad
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("model.vision_tower."), name


def test_text_only_batch_in_training(tiny):
    """Every parameter gets a gradient, zero in the tower and the connector: no rank waits for another."""
    model, processor = copy.deepcopy(tiny[0]).train(), tiny[1]
    inputs = batch(processor, (None, "a b"), (None, "longer answer"))
    assert "pixel_values" not in inputs
    loss = model(**inputs).loss
    assert loss.item() == pytest.approx(tiny[0].eval()(**inputs).loss.item(), rel=1e-6)
    loss.backward()
    for name, parameter in model.named_parameters():
        vision = name.startswith(("model.vision_tower.", "model.multi_modal_projector."))
        assert parameter.grad is not None, name
        assert (parameter.grad.abs().sum() == 0) == vision, name


def test_text_only_batch_runs_no_tower_otherwise(tiny, monkeypatch):
    model, processor = tiny
    monkeypatch.setattr(model.model.vision_tower, "forward", lambda *args, **kwargs: 1 / 0)
    model.eval()(**batch(processor, (None, "a b")))


def test_images_do_not_see_each_other(tiny):
    """Whatever sizes are beside it in the batch, an image gives the same tokens."""
    model, processor = tiny
    images = [picture(200, 90), picture(60, 200), picture(128, 128), picture(199, 80)]
    together = processor.image_processor(images, return_tensors="pt")
    with torch.no_grad():
        tokens = model.get_image_features(**together).pooler_output
        for image, found in zip(images, tokens, strict=True):
            alone = processor.image_processor(image, return_tensors="pt")
            expected = model.get_image_features(**alone).pooler_output[0]
            assert relative_error(found, expected) < 1e-6
            whole = model.model.get_image_features(alone["pixel_values"])  # no sizes: the whole canvas
            assert torch.equal(whole.pooler_output[0], expected)


def test_encoded_beforehand(tiny):
    model, processor = tiny
    inputs = batch(processor, (picture(200, 90), "a b"), (picture(60, 200), "12.5"))
    pixels = {key: inputs.pop(key) for key in ("pixel_values", "image_sizes")}
    with torch.no_grad():
        encoded = {"image": model.get_image_features(**pixels)}
        output = model(**inputs, mm_encoder_outputs=encoded)
        expected = model(**inputs, **pixels)
    assert torch.equal(output.logits, expected.logits)
    with pytest.raises(ValueError, match="cannot specify both"):
        model(**inputs, **pixels, mm_encoder_outputs=encoded)


def test_input_embeddings(tiny):
    model, processor = tiny
    inputs = batch(processor, (picture(200, 90), "a b"))
    with torch.no_grad():
        expected = model(**inputs).logits
        embeddings = model.get_input_embeddings()(inputs.pop("input_ids"))
        assert torch.equal(model(inputs_embeds=embeddings, **inputs).logits, expected)


def test_counts_that_disagree(tiny):
    model, processor = tiny
    inputs = batch(processor, (picture(200, 90), "a b"))
    inputs["input_ids"] = inputs["input_ids"][:, 20:]
    inputs["attention_mask"] = inputs["attention_mask"][:, 20:]
    left = int((inputs["input_ids"] == processor.image_token_id).sum())
    with pytest.raises(ValueError, match=rf"{left} image tokens, the images give 8 features"):
        model(**inputs)


def test_logits_to_keep(tiny):
    model, processor = tiny
    inputs = batch(processor, (picture(200, 90), "a b"), labels=False)
    with torch.no_grad():
        every = model(**inputs).logits
        assert relative_error(model(**inputs, logits_to_keep=2).logits, every[:, -2:]) < 1e-6
    loss, logits = model(**batch(processor, (picture(200, 90), "a b")), return_dict=False)[:2]
    assert loss.dim() == 0 and logits.dim() == 3


def test_connector_settings_reach_the_connector(tmp_path):
    model, processor = assemble(
        dict(TINY_TOWER),
        DECODER | FAMILIES["llama"],
        characters="abc",
        connector={"compressor": "conv", "factor": 2, "depth": 3, "act": "relu", "bias": False},
    )
    model.save_pretrained(tmp_path)
    config = SamVlmConfig.from_pretrained(tmp_path)
    assert (config.connector_compressor, config.connector_factor, config.connector_depth) == ("conv", 2, 3)
    connector = AutoModelForImageTextToText.from_pretrained(tmp_path).model.multi_modal_projector
    assert len(connector.compressor.convs) == 1 and len(connector.layers) == 3
    assert connector.layers[0].bias is None
    model(**batch(processor, (picture(200, 90), "abc"))).loss.backward()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"connector_factor": 3}, "connector_factor=3"), ({"connector_depth": 0}, "connector_depth=0")],
)
def test_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        SamVlmConfig(**settings)


def test_new_parts_start_apart_from_sams_tiny_range(tiny):
    """transformers' SAM starts at 1e-10: nothing of ours may."""
    fresh = SamVlmForConditionalGeneration(tiny[0].config)
    assert fresh.model.multi_modal_projector.layers[0].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert fresh.model.vision_tower.layers[0].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_transformers_own_tower(tiny):
    """A vision_config of another architecture: transformers' SAM encoder."""
    from sam_reference import hf_config

    config = SamVlmConfig(
        vision_config=hf_config(tiny[0].config.vision_config), text_config=tiny[0].config.text_config
    )
    model = SamVlmForConditionalGeneration(config).eval()
    tokens = model.get_image_features(torch.zeros(1, 3, 256, 256)).pooler_output
    assert tokens[0].shape == (16, 32)


def test_each_part_takes_its_attention(tiny_checkpoint):
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint, attn_implementation="eager")
    assert model.model.vision_tower.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    assert model.model.vision_tower.config._attn_implementation == "sdpa"
    model.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    assert model.model.language_model.config._attn_implementation == "eager"
    assert model.model.vision_tower.config._attn_implementation == "sdpa"


def test_adapters_in_the_tower(tiny):
    """Padded windows take the bias of an adapted projection; merged is the same as beside."""
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(
        r=2,
        init_lora_weights=False,
        target_modules=r".*vision_tower.*\.(qkv|proj|lin1|lin2|conv2|projection)",
    )
    adapted = peft.get_peft_model(copy.deepcopy(tiny[0]), settings)
    tower = adapted.base_model.model.model.vision_tower
    pixels = torch.randn(1, 3, 192, 128)
    features = tower(pixels).last_hidden_state
    features.square().sum().backward()
    for name, parameter in tower.named_parameters():
        assert (parameter.grad is not None) == ("lora_" in name), name
    with torch.no_grad():
        merged = adapted.merge_and_unload().model.vision_tower(pixels).last_hidden_state
        assert relative_error(merged, features) < 1e-5
        assert relative_error(merged, tiny[0].model.vision_tower(pixels).last_hidden_state) > 1e-2


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_training_step(tiny):
    model, processor = copy.deepcopy(tiny[0]).train(), tiny[1]
    inputs = batch(processor, (picture(200, 90), "a b"))
    expected = model(**inputs).loss
    loss = torch.compile(model, backend="aot_eager")(**inputs).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
