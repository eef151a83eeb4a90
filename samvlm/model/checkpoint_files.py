"""Weight files of any kind, lazily: names and shapes first, a tensor only when it is asked for, never any code."""

import json
import pickle
import re
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import cached_file

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
WRAPPERS = ("state_dict", "model", "module", "model_state_dict")  # as training frameworks wrap the weights
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class Checkpoint:
    """The tensors of a checkpoint by their names in it. Shapes and dtypes come from the headers; of a sharded one,
    only the shards are opened (or fetched) whose tensors are asked for.

    path:   what was opened, as the user named it
    config: the whole `config.json` beside the weights; {} without one
    names:  of all tensors
    """

    def __init__(self, path: str, places: dict[str, str], files: dict[str, "WeightFile"], config: dict):
        self.path, self.config = path, config
        self.names = list(places)
        self._places, self._files = places, files

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor. Raises ValueError where the file that should hold it is missing or damaged."""
        return self._file(name).shape(name)

    def dtype(self, name: str) -> torch.dtype | None:
        """Of a tensor; None for the kinds of numbers that torch has no plain dtype for."""
        return self._file(name).dtype(name)

    def read(self, name: str) -> torch.Tensor:
        """A tensor, in memory of its own. Raises ValueError where the file is missing or damaged."""
        return self._file(name).read(name)

    def find(self, name: str) -> Path | None:
        """Another file beside the weights, such as `tokenizer.json`; None where there is none."""
        if Path(self.path).expanduser().is_file():
            return None
        file = find(self.path, name)
        return Path(file) if file else None

    def _file(self, name: str) -> "WeightFile":
        place = self._places[name]
        if place not in self._files:
            file = find(self.path, place)
            if not file:
                raise ValueError(f"{self.path}: its index names {place}, which is not there: fetch it again.")
            self._files[place] = WeightFile(Path(file))
        file = self._files[place]
        if name not in file:
            raise ValueError(
                f"{self.path}: {place} lacks {name}, which the index says it holds: fetch it again."
            )
        return file


class WeightFile:
    """One `.pth`, `.pt`, `.bin` or `.safetensors` file."""

    def __init__(self, path: Path):
        self.path = path
        head = read_head(path)
        self._tensors: dict[str, torch.Tensor] | None = None
        if path.suffix == ".safetensors" or head[8:9] == b"{":
            try:
                self._handle = safe_open(path, framework="pt")
                self.names = list(self._handle.keys())
            except SafetensorError as error:
                raise ValueError(
                    f"{path} is truncated or no safetensors file ({error}): download it again."
                ) from error
        else:
            self._tensors = load_pickle(path, lazily=head.startswith(b"PK"))
            self.names = list(self._tensors)

        self._known = frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        if self._tensors is not None:
            return tuple(self._tensors[name].shape)
        return tuple(self._handle.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype | None:
        """Of a tensor; None for the kinds of numbers that torch has no plain dtype for."""
        if self._tensors is not None:
            tensor = self._tensors[name]
            plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta)
            return tensor.dtype if plain else None
        return SAFETENSORS_DTYPES.get(self._handle.get_slice(name).get_dtype())

    def read(self, name: str) -> torch.Tensor:
        """A tensor, in memory of its own (not a view of the file, which may change or vanish)."""
        tensor = self._tensors[name] if self._tensors is not None else self._handle.get_tensor(name)
        return tensor.detach().clone(memory_format=torch.contiguous_format)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a weight file, a folder or a hub repository; nothing but headers and indexes is read.

    Args:
        path: a `.pth`, `.pt`, `.bin` or `.safetensors` file; a folder or a hub name with `model.safetensors` or
            `pytorch_model.bin`, whole or in shards; a folder with one weight file of any other name.

    Raises:
        ValueError: there is no such place, or it holds no weights that can be read without running code.
    """
    path = str(path)
    if not path.strip():
        raise ValueError("the path is empty: give a weight file, a folder or a hub name.")
    place = Path(path).expanduser()
    if place.is_file():
        file = WeightFile(place)
        return Checkpoint(path, dict.fromkeys(file.names, place.name), {place.name: file}, {})
    looks_local = path.startswith(("/", ".", "~")) or place.suffix in SUFFIXES
    if not place.is_dir() and looks_local:
        raise ValueError(
            f"{path} does not exist: give a SAM .pth file, or a Hugging Face folder or hub name."
        )
    config_file = find(path, "config.json")
    config = read_json(Path(config_file)) if config_file else {}
    for name in SINGLE_FILES:
        found = find(path, name)
        if found:
            file = WeightFile(Path(found))
            return Checkpoint(path, dict.fromkeys(file.names, name), {name: file}, config)
    for name in INDEX_FILES:
        found = find(path, name)
        if found:
            return Checkpoint(path, read_index(Path(found), path), {}, config)
    if not place.is_dir():
        raise ValueError(f"{path} is neither a file or folder here nor a hub repository within reach.")
    others = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(others) == 1:
        file = WeightFile(others[0])
        return Checkpoint(path, dict.fromkeys(file.names, others[0].name), {others[0].name: file}, config)
    several = f", but {len(others)} weight files: name the one that you mean" if others else ""
    raise ValueError(f"{path} has none of {', '.join(SINGLE_FILES + INDEX_FILES)}{several}.")


def find(path: str, name: str) -> str | None:
    """Where file `name` of a folder or hub repository lies on this machine, None if it has no such file."""
    try:
        return cached_file(str(Path(path).expanduser()) if path.startswith("~") else path, name)
    except OSError:
        return None


def read_index(file: Path, path: str) -> dict[str, str]:
    """The file of each tensor, of a checkpoint in shards."""
    places = read_json(file).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise ValueError(f"{path}: {file.name} has no weight_map: fetch it again.")
    outside = [place for place in places.values() if Path(place).name != place]
    if outside:
        raise ValueError(f"{path}: {file.name} names {outside[0]!r}, which is no file of the folder.")
    return places


def read_json(file: Path) -> dict:
    """An object from a JSON file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is no JSON file ({error}): fetch it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} should hold a JSON object: fetch it again.")
    return content


def read_head(file: Path) -> bytes:
    """The first bytes of a weight file. Raises ValueError where they show that it is none."""
    with open(file, "rb") as stream:
        head = stream.read(64)
    if not head:
        raise ValueError(f"{file} is empty: download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` beside it.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{file} is a web page, not weights: download the file behind the link.")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise ValueError(f"{file} is a text, no checkpoint: give a .pth, .bin or .safetensors file.")
    return head


def load_pickle(file: Path, lazily: bool) -> dict[str, torch.Tensor]:
    """The tensors of a file of torch.save; `lazily` (zip files only) as views of the file, which stays on the disk."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=lazily)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = named[1] if named else "Python objects, or is no checkpoint"
        raise ValueError(
            f"{file} is not a plain file of tensors (it holds {what}) and was not opened for safety: save its state dict alone with torch.save, or as safetensors."
        ) from error
    except Exception as error:  # of any kind: the file's bytes decide how far the reader gets
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{file} is truncated or no checkpoint ({reason}): download it again.") from error
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = {}
    if isinstance(content, dict):
        tensors = {
            name: value for name, value in content.items() if isinstance(name, str) and torch.is_tensor(value)
        }
    if not tensors:
        raise ValueError(f"{file} holds no tensors by name: it is no checkpoint.")
    return tensors


def common_dtype(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """The narrowest dtype that holds numbers of each of `dtypes`, of which there is one at least, as they are."""
    return reduce(torch.promote_types, dtypes)
