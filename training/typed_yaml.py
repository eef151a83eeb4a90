"""YAML values into dataclasses: types are checked and converted, unknown keys get the nearest name, none stands twice."""

import dataclasses
import difflib
import types
import typing
from typing import Any, Literal

import yaml


class _EachKeyOnce(yaml.SafeLoader):
    """Reads YAML as `yaml.safe_load` does, but for keys that stand twice, of which that would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        places: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in places:
                    raise ValueError(
                        f"the key {key.value!r} stands twice, in line {places[key.value]} and in line {line}: leave "
                        "one of them out."
                    )
                places[key.value] = line
        return super().construct_mapping(node, deep)


def read_documents(text: str) -> list[Any]:
    """The documents of a YAML text. Raises yaml.YAMLError, and ValueError for a key that stands twice."""
    return list(yaml.load_all(text, _EachKeyOnce))


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
    built = typed(kind, values, where)
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            built[name] = build(hint, values.get(name) or {}, f"{where}: {name}")
    try:
        return kind(**built)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def typed(kind: type, values: Any, where: str) -> dict[str, Any]:
    """The values of a mapping as the fields of a dataclass want them, without its fields that are dataclasses.

    Raises ValueError with `where` for what is no field, or no value for it.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping, got {values!r}.")
    fields = [field.name for field in dataclasses.fields(kind)]
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(fields)}."
            raise ValueError(f"{where}: unknown key {key!r}: {hint}")
    plain = {name: value for name, value in values.items() if not dataclasses.is_dataclass(hints[name])}
    return {name: _convert(hints[name], value, f"{where}: {name}") for name, value in plain.items()}


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
    if plain is tuple:  # of so many values; YAML has lists only
        if not isinstance(value, list | tuple) or len(value) != len(choices):
            raise ValueError(f"{where}={value!r}: a list of {len(choices)} is needed.")
        return [_convert(choices[i], item, f"{where}[{i}]") for i, item in enumerate(value)]
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
