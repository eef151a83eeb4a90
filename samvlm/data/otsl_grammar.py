"""The grammar of OTSL as a state machine: what may follow, and how to close what was cut off.

All rules of OTSL look back only (arXiv 2305.03393, section 3). Stricter than the paper, merges are rectangles: a row
that continues a cell of the row above continues it over its whole width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .otsl import ECEL, LCEL, NAMES, NL, ORIGIN_TOKENS, TEXT_TOKENS, TOKENS, UCEL, XCEL, split_tokens

END, TEXT = "end", "text"
TAIL = max(map(len, NAMES)) + 1  # characters at the end of a text that may be the start of a literal token
WINDOW = 64  # characters at the end of a cell's text that are looked over for circles
PIECE = 4  # characters of the pieces of it that are compared


@dataclass(frozen=True)
class GrammarLimits:
    """Caps of one table. `max_new_tokens` is the budget of `generate`, the end token included; None: no cap.

    `max_run` and `min_variety` end what goes in circles, and let the table go on behind it: so many equal cells
    without text stand side by side in the first row, at most; and a cell ends where less than this share of the last
    61 pieces of its text, of four characters each, differ (text has 0.9 and more, a leader of dots 0.02). 0: never.
    """

    max_rows: int = 300
    max_cols: int = 100
    max_cell_chars: int = 2000
    max_run: int = 24
    min_variety: float = 0.5
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_cols", "max_cell_chars"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_new_tokens is not None and self.max_new_tokens < 3:
            raise ValueError(
                f"max_new_tokens={self.max_new_tokens} holds no table; the smallest takes 3 tokens: a cell, {NL}, end"
            )


@dataclass(frozen=True, slots=True)
class GrammarState:
    """Where a table stands after some tokens. Immutable, so that beams may share it.

    `above` and `line` hold, for each column of the last and of the current row, the column in which the cell there
    starts. `limited` is set once a limit has taken a choice away.
    """

    row: int = 0
    above: tuple[int, ...] = ()
    line: tuple[int, ...] = ()
    last: str = NL
    chars: int = 0  # of the current cell's text
    tail: str = ""  # its last characters, up to WINDOW
    run: int = 0  # equal tokens without text so far, at the end of the row
    used: int = 0  # tokens so far
    limited: bool = False

    @property
    def to_close(self) -> int:
        """Tokens that the shortest way to a complete output takes, the end token included."""
        if self.last == END:
            return 0
        if self.row == 0:
            return 2 if self.line else 3
        return len(self.above) - len(self.line) + 2 if self.line else 1

    def allowed(self, limits: GrammarLimits) -> tuple[frozenset[str], bool]:
        """Return the tokens that may follow (TEXT and END among them) and whether a limit took any away."""
        if self.last == END:
            return frozenset({END}), False
        left = None if limits.max_new_tokens is None else limits.max_new_tokens - self.used
        col, n_cols = len(self.line), len(self.above)
        if left is not None and left <= self.to_close:
            return frozenset({self.closer()}), True
        if not self.line:
            if self.row == 0:
                return frozenset(ORIGIN_TOKENS), False
            if self.row >= limits.max_rows or (left is not None and left < n_cols + 2):
                return frozenset({END}), True
            return frozenset({*ORIGIN_TOKENS, UCEL, END}), False
        if self._must_fill(col):
            return frozenset({XCEL}), False
        out = set()
        full = limits.max_cols if self.row == 0 else n_cols
        if col < full:
            out |= {*ORIGIN_TOKENS}
            if self.last not in (UCEL, XCEL):
                out.add(LCEL)
            if self.row and self.above[col] == col:
                out.add(UCEL)
        if self.row == 0 or col == n_cols:
            out.add(NL)
        limited = self.row == 0 and col >= full
        if self.row == 0 and not self.chars and 0 < limits.max_run <= self.run and self.last in out:
            out.remove(self.last)
            limited = True
        if self.last in TEXT_TOKENS:
            if self.chars < limits.max_cell_chars and self.variety >= limits.min_variety:
                out.add(TEXT)
            else:
                limited = True
        return frozenset(out), limited

    @property
    def variety(self) -> float:
        """Which share of the last pieces of the current cell's text differ; 1 where it is short."""
        if self.chars < WINDOW:
            return 1.0
        pieces = [self.tail[start : start + PIECE] for start in range(len(self.tail) - PIECE + 1)]
        return len(set(pieces)) / len(pieces)

    def _must_fill(self, col: int) -> bool:
        """Whether the cell of the row above that the last token continued reaches over this column too."""
        return self.last in (UCEL, XCEL) and col < len(self.above) and self.above[col] == self.line[-1]

    def closer(self) -> str:
        """Return the next token of the shortest way to a complete output."""
        if not self.line:
            return END if self.row else ECEL
        if self.row == 0 or len(self.line) >= len(self.above):
            return NL
        return XCEL if self._must_fill(len(self.line)) else ECEL

    def after(self, token: str, text: str = "", limited: bool = False) -> GrammarState:
        """Return the state after a structure token, END, or TEXT with its characters; the token must be allowed."""
        used, limited, col = self.used + 1, self.limited or limited, len(self.line)
        if token == TEXT:
            return replace(
                self,
                chars=self.chars + max(len(text), 1),
                tail=(self.tail + text)[-WINDOW:],
                used=used,
                limited=limited,
            )
        if token == END:
            return replace(self, last=END, used=used, limited=limited)
        if token == NL:
            return GrammarState(self.row + 1, self.line, used=used, limited=limited)
        start = self.line[-1] if token in (LCEL, XCEL) and self.line else col
        run = self.run + 1 if token == self.last and not self.chars else 1
        line = (*self.line, start)
        return GrammarState(self.row, self.above, line, token, run=run, used=used, limited=limited)


def close_otsl(text: str) -> tuple[str, bool]:
    """Close OTSL that was cut off: return (text that ends with a complete row, whether it was cut off).

    A token cut in half is dropped and the last row filled up to the width of the one above. Text without a cell is
    returned as it is, with True.
    """
    parts = split_tokens(text)
    state, cells = GrammarState(), 0
    for token, _ in parts:
        if token:
            state = state.after(token)
            cells += token in ORIGIN_TOKENS
    if not cells:
        return text, True
    end = parts[-1][1]
    if not state.line:  # complete, but for what may have begun after the last row
        return (text[: len(text) - len(end)], True) if end.strip() else (text, False)
    half = next((n for n in range(TAIL, 0, -1) if any(token.startswith(text[-n:]) for token in TOKENS)), 0)
    if half <= len(end):
        text = text[: len(text) - half]
    while state.line:
        token = state.closer()
        state = state.after(token)
        text += token
    return text, True
