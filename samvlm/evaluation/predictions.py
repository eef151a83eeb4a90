"""One prediction, as a line of predictions.jsonl, and predictions that were made elsewhere, read from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.readers import Rejected
from ..data.readers.items import json_lines
from .answers import plain_answer, table_html
from .cases import Case

_NAMES = ("id", "filename", "image")  # what a foreign line may call its id
_TABLES = ("html", "otsl", "markdown", "md", "prediction", "answer", "text")
_TEXTS = ("text", "answer", "prediction")
REASONS = ("stop", "length", "repetition", "error", "unknown")


@dataclass
class Prediction:
    """What a model gave for a case.

    html:          of a table, "" if there is none
    text:          the answer as it stands
    finish_reason: one of REASONS; "unknown" where the source does not say
    seconds:       the image's share of the batch, or the time of the request; None where not known
    tokens:        generated; None where not known
    error:         why there is no answer
    """

    id: str
    html: str = ""
    text: str = ""
    finish_reason: str = "stop"
    seconds: float | None = None
    tokens: int | None = None
    error: str | None = None

    @classmethod
    def failed(cls, case: Case, reason: object) -> Prediction:
        """The prediction of a case that could not be read."""
        return cls(case.id, finish_reason="error", error=" ".join(str(reason).split()) or "unknown reason")

    @classmethod
    def of_answer(cls, case: Case, text: str, finish_reason: str, **rest: Any) -> Prediction:
        """The prediction that the answer of any model stands for: a table in it is found in every format."""
        html = table_html(text) if case.task == "table" else ""
        return cls(case.id, html, text, finish_reason, **rest)

    def to_line(self) -> str:
        """The line of predictions.jsonl, its end included."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    @classmethod
    def from_row(cls, row: Any) -> Prediction:
        """Undo `to_line`. Raises ValueError for what it did not write."""
        try:
            made = cls(**row)
            texts = (made.id, made.html, made.text, made.finish_reason, made.error or "")
            if made.id and all(isinstance(text, str) for text in texts):
                return made
        except TypeError:
            pass
        raise ValueError(f"not a line of predictions.jsonl: {str(row)[:80]}")


class FilePredictor:
    """Predictions from a file: JSON Lines with an id and html, otsl or markdown (or text), or {file name: HTML}.

    An id is looked up as it stands, then by the name of the image's file, with and without suffix. HTML under the
    key "html" is scored as it stands; what stands under "text", "answer" or "prediction" is searched for a table.
    """

    def __init__(self, path: str | Path):
        """Read the file. Raises ValueError if it holds no predictions."""
        self.path = Path(path)
        self.rows: dict[str, Any] = {}
        self.rejected: list[Rejected] = []
        for where, row in _rows(self.path):
            name = None if isinstance(row, Rejected) else _name(row)
            if name is None:
                bad = isinstance(row, Rejected)
                self.rejected.append(row if bad else Rejected(where, f"no {' or '.join(_NAMES)}"))
            else:
                self.rows[name] = row
        if not self.rows:
            reason = f" ({self.rejected[0].reason})" if self.rejected else ""
            raise ValueError(
                f"{path}: no predictions{reason}; give lines of {{'id': …, 'html': …}} or one object "
                "{file name: HTML}"
            )
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        self.identity = {"kind": "file", "path": str(path), "fingerprint": digest}

    def check(self, cases: Sequence[Case]) -> None:
        """Raise ValueError if the file has no prediction for any of the cases."""
        if cases and all(self._row(case) is None for case in cases):
            raise ValueError(
                f"{self.path}: none of the {len(cases)} ids is in it, such as {cases[0].id!r}; it has "
                f"{next(iter(self.rows))!r}, for example"
            )

    def predict(self, cases: Sequence[Case]) -> Generator[Prediction, None, None]:
        """Yield the prediction of each case; one that the file has not is an error."""
        for case in cases:
            yield self._of_row(case, self._row(case))

    def _row(self, case: Case) -> dict[str, Any] | None:
        return next((self.rows[name] for name in _names(case) if name in self.rows), None)

    def _of_row(self, case: Case, row: dict[str, Any] | None) -> Prediction:
        if row is None:
            return Prediction.failed(case, f"{self.path} has no prediction for this id")
        known = {name: row[name] for name in ("seconds", "tokens") if isinstance(row.get(name), int | float)}
        if row.get("error"):
            return Prediction.failed(case, row["error"])
        reason = row.get("finish_reason") if row.get("finish_reason") in REASONS else "unknown"
        names = _TABLES if case.task == "table" else _TEXTS
        given = {name: row[name] for name in names if isinstance(row.get(name), str)}
        if not given:
            return Prediction.failed(case, f"{self.path}: the line has none of {', '.join(names)}")
        if case.task == "table" and "html" in given:
            return Prediction(case.id, given["html"], row.get("text") or "", reason, **known)
        return Prediction.of_answer(case, next(iter(given.values())), reason, **known)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    if path.suffix != ".json":
        yield from json_lines(path)
        return
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: no JSON ({problem}); is the file complete?") from None
    for number, entry in enumerate(value if isinstance(value, list) else ()):
        where = f"{path}: item {number}"
        yield where, entry if isinstance(entry, dict) else Rejected(where, "an item must be an object")
    for name, entry in value.items() if isinstance(value, dict) else ():
        row = {"html": entry} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
        yield name, row | {"id": name}


def _name(row: dict[str, Any]) -> str | None:
    """The id of a line."""
    for name in _NAMES:
        value = row.get(name)
        if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value)
    return None


def _names(case: Case) -> Iterator[str]:
    """What a file may call a case."""
    yield case.id
    if isinstance(case.image, Path):
        yield case.image.name
        yield case.image.stem


def compared_text(prediction: Prediction) -> str:
    """The text of an answer that is compared with the truth, for tasks other than tables."""
    return plain_answer(prediction.text)
