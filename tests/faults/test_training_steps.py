"""Runs in which steps go wrong: no number, no memory, no label, no sample, a worker that dies or hangs."""

import json
import os
import time

import pytest
import torch
from PIL import Image
from readers import build_reader
from short_runs import log_of, weights, write_recipe

from samvlm.data.images import open_image
from training.faults import StepGuard, TrainingStopped, require_finite
from training.micro_batches import MicroBatches, cut
from training.objective import Objective
from training.train import main


@pytest.fixture(scope="module")
def reader_folder(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("reader")
    model, processor = build_reader()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def write_records(folder, count: int, broken=()) -> str:
    for number in range(count):
        Image.effect_noise((64, 64), 60).convert("RGB").save(folder / f"{number}.png")
    for number in broken:
        data = (folder / f"{number}.png").read_bytes()
        (folder / f"{number}.png").write_bytes(data[: len(data) // 2])
    lines = [
        json.dumps(
            {"id": f"r{n}", "image": f"{n}.png", "task": "table", "target": {"otsl": f"<fcel>{n}<nl>"}}
        )
        for n in range(count)
    ]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder / "records.jsonl")


def spoil(monkeypatch, steps, how) -> None:
    """Let the objective's results of some calls (from 1) go through `how`."""
    calls = iter(range(1, 10_000))
    right = Objective.forward

    def forward(self, *args, **kwargs):
        loss, figures = right(self, *args, **kwargs)
        return (how(loss) if next(calls) in steps else loss), figures

    monkeypatch.setattr(Objective, "forward", forward)


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("how", [lambda loss: loss * float("nan"), lambda loss: loss * 1e30 * 1e30])
def test_a_step_that_is_no_number_is_not_taken_and_its_samples_are_written_down(
    how, tmp_path, reader_folder, monkeypatch, caplog
):
    recipe = write_recipe(tmp_path, reader_folder, trainer={"logging_steps": 4, "warmup_steps": 0})
    spoil(monkeypatch, {3}, how)
    assert main([str(recipe)]) == 0
    folder = tmp_path / "out" / "1-instruct"
    (bad,) = lines_of(folder / "bad_steps.jsonl")
    assert bad["step"] == 3 and bad["samples"] and all(name.startswith("strip-1-") for name in bad["samples"])
    (log,) = log_of(folder)
    assert log["bad_steps"] == 1 and 0 < log["loss"] < 1e3
    assert "step 3 was not taken" in caplog.text
    assert all(value.isfinite().all() for value in weights(folder).values())


def test_a_step_that_is_not_taken_changes_no_weight(tmp_path, reader_folder, monkeypatch):
    recipe = write_recipe(tmp_path, reader_folder, trainer={"save_steps": 1, "save_total_limit": 9})
    spoil(monkeypatch, {2}, lambda loss: loss * float("nan"))
    assert main([str(recipe)]) == 0
    one, two, three = (weights(tmp_path / "out" / "1-instruct" / f"checkpoint-{n}") for n in (1, 2, 3))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(two[name], three[name]) for name in one)


def test_bad_steps_in_a_row_end_the_run(tmp_path, reader_folder, monkeypatch, capsys):
    recipe = write_recipe(
        tmp_path, reader_folder, trainer={"max_steps": 9, "max_bad_steps": 3, "save_steps": 2}
    )
    spoil(monkeypatch, {2, 4, 5, 6, 7}, lambda loss: loss * float("nan"))
    assert main([str(recipe)]) == 1
    assert "3 steps in a row" in capsys.readouterr().err
    folder = tmp_path / "out" / "1-instruct"
    assert [line["step"] for line in lines_of(folder / "bad_steps.jsonl")] == [2, 4, 5, 6]
    assert not (folder / "model.safetensors").exists()


def test_weights_that_are_no_numbers_are_never_saved():
    model, _ = build_reader()
    require_finite(model)
    with torch.no_grad():
        next(model.model.multi_modal_projector.parameters()).flatten()[0] = float("nan")
    with pytest.raises(TrainingStopped, match="multi_modal_projector"):
        require_finite(model)


def test_a_leaping_loss_is_told_with_its_samples(tmp_path, caplog):
    guard = StepGuard(tmp_path, most=3)
    for step in range(1, 81):
        guard.add([f"s{step}"], torch.tensor(2.0 + 0.01 * (step % 7) + 5.0 * (step == 70)))
        assert guard.judge(step, 1.0)
    (spike,) = lines_of(tmp_path / "spikes.jsonl")
    assert (spike["step"], spike["samples"]) == (70, ["s70"])
    assert "step 70: loss 7 leaps" in caplog.text


def test_broken_samples_are_skipped_counted_and_written_down(tmp_path, reader_folder):
    records = write_records(tmp_path, 20, broken=[3])
    with open(records, "a") as file:
        file.write('{"id": "torn", "ima\n')
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}], "max_pixels": 400_000, "workers": 2},
        trainer={"max_steps": 6, "logging_steps": 6},
    )
    assert main([str(recipe)]) == 0
    folder = tmp_path / "out" / "1-instruct"
    refused = {line["id"]: line for line in lines_of(folder / "refused.jsonl")}
    assert refused["r3"]["where"] == str(tmp_path / "3.png") and refused["r3"]["reason"]
    assert "no JSON" in refused[""]["reason"] and refused[""]["where"].endswith("records.jsonl:21")
    (log,) = log_of(folder)
    assert log["refused"] >= 1


