"""The fused attention kernel: the definition's numbers at every shape, and no harm where it is missing or wrong."""

import ctypes

import pytest
import torch
from sam_reference import relative_error

from samvlm.model import native_attention
from samvlm.model.configuration_samvlm import SamVisionTowerConfig
from samvlm.model.native import build
from samvlm.model.native_attention import attention, reversed_table, works
from samvlm.model.vision_layers import SamAttention

SHAPES = [  # batch, height, width, heads, head_dim, window, positions of the tables
    (1, 14, 14, 2, 64, 14, 14),
    (2, 20, 33, 3, 64, 14, 14),
    (1, 17, 64, 2, 64, 14, 14),
    (1, 9, 70, 2, 80, 14, 14),
    (1, 12, 7, 1, 16, 7, 7),
    (3, 16, 16, 2, 64, 0, 16),
    (1, 64, 20, 2, 64, 0, 64),
    (1, 17, 64, 1, 80, 0, 64),
    (1, 1, 1, 2, 64, 0, 64),
    (1, 1, 37, 2, 64, 0, 64),
    (1, 70, 70, 1, 64, 0, 70),
    (1, 5, 3, 2, 34, 0, 8),
]


@pytest.fixture(autouse=True, scope="module")
def kernel():
    if native_attention.library() is None:
        pytest.skip("samvlm was installed without a C++ compiler")


def draw(shape, dtype=torch.float32, seed=0):
    """Queries, keys and values; the bias; the two tables."""
    batch, height, width, heads, dim, _, positions = shape
    generator = torch.Generator().manual_seed(seed)
    qkv = 1.5 * torch.randn(batch, height, width, 3 * heads * dim, generator=generator)
    bias = torch.randn(3 * heads * dim, generator=generator)
    tables = 0.2 * torch.randn(2, 2 * positions - 1, dim, generator=generator)
    return qkv.to(dtype), bias.to(dtype), *tables.to(dtype)


def definition(shape, qkv, bias, rows, columns):
    """The plain path in float64."""
    _, _, _, heads, dim, window, positions = shape
    config = SamVisionTowerConfig(
        embed_dim=heads * dim, num_attention_heads=heads, image_size=16 * positions, attention_path="plain",
        qkv_bias=bias is not None,
    )  # fmt: skip
    module = SamAttention(config, window).double()
    with torch.no_grad():
        module.rel_pos_h.copy_(rows)
        module.rel_pos_w.copy_(columns)
        if bias is not None:
            module.qkv.bias.copy_(bias)
        return module.attend_places(qkv.double())


def run(shape, qkv, bias, rows, columns):
    return attention(qkv, bias, reversed_table(rows), reversed_table(columns), shape[3], shape[5])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 3e-6), (torch.bfloat16, 3e-3)], ids=str)
def test_it_is_the_definition(shape, dtype, limit):
    parts = draw(shape, dtype)
    found = run(shape, *parts)
    assert found.dtype == dtype and found.is_contiguous()
    assert relative_error(found.double(), definition(shape, *parts)) < limit


@pytest.mark.parametrize("name", build.SETS)
def test_every_instruction_set_of_this_processor_agrees(name, monkeypatch):
    library = native_attention.library()
    kernel = getattr(library, f"attention_{name}", None)
    order = list(build.SETS)
    if kernel is None or order.index(name) > order.index(native_attention.instruction_set()):
        pytest.skip("not for this processor")

    class Library:
        def samvlm_attention(self, job, threads):
            return kernel(job)

    monkeypatch.setattr(native_attention, "library", Library)
    for shape in (SHAPES[1], SHAPES[5], SHAPES[6]):
        for dtype, limit in ((torch.float32, 3e-6), (torch.bfloat16, 3e-3)):
            parts = draw(shape, dtype, seed=1)
            assert relative_error(run(shape, *parts).double(), definition(shape, *parts)) < limit


def test_places_outside_the_image_may_have_no_bias():
    shape = SHAPES[1]
    qkv, _, rows, columns = draw(shape)
    found = run(shape, qkv, None, rows, columns)
    assert relative_error(found.double(), definition(shape, qkv, None, rows, columns)) < 3e-6


def test_views_and_any_number_of_threads(monkeypatch):
    shape = SHAPES[5]
    qkv, *rest = draw(shape)
    expected = run(shape, qkv, *rest)
    view = torch.stack([qkv, qkv], dim=-1)[..., 0]
    for threads in (1, 3, 400):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(run(shape, view, *rest), expected)


def test_large_logits_stay_numbers():
    shape = SHAPES[5]
    qkv, *rest = draw(shape)
    found = run(shape, 300 * qkv, *rest)
    assert found.isfinite().all()
    assert relative_error(found.double(), definition(shape, 300 * qkv, *rest)) < 1e-3


def test_what_is_no_number_does_not_vanish():
    shape = SHAPES[5]
    qkv, *rest = draw(shape)
    qkv[1, 3, 4, 5] = torch.nan  # a query of head 0
    found = run(shape, qkv, *rest)
    assert found[1, 3, 4].isnan().any() and found[0].isfinite().all()
    qkv[1] = torch.nan
    assert run(shape, qkv, *rest)[1].isnan().all()


def test_it_works_here():
    assert works(torch.float32) and works(torch.bfloat16)


@pytest.mark.parametrize(
    "fault", [torch.zeros_like, lambda right: right + 0.1, lambda right: right * torch.nan]
)
def test_wrong_numbers_are_noticed(fault, monkeypatch, caplog):
    right = native_attention.attention
    monkeypatch.setattr(native_attention, "attention", lambda *arguments: fault(right(*arguments)))
    assert not works.__wrapped__(torch.float32)
    assert "wrong numbers" in caplog.text


def test_a_damaged_library_is_told_and_left_aside(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(native_attention, "LIBRARY", tmp_path / "attention.dso")
    assert native_attention.library.__wrapped__() is None and not caplog.text
    (tmp_path / "attention.dso").write_bytes(b"\x7fELF and nothing more")
    assert native_attention.library.__wrapped__() is None
    assert "attention.dso cannot be used" in caplog.text


def test_a_library_of_other_sources_is_told_and_left_aside(monkeypatch, caplog):
    if native_attention.library() is None:
        pytest.skip("no compiled kernel here")
    monkeypatch.setattr(native_attention, "VERSION", native_attention.VERSION + 1)
    assert native_attention.library.__wrapped__() is None
    assert "python -m samvlm.model.native.build" in caplog.text


def test_it_is_built_from_its_source(tmp_path, monkeypatch):
    if build.compiler() is None:
        pytest.skip("no C++ compiler")
    library = build.build(tmp_path / "attention.dso")
    assert hasattr(ctypes.CDLL(str(library)), "samvlm_attention")
    assert [path.name for path in tmp_path.iterdir()] == ["attention.dso"]
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(OSError, match="failed"):
        build.build(library)
    assert hasattr(ctypes.CDLL(str(library)), "samvlm_attention")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(OSError, match="install one"):
        build.build(library)
