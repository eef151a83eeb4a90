"""YAML values into dataclasses: types are checked and converted, unknown keys get the nearest name."""

import dataclasses
import difflib
import types
import typing
from typing import Any, Literal

import yaml


def apply_override(document: dict, override: str) -> None:
    """Set `section.key=value` in a document, the value as YAML. Raises ValueError."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override!r}: write section.key=value.")
    *sections, last = key.split(".")
    place = document
    for section in sections:
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
        if not isinstance(place, dict):
            raise ValueError(f"{override!r}: {section} is not a section.")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{override!r}: the value is not valid YAML; quote it.") from None


def build(kind: type, values: Any, where: str) -> Any:
    """A dataclass from a mapping; fields that are dataclasses are built likewise. Raises ValueError with `where`."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping, got {values!r}.")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(fields)}."
            raise ValueError(f"{where}: unknown key {key!r}: {hint}")
    built = {}
    for name in fields:
        if dataclasses.is_dataclass(hints[name]):
            built[name] = build(hints[name], values.get(name) or {}, f"{where}: {name}")
        elif name in values:
            built[name] = _convert(hints[name], values[name], f"{where}: {name}")
    try:
        return kind(**built)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as `hint` wants it; YAML reads 1e-4 as text, and numbers may come whole."""
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in choices:
            return value
        raise ValueError(f"{where}={value!r}: choose one of {', '.join(map(str, choices))}.")
    if isinstance(hint, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _convert(next(c for c in choices if c is not type(None)), value, where)
    plain = typing.get_origin(hint) or hint
    try:
        if plain is float and not isinstance(value, bool):
            return float(value)
        if plain is int and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}={value!r}: a number is needed.") from None
    if plain is dict and isinstance(value, dict) and choices and choices[1] is float:
        return {key: _convert(float, item, f"{where}.{key}") for key, item in value.items()}
    if plain is list and isinstance(value, list) and choices and choices[0] in (int, str):
        return [_convert(choices[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        raise ValueError(f"{where}={value!r}: expected {plain.__name__}.")
    return value
