"""The curves of a stage as one picture, drawn from the lines of its log, so that a resumed run's go on."""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from training.history import PREFIX, best_line, score_lines

COLOURS = ("#1f5fa8", "#d1610d", "#1c7a43", "#8e3fa8", "#b3261e", "#6b6b66")
PALE, INK, SOFT, LINE = 0.25, "#1d1f21", "#62666b", "#d9d9d4"
SMOOTH_FROM = 40  # points from which a curve gets a smoothed one in front of it
SPREAD = 30.0  # of the largest loss over the smallest, from which the axis is logarithmic
COLUMNS = 3
# Panels whose titles say enough; behind the first, axes begin at 0.
ONE = ("Loss", "Learning rate", "Gradient's norm", "Samples a second", "Tokens a second", "Peak memory, GB")


@dataclass(frozen=True)
class Panel:
    """A picture of some figures over the steps.

    names:   of the figures; a name that ends in * stands for all that begin so
    percent: shares are shown as such
    log:     "always", "wide" (where values are far apart) or "never"
    """

    title: str
    names: tuple[str, ...]
    percent: bool = False
    log: str = "never"


PANELS = (
    Panel("Loss", ("loss", "lm_loss", "dense_loss", "guide_loss"), log="wide"),
    Panel("Right while learning", ("token_accuracy", "dense_accuracy", "guide_accuracy_*"), percent=True),
    Panel("Learning rate", ("learning_rate",)),
    Panel("Gradient's norm", ("grad_norm",), log="always"),
    Panel("Samples a second", ("samples_per_second",)),
    Panel("Tokens a second", ("tokens_per_second",)),
    Panel("Share of the peak (MFU), of waiting for data", ("mfu", "data_wait"), percent=True),
    Panel("Peak memory, GB", ("memory_gb",)),
)
SCORES = Panel(
    "Held out: higher is better",
    tuple(PREFIX + name for name in ("teds_normalised", "teds_struct_normalised", "exact_match", "anls")),
)
FAULTS = Panel(
    "Held out: lower is better",
    tuple(PREFIX + name for name in ("cer", "repetition", "truncated", "empty")),
)


def draw_curves(history: list[dict[str, Any]], title: str, metric: str) -> bytes:
    """The picture as a PNG file; panels without figures are left out.

    Args:
        history: the lines of the log.
        metric: the score that chooses the best.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(panel, found) for panel in PANELS[:2] if (found := _series(history, panel))]
    panels += [
        (panel, found)
        for panel in (SCORES, FAULTS)
        if (found := _series(score_lines(history), panel, metric))
    ]
    panels += [(panel, found) for panel in PANELS[2:] if (found := _series(history, panel))]
    rows = max(1, math.ceil(len(panels) / COLUMNS))
    figure = Figure(figsize=(13, 0.5 + 2.7 * rows), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    last = max((line["step"] for line in history if "step" in line), default=0)
    best = best_line(history, metric)
    bad = [line["step"] for line in history if line.get("bad_steps")]
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axis, (panel, found) in zip(axes, panels, strict=False):
        _draw(axis, panel, found)
        axis.set_xlim(0, max(1, last) * 1.02)
        mine = best is not None and panel in (SCORES, FAULTS) and PREFIX + metric in found
        if mine:
            value = best[PREFIX + metric]
            axis.plot(
                best["step"], value, marker="*", markersize=13, color=COLOURS[0], linestyle="none", zorder=5
            )
            axis.annotate(
                f"best {value:.3f}", (best["step"], value), (0, 9), textcoords="offset points", fontsize=8,
                color=INK, ha="center",
            )  # fmt: skip
            axis.margins(y=0.2)
        if panel.title == "Loss" and bad:
            axis.plot(
                bad, [0.02] * len(bad), "|", transform=axis.get_xaxis_transform(), color="#b3261e", markersize=9,
                label="steps not taken",
            )  # fmt: skip
            axis.legend(fontsize=8, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _series(
    history: list[dict[str, Any]], panel: Panel, metric: str | None = None
) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of a panel's figures, by name; of figures that are equal but for rounding, the first."""
    names = list(panel.names)
    if metric is not None:  # the one that chooses comes first, wherever it belongs
        from samvlm.evaluation.scores import LOWER_IS_BETTER

        if (metric in LOWER_IS_BETTER) == (panel is FAULTS):
            names = [PREFIX + metric, *(name for name in names if name != PREFIX + metric)]
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in history:
        for name, value in line.items():
            wanted = any(name == n or (n.endswith("*") and name.startswith(n[:-1])) for n in names)
            if wanted and isinstance(value, int | float) and math.isfinite(value):
                steps, values = found.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(float(value))
    kept = {}
    for name in sorted(found, key=lambda name: names.index(name) if name in names else len(names)):
        steps, values = found[name]
        if not any(
            steps == known and np.allclose(values, others, rtol=1e-3) for known, others in kept.values()
        ):
            kept[name] = found[name]
    return kept


def _draw(axis: Any, panel: Panel, found: dict[str, tuple[list[int], list[float]]]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    lowest = highest = None
    for colour, (name, (steps, values)) in zip(COLOURS * 3, found.items(), strict=False):
        many = len(values) >= SMOOTH_FROM
        mark = "o" if len(values) < 25 else None
        label = name.removeprefix(PREFIX).replace("_", " ")
        axis.plot(
            steps, values, color=colour, linewidth=1.0 if many else 1.6, alpha=PALE if many else 1.0, marker=mark,
            markersize=3.5, label=None if many else label,
        )  # fmt: skip
        if many:
            axis.plot(steps, smoothed(values), color=colour, linewidth=1.8, label=label)
        lowest = min([lowest or math.inf, *values])
        highest = max([highest or -math.inf, *values])
    wide = panel.log == "wide" and lowest > 0 and highest / lowest > SPREAD
    if wide or (panel.log == "always" and lowest > 0 and highest / lowest > 3):
        axis.set_yscale("log")
    elif lowest >= 0 and (panel.percent or panel.title in ONE[1:] or lowest < 0.5 * highest):
        axis.set_ylim(0, 1.08 * highest or 1.0)
    if panel.percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axis.set_title(panel.title, fontsize=10, color=INK, loc="left")
    axis.tick_params(which="both", labelsize=8, colors=SOFT, length=2)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.grid(True, color=LINE, linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(LINE)
    if len(found) > 1 or panel.title not in ONE:
        axis.legend(fontsize=8, frameon=False)


def smoothed(values: list[float]) -> list[float]:
    """Running means that forget half within a fortieth of the curve, without a lag at its start."""
    keep = 0.5 ** (40 / len(values))
    out, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        out.append(total / weight)
    return out
