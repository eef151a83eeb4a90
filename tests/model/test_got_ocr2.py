"""GOT-OCR2 whole: logits, tokens and inputs are transformers' own, and the way back gives every bit back."""

import json

import pytest
import torch
from got_models import IMGPAD, for_theirs, our_inputs, picture, save_got, save_original, tiny_got
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GotOcr2Config,
    GotOcr2ForConditionalGeneration,
    GotOcr2Processor,
)

from samvlm import SamVisionTowerConfig, SamVlmForConditionalGeneration
from samvlm.data.tasks import messages as task_messages
from samvlm.model.got_ocr2 import find_got_ocr2, load_got_ocr2, save_as_got_ocr2
from samvlm.model.got_ocr2_layout import layout_of
from samvlm.model.got_ocr2_processing import instruction


@pytest.fixture(scope="module")
def theirs():
    return tiny_got()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    return save_got(theirs, tmp_path_factory.mktemp("got"))


@pytest.fixture(scope="module")
def ours(folder):
    return load_got_ocr2(folder)


@pytest.mark.parametrize("layout", ["transformers", "authors'", "in memory"])
@pytest.mark.parametrize("seed", [0, 3])
def test_logits(layout, seed, tmp_path):
    """In both layouts, and by the names that the tensors have in memory."""
    theirs = tiny_got(seed)
    folder = save_original(theirs, tmp_path / "o") if layout == "authors'" else save_got(theirs, tmp_path)
    if layout == "in memory":
        state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
        save_file(state, folder / "model.safetensors")
    model, processor = load_got_ocr2(folder)
    inputs = our_inputs(
        processor, [picture(50, 90, 1), picture(128, 128, 2)], ["OCR:", "[red] what is the for?"]
    )
    assert (
        inputs["attention_mask"].min() == 0 and inputs["attention_mask"][:, -1].min() == 1
    )  # padded at the left
    assert (inputs["input_ids"] == IMGPAD).sum(1).tolist() == [4, 4]
    with torch.no_grad():
        expected, found = theirs(**for_theirs(inputs)).logits, model(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert expected[real].std() > 0.5
    assert (found - expected)[real].abs().max() < 1e-4
    without = inputs["pixel_values"].flip(0)  # the images do matter
    assert (model(**{**inputs, "pixel_values": without}).logits - expected)[real].abs().max() > 0.05


def test_greedy_tokens(theirs, ours, folder):
    """As transformers' own example asks: a stop string there, an end token here; alone and in a batch."""
    model, processor = ours
    images = [picture(60, 200, 4), picture(300, 100, 5), picture(100, 100, 6)]
    texts = [instruction(), instruction(formatted=True), instruction(colour="red")]
    settings = {"do_sample": False, "max_new_tokens": 40, "suppress_tokens": [IMGPAD]}
    stop = {"stop_strings": "<|im_end|>", "tokenizer": processor.tokenizer}
    rows = []
    for image, text in zip(images, texts, strict=True):
        inputs = our_inputs(processor, [image], [text])
        expected = theirs.generate(**for_theirs(inputs), **settings, **stop)
        found = model.generate(**inputs, do_sample=False, max_new_tokens=40)
        assert torch.equal(found, expected)
        rows.append(found[0, inputs["input_ids"].shape[1] :].tolist())
    assert len({tuple(row) for row in rows}) == 3 and max(len(set(row)) for row in rows) > 5
    inputs = our_inputs(processor, images, texts)
    batch = model.generate(**inputs, do_sample=False, max_new_tokens=40)[:, inputs["input_ids"].shape[1] :]
    end = model.generation_config.eos_token_id
    for row, alone in zip(batch.tolist(), rows, strict=True):
        assert row[: len(alone)] == alone
        assert len(alone) == 40 or alone[-1] in end


def test_pages_of_a_document(ours, folder, theirs):
    """Several pages in one turn."""
    model, processor = ours
    pages = [picture(60, 200, 7), picture(90, 90, 8)]
    given = GotOcr2Processor.from_pretrained(folder)
    expected = given([pages], multi_page=True, num_image_tokens=4, return_tensors="pt")
    parts = [{"type": "image", "image": page} for page in pages]
    chat = [{"role": "user", "content": [*parts, {"type": "text", "text": instruction(pages=True)}]}]
    found = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert torch.equal(found["pixel_values"], expected["pixel_values"])
    assert (found["input_ids"] == IMGPAD).sum() == 8
    with torch.no_grad():
        logits = theirs(**for_theirs(found)).logits
        assert (model(**found).logits - logits).abs().max() < 1e-4


def test_reloaded(ours, theirs, tmp_path):
    """Saved as ours, the Auto classes load it, and nothing changes."""
    model, processor = ours
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert isinstance(again, SamVlmForConditionalGeneration)
    inputs = our_inputs(processor, [picture(50, 90, 1)], ["OCR:"])
    reread = our_inputs(AutoProcessor.from_pretrained(tmp_path), [picture(50, 90, 1)], ["OCR:"])
    for name in inputs:
        assert torch.equal(inputs[name], reread[name])
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
    assert again.generation_config.eos_token_id == model.generation_config.eos_token_id
    assert again.generation_config.max_new_tokens == 4096


def test_bfloat16(theirs, folder, tmp_path):
    """A checkpoint in bfloat16 stays in it, and errs from fp32 as little as transformers' own model does."""
    low = tiny_got().to(torch.bfloat16)
    model, processor = load_got_ocr2(save_got(low, tmp_path))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(
        torch.equal(tensor, low.state_dict()[_theirs(name)]) for name, tensor in model.state_dict().items()
    )
    inputs = our_inputs(processor, [picture(50, 90, 1)], ["OCR:"])
    with torch.no_grad():
        exact = low.float()(**for_theirs(inputs)).logits
        low.to(torch.bfloat16)
        ours = model(**inputs).logits.float()
        reference = low(
            **for_theirs({**inputs, "pixel_values": inputs["pixel_values"].bfloat16()})
        ).logits.float()
    assert (ours - exact).norm() < 1.2 * (reference - exact).norm()
    as_asked, _ = load_got_ocr2(folder, dtype="bfloat16")
    assert as_asked.dtype == torch.bfloat16


def _theirs(name: str) -> str:
    name = name.replace("compressor.convs.0", "conv_upsampler1").replace(
        "compressor.convs.1", "conv_upsampler2"
    )
    return name.replace("projector.layers.0", "projector.multimodal_projector")


@pytest.mark.parametrize("tied", [True, False])
def test_there_and_back(tied, tmp_path):
    """Every tensor bit for bit, under the names and in the dtype that it had, and the same configuration."""
    text = {"tie_word_embeddings": tied, "attention_dropout": 0.125}
    theirs = tiny_got(5, {"attention_dropout": 0.25}, **text).to(torch.bfloat16)
    theirs.config.image_seq_length = 123
    theirs.generation_config.repetition_penalty = 1.5
    source = save_got(theirs, tmp_path / "source")
    model, processor = load_got_ocr2(source)
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "ours", dtype="auto")
    save_as_got_ocr2(model, AutoProcessor.from_pretrained(tmp_path / "ours"), tmp_path / "back")
    given, found = (load_file(tmp_path / name / "model.safetensors") for name in ("source", "back"))
    assert ("language_model.lm_head.weight" in given) is not tied
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "back" / name).read_text()) == json.loads((source / name).read_text())
    again = GotOcr2ForConditionalGeneration.from_pretrained(tmp_path / "back")
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    image = picture(200, 77)
    expected, found = (
        AutoProcessor.from_pretrained(place)(image, return_tensors="pt", format=True)
        for place in (source, tmp_path / "back")
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_from_the_authors_to_transformers(theirs, tmp_path):
    """The other way round: what transformers' own conversion would make of the authors' checkpoint."""
    model, processor = load_got_ocr2(save_original(theirs, tmp_path / "original"))
    save_as_got_ocr2(model, processor, tmp_path / "back")
    again = GotOcr2ForConditionalGeneration.from_pretrained(tmp_path / "back")
    expected, found = theirs.state_dict(), again.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    inputs = AutoProcessor.from_pretrained(tmp_path / "back")(
        picture(70, 50), return_tensors="pt", num_image_tokens=4
    )
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, theirs(**inputs).logits)


