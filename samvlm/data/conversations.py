"""Chat turns as people store them (ours, LLaVA's `conversations`) brought to one form and checked."""

from __future__ import annotations

from typing import Any

IMAGE = "<image>"
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def read_conversation(given: Any, has_image: bool) -> list[dict[str, Any]]:
    """Return turns of {"role", "content": parts}, parts as processors take them.

    given: turns of role and content (a text, in which `<image>` marks the image, or a list of parts) or of LLaVA's
    `from` and `value`. The mark may be left out: the image then comes first. Raises ValueError with the remedy if
    turns do not alternate, are empty, or hold another number of images than the record.
    """
    if not isinstance(given, list) or not given:
        raise ValueError(f"'messages' is {given!r}; give a list of turns")
    chat = [_turn(turn) for turn in given]
    roles = [turn["role"] for turn in chat if turn["role"] != "system"]
    if not roles or roles != [("user", "assistant")[number % 2] for number in range(len(roles))]:
        raise ValueError(f"the turns are by {', '.join(roles) or 'nobody'}; they must alternate, user first")
    if any(turn["role"] == "system" for turn in chat[1:]):
        raise ValueError("a system turn stands after another; only the first may be one")
    count = sum(part["type"] == "image" for turn in chat for part in turn["content"])
    if has_image and count == 0:
        first = next(turn for turn in chat if turn["role"] == "user")
        first["content"].insert(0, {"type": "image"})
    elif count != has_image:
        raise ValueError(
            f"the turns hold {count} {IMAGE} but the record has {int(has_image)} image; use one {IMAGE} for it"
        )
    for turn in chat:
        if not any(part["type"] == "image" for part in turn["content"]) and not text_of(turn).strip():
            raise ValueError(f"a turn of the {turn['role']} is empty; give its text or leave the record out")
    return chat


def _turn(turn: Any) -> dict[str, Any]:
    """Bring one turn, ours or LLaVA's (`from`, `value`), to a role and a list of parts."""
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is {turn!r}; give an object with role and content")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if role not in _ROLES:
        raise ValueError(f"the role {role!r} is unknown; use one of {', '.join(_ROLES)}")
    role = _ROLES[role]
    if isinstance(content, str):
        parts: list[dict[str, Any]] = []
        for number, text in enumerate(content.split(IMAGE)):
            if number:
                parts.append({"type": "image"})
            if content.count(IMAGE):
                text = text.strip()
            if text or content == "":
                parts.append({"type": "text", "text": text})
    elif isinstance(content, list) and all(_is_part(part) for part in content):
        parts = [dict(part) for part in content]
    else:
        raise ValueError(
            f"the content {content!r} of a turn is neither a text nor a list of text and image parts"
        )
    if role != "user" and any(part["type"] == "image" for part in parts):
        raise ValueError(f"a turn of the {role} holds {IMAGE}; only the user shows images")
    return {"role": role, "content": parts}


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and (
        part.get("type") == "image" or (part.get("type") == "text" and isinstance(part.get("text"), str))
    )


def text_of(turn: dict[str, Any]) -> str:
    """Return the text of one turn's parts."""
    return "".join(part.get("text", "") for part in turn["content"])