def test_too_many_broken_samples_end_the_run(tmp_path, reader_folder, capsys):
    records = write_records(tmp_path, 20, broken=range(6))
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}], "max_pixels": 400_000},
        trainer={"max_steps": 20, "save_steps": 99},
    )
    assert main([str(recipe)]) == 1
    err = capsys.readouterr().err
    assert "data.max_refused=0.1" in err and "refused.jsonl" in err
    assert main([str(recipe), "data.max_refused=0.5", f"trainer.output_dir={tmp_path / 'b'}"]) == 0


def test_a_batch_without_labels_is_counted_and_teaches_nothing(tmp_path, reader_folder):
    records = write_records(tmp_path, 8)
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}], "max_tokens": 3, "max_refused": 1.0},
        trainer={"logging_steps": 4},
    )
    assert main([str(recipe)]) == 0
    folder = tmp_path / "out" / "1-instruct"
    (log,) = log_of(folder)
    assert log["without_labels"] == 4 and log["loss"] == 0 and log["grad_norm"] == 0
    assert all("more than the 3 allowed" in line["reason"] for line in lines_of(folder / "refused.jsonl"))


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_step(
    tmp_path, reader_folder, monkeypatch, caplog
):
    """A forward or backward with more than two rows has no memory; the weights end up those of whole batches."""
    recipe = write_recipe(
        tmp_path, reader_folder, data={"max_pixels": 65536}, trainer={"gradient_accumulation_steps": 2}
    )
    assert main([str(recipe)]) == 0
    right, seen = Objective.forward, []

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, grad):
            raise torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, *args, **kwargs):
        rows = len(kwargs["input_ids"])
        seen.append(rows)
        loss, figures = right(self, *args, **kwargs)
        return (Full.apply(loss) if rows > 2 and len(seen) > 1 else loss), figures

    monkeypatch.setattr(Objective, "forward", forward)
    assert main([str(recipe), f"trainer.output_dir={tmp_path / 'halves'}"]) == 0
    assert seen[0] > 2 and max(seen[-4:]) <= 2
    assert "out of memory: micro-batches are run in" in caplog.text
    one, two = weights(tmp_path / "out" / "1-instruct"), weights(tmp_path / "halves" / "1-instruct")
    assert all(torch.allclose(one[name], two[name], atol=2e-5) for name in one)


def test_one_sample_that_does_not_fit_ends_with_the_remedy():
    def step(piece, share):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    batch = {"input_ids": torch.ones(4, 3), "labels": torch.ones(4, 3)}
    with pytest.raises(TrainingStopped, match=r"one sample alone.*data\.max_pixels"):
        MicroBatches(lambda: None, alone=True).run(step, batch)
    with pytest.raises(TrainingStopped, match="of one process"):
        MicroBatches(lambda: None, alone=False).run(step, batch)
    with pytest.raises(RuntimeError, match="something else"):
        MicroBatches(lambda: None, alone=True).run(
            lambda *_: (_ for _ in ()).throw(RuntimeError("something else")), batch
        )


def test_pieces_share_the_loss_by_their_labels():
    labels = torch.tensor([[-100, 5, 5], [-100, -100, 5], [-100, 5, -100], [5, 5, 5]])
    pieces = cut({"labels": labels, "no": 3}, 2)
    assert [share for _, share in pieces] == [3 / 6, 3 / 6]
    assert torch.equal(torch.cat([piece["labels"] for piece, _ in pieces]), labels)


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_a_worker_that_dies_or_hangs_ends_in_a_clear_error(
    fault, tmp_path, reader_folder, monkeypatch, capsys
):
    records = write_records(tmp_path, 8)
    parent = os.getpid()

    def fail(*args, **kwargs):
        if os.getpid() == parent:  # the pre-flight
            return open_image(*args, **kwargs)
        if fault == "dies":
            os._exit(9)
        return time.sleep(60)

    monkeypatch.setattr("samvlm.data.samples.open_image", fail)
    recipe = write_recipe(
        tmp_path,
        reader_folder,
        data={"sources": [{"records": records}], "workers": 1, "worker_timeout": 2.0},
    )
    start = time.monotonic()
    assert main([str(recipe)]) == 1
    err = capsys.readouterr().err
    assert "data.workers" in err and "--resume auto" in err and "Traceback" not in err
    assert time.monotonic() - start < 30