def test_table_tokens(theirs, ours, folder):
    """With the OTSL tokens, the logits of all others stay, and a table is asked for in other words."""
    model, processor = load_got_ocr2(folder, table_tokens=True)
    inputs = our_inputs(processor, [picture(50, 90, 1)], ["OCR:"])
    with torch.no_grad():
        logits = model(**inputs).logits
        expected = theirs(**for_theirs(inputs)).logits
    assert logits.shape[-1] == expected.shape[-1] + 9
    assert (logits[..., : expected.shape[-1]] - expected).abs().max() < 1e-4
    pieces = ours[1].tokenizer("<fcel>", add_special_tokens=False)["input_ids"]
    (new,) = processor.tokenizer("<fcel>", add_special_tokens=False)["input_ids"]
    table = theirs.get_input_embeddings().weight
    assert torch.allclose(model.get_input_embeddings().weight[new], table[pieces].mean(0), atol=1e-6)
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    asked = processor.apply_chat_template(task_messages("table"), tokenize=False)
    assert "\nParse this table.<|im_end|>" in asked


def broken(folder, tmp_path, edit):
    """A copy of a checkpoint with its tensors edited."""
    import shutil

    copy = tmp_path / "broken"
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    edit(tensors)
    save_file(tensors, copy / "model.safetensors")
    return copy


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda t: t.pop("language_model.model.norm.weight"),
            "the model lacks model.language_model.norm.weight",
        ),
        (lambda t: t.update(extra=torch.ones(2)), "has tensors .*: extra"),
        (
            lambda t: t.update({"language_model.model.norm.weight": torch.ones(7)}),
            r"model.language_model.norm.weight \(7,\), expected \(24,\)",
        ),
        (lambda t: t["multi_modal_projector.multimodal_projector.bias"].fill_(float("nan")), "not finite"),
        (lambda t: t.update({"language_model.lm_head.weight": torch.ones(482, 24)}), "two different tables"),
        (lambda t: t.pop("multi_modal_projector.conv_upsampler1.weight"), "no GOT-OCR2"),
    ],
)
def test_broken_checkpoints(edit, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_got_ocr2(broken(folder, tmp_path, edit))


def test_lacking_files(folder, tmp_path):
    copy = broken(folder, tmp_path, lambda tensors: None)
    for name in ("tokenizer.json", "config.json"):
        (copy / name).unlink()
        with pytest.raises(ValueError, match=name.removesuffix(".json")):
            load_got_ocr2(copy)


class Published:
    """Names and shapes of a checkpoint without its numbers."""

    path = "stepfun-ai/GOT-OCR-2.0-hf"

    def __init__(self):
        with torch.device("meta"):
            model = GotOcr2ForConditionalGeneration(GotOcr2Config())
        saved = {name.replace("model.", "", 1): tensor for name, tensor in model.state_dict().items()}
        self.tensors = {
            name.replace("language_model.", "language_model.model."): tensor
            for name, tensor in saved.items()
            if name != "lm_head.weight"
        }
        self.names, self.config = list(self.tensors), GotOcr2Config().to_dict()

    def shape(self, name):
        return tuple(self.tensors[name].shape)

    def dtype(self, name):
        return torch.bfloat16

    def find(self, name):
        return None


def test_the_published_shapes(monkeypatch):
    """All of the published model has its place: ViT-B, 256 -> 512 -> 1024 channels, Qwen2 with 24 layers."""
    monkeypatch.setattr("samvlm.model.got_ocr2.open_checkpoint", lambda path: Published())
    source = find_got_ocr2("stepfun-ai/GOT-OCR-2.0-hf")
    tower, expected = source.config.vision_config, SamVisionTowerConfig.vit("b")
    for key in ("embed_dim", "num_hidden_layers", "num_attention_heads", "global_attn_indexes", "image_size"):
        assert getattr(tower, key) == getattr(expected, key)
    assert source.config.connector_conv_widths == [512, 1024]
    assert source.config.tie_word_embeddings and source.config.image_token_id == 151859
    assert "model: 471 tensors, 560,528,640 parameters, bfloat16" in source.report()
    assert "language model: qwen2, 24 layers, 151860 tokens" in source.report()


def test_layouts_apart():
    high = "model.vision_tower_high."
    original = [f"{high}net_2.weight", "model.mm_projector_vary.weight", "model.layers.0.mlp.up_proj.weight"]
    assert layout_of(original) == "original"
    assert layout_of([*original, "model.vision_tower.vision_model.post_layernorm.weight"]) is None  # Vary
    assert layout_of(["multi_modal_projector.conv_upsampler1.weight"]) == "transformers"
    assert layout_of(["model.sam_model.net_2.weight", "model.layers.0.mlp.up_proj.weight"]) is None


def test_another_connector_has_no_way_back(tiny_checkpoint, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    with pytest.raises(ValueError, match="connector_compressor='avg_pool'"):
        save_as_got_ocr2(model, AutoProcessor.from_pretrained(tiny_checkpoint), tmp_path)
