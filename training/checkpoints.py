"""Checkpoints on disk: whole or not there.

A checkpoint is written in `checkpoint-N.partial`, every file of it goes to the disk (fsync), `manifest.json` lists the
files with sizes and SHA-256, and only then the folder gets its name, `checkpoint-N`. So whatever ends a run, and
whenever, a folder of that name is complete; what bad disks and hands do to it later, the manifest shows.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from samvlm.data.whole_files import ASIDE

logger = logging.getLogger("samvlm.training")

MANIFEST = "manifest.json"
PARTIAL, DELETED = ".partial", ".deleted"  # endings of folders that are being written, and taken away
RESULT = "result" + PARTIAL  # where a stage's result is written before its files move to the stage's folder
NAME = re.compile(r"checkpoint-(\d+)")
STALE = re.compile(rf"(?:checkpoint-\d+|result)(?:{re.escape(PARTIAL)}|{re.escape(DELETED)})")
OPTIMIZER_PART = re.compile(r"zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt$|^optimizer_(\d+)\.pt$")
BLOCK = 1 << 22


def steps_of(checkpoint: Path) -> int:
    """The optimizer steps that a checkpoint has behind it."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]


def best_of(checkpoint: Path) -> list[Path]:
    """The checkpoint that had the best scores so far, beside this one of its checkpoints; [] if there are no scores."""
    history = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")).get(
        "log_history", ()
    )
    steps = [line["eval_best_step"] for line in history if "eval_best_step" in line]
    return [checkpoint.parent / f"checkpoint-{steps[-1]}"] if steps else []


def checkpoints_in(folder: Path) -> list[Path]:
    """The folders `checkpoint-N` of a stage's folder, complete or not, by N."""
    found = [path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(NAME.fullmatch(path.name)[1]))


def last_complete(folder: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The last complete checkpoint of a stage's folder (None: there is none), and those behind it that are not
    complete, each with the reason. Every byte of what is chosen has been read and found right."""
    unfinished = [path for path in folder.glob(f"checkpoint-*{PARTIAL}") if STALE.fullmatch(path.name)]
    passed_over = [(path, "its save was not finished") for path in sorted(unfinished)]
    for path in reversed(checkpoints_in(folder)):
        reason = problem(path)
        if reason is None:
            return path, passed_over
        passed_over.append((path, reason))
    return None, passed_over


def problem(checkpoint: Path, read: bool = True) -> str | None:
    """Why a checkpoint is not complete, with the name of the file; None if it is.

    Args:
        read: compare every file's SHA-256 too, not its size alone.
    """
    if not (checkpoint / MANIFEST).is_file():
        return f"{MANIFEST} is missing"
    try:
        manifest = read_manifest(checkpoint)
        listed = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
        missing = missing_state(set(listed), int(manifest["world_size"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    if missing is not None:
        return f"{missing} is missing"
    for name, (size, _) in listed.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        found = (checkpoint / name).stat().st_size
        if found != size:
            return f"{name} has {found:,} of {size:,} bytes"
    if read:
        digests = _digests([checkpoint / name for name in listed])
        for (name, (_, wanted)), found in zip(listed.items(), digests, strict=True):
            if found != wanted:
                return f"{name} is damaged (its SHA-256 is not the manifest's)"
    return None


def missing_state(names: set[str], world_size: int) -> str | None:
    """The first file of a run's state that is not among `names`: without it a resumed run would go on as another
    one, and nothing would tell. With DeepSpeed and FSDP every process has a part of the optimizer's state."""
    deepspeed = any(name.startswith("global_step") for name in names)
    if "trainer_state.json" not in names:
        return "trainer_state.json"
    if not any(name.endswith((".safetensors", ".bin", ".distcp")) or deepspeed for name in names):
        return "model.safetensors"
    parts = {match[1] or match[2]: name for name in names if (match := OPTIMIZER_PART.search(name))}
    if "optimizer.pt" not in names and not parts:
        return "optimizer.pt"
    lost = [rank for rank in range(world_size) if str(rank) not in parts]
    if parts and lost:
        return f"the optimizer's state of process {lost[0]}"
    if deepspeed and not any(name.endswith("_model_states.pt") for name in names):
        return "DeepSpeed's model_states.pt"
    if "scheduler.pt" not in names:
        return "scheduler.pt"
    ranks = ["rng_state.pth"] if world_size == 1 else [f"rng_state_{rank}.pth" for rank in range(world_size)]
    return next((name for name in ranks if name not in names), None)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest. Raises ValueError where it is none."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"{folder / MANIFEST} lists no files.")
    return manifest


def seal(folder: Path, **about: Any) -> None:
    """Bring every file of a folder to the disk, and list them all in its manifest, beside what `about` says."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        _sync(path)
    entries = zip(files, _digests(files), strict=True)
    listed = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": digest}
        for path, digest in entries
    }
    text = json.dumps({**about, "files": listed}, indent=1, default=str)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    _sync(folder / MANIFEST)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(path)


def finish(partial: Path, final: Path) -> None:
    """Give a sealed folder its name; a damaged or older one that has it makes way."""
    if final.exists():
        remove(final)
    os.replace(partial, final)
    _sync(final.parent)


def publish(partial: Path, folder: Path) -> None:
    """Move the files of a sealed folder to `folder`, the manifest last: what has one is complete."""
    old = _listed(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    _sync(folder)
    new = _listed(partial)
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / name, folder / name)
    for name in old - new:
        (folder / name).unlink(missing_ok=True)
    _sync(folder)
    os.replace(partial / MANIFEST, folder / MANIFEST)
    _sync(folder)
    shutil.rmtree(partial)


def has_result(folder: Path) -> bool:
    """Whether a stage's folder holds its result. (What people do to its files later is their affair.)"""
    listed = _listed(folder)
    return bool(listed) and all((folder / name).is_file() for name in listed)


def rotate(folder: Path, keep: int, spared: set[Path]) -> None:
    """Leave the newest `keep` complete checkpoints and the spared ones; the others go, incomplete ones too.

    Args:
        keep: 0 or less: all of them.
    """
    if keep <= 0:
        return
    present = checkpoints_in(folder)
    complete = [path for path in present if problem(path, read=False) is None]
    stay = {path.resolve() for path in (*complete[-keep:], *spared)}
    for path in present if complete else ():
        if path.resolve() not in stay:
            remove(path)


def remove(folder: Path) -> None:
    """Take a folder away. It loses its name first: none that is half deleted passes for a checkpoint."""
    deleted = folder.with_name(folder.name + DELETED)
    shutil.rmtree(deleted, ignore_errors=True)
    os.replace(folder, deleted)
    shutil.rmtree(deleted, ignore_errors=True)


def clear_stale(folder: Path) -> None:
    """Take away what saves that were cut off have left in a stage's folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if STALE.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(ASIDE) and path.is_file():
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digests(paths: list[Path]) -> list[str]:
    """SHA-256 of many files; hashing lets other threads run."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(sha256_of, paths))


def _listed(folder: Path) -> set[str]:
    """The names in a folder's manifest; none where it has none."""
    try:
        return set(read_manifest(folder)["files"])
    except (OSError, ValueError):
        return set()


def _sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk (POSIX; elsewhere a folder cannot be opened)."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
