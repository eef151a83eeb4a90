"""Draw the README's picture: an image beside the table that the shipped checkpoint really read from it.

    python scripts/draw_readme_picture.py samvlm/assets/sample_table.png docs/parsed_table.png

Nothing in it is made up: the right side is laid out from the cells of the parsed table, mistakes and all.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from samvlm.data.tables import Cell, Table
from samvlm.generation import DocumentParser

SIDE = 560  # width of either half, in pixels of the picture
MARGIN, GAP = 28, 64
PADDING = 8  # between the rule of a cell and its text
INK, FAINT, RULE, SHADE, PAPER = "#1c2330", "#66707f", "#c3cad4", "#eaf0f7", "#ffffff"


def font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has ± and ×, where it is installed; else the font inside Pillow."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def wrap(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break a text between words into lines of at most `width` pixels; a longer word stands alone."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and face.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def column_widths(table: Table, face: ImageFont.FreeTypeFont, total: float) -> list[float]:
    """Share `total` pixels: every column gets its longest word, what is left goes to those with longer lines."""
    least, wanted = [3.0 * PADDING] * table.n_cols, [3.0 * PADDING] * table.n_cols
    for cell in table.cells:
        if cell.colspan == 1 and cell.text:
            words = [face.getlength(word) + 2 * PADDING for word in cell.text.split()]
            lines = [face.getlength(line) + 2 * PADDING for line in cell.text.split("\n")]
            least[cell.col] = max(least[cell.col], *words)
            wanted[cell.col] = max(wanted[cell.col], *lines)
    if sum(least) >= total:
        return [width * total / sum(least) for width in least]
    if sum(wanted) <= total:
        return [width + (total - sum(wanted)) / table.n_cols for width in wanted]
    share = (total - sum(least)) / (sum(wanted) - sum(least))
    return [low + (high - low) * share for low, high in zip(least, wanted, strict=True)]


def shade(cell: Cell) -> str:
    """The background of a cell: headers are told apart."""
    return SHADE if cell.header else PAPER


def draw_table(table: Table, width: int, size: float, fill: Callable[[Cell], str] = shade) -> Image.Image:
    """Lay a table out with its spans. `size` is the font's em in pixels, `fill` gives the background of a cell."""
    face = font(size)
    pitch = round(size * 1.3)
    widths = column_widths(table, face, width - 1)
    left = [round(sum(widths[:col])) for col in range(table.n_cols + 1)]

    def lines_of(cell: Cell) -> list[str]:
        return wrap(cell.text, face, left[cell.col + cell.colspan] - left[cell.col] - 2 * PADDING)

    heights = [pitch + PADDING] * table.n_rows
    for cell in sorted(table.cells, key=lambda cell: cell.rowspan):
        needed = len(lines_of(cell)) * pitch + PADDING
        last = cell.row + cell.rowspan - 1
        heights[last] += max(0, needed - sum(heights[cell.row : last + 1]))
    top = [sum(heights[:row]) for row in range(table.n_rows + 1)]

    image = Image.new("RGB", (width, top[-1] + 1), PAPER)
    draw = ImageDraw.Draw(image)
    for cell in table.cells:
        x, y = left[cell.col], top[cell.row]
        right, bottom = left[cell.col + cell.colspan], top[cell.row + cell.rowspan]
        draw.rectangle((x, y, right, bottom), fill=fill(cell), outline=RULE)
        lines = lines_of(cell)
        start = y + (bottom - y - len(lines) * pitch) / 2
        for number, line in enumerate(lines):
            draw.text((x + PADDING, start + number * pitch + pitch / 2), line, INK, face, anchor="lm")
    return image


def compose(source: Image.Image, table: Table, name: str, seconds: float) -> Image.Image:
    """Put the image on the left, the table on the right and a caption above either."""
    scale = min(1.0, SIDE / source.width)
    shown = source.convert("RGB").resize(
        (round(source.width * scale), round(source.height * scale)), Image.Resampling.LANCZOS
    )
    size = 16.0
    parsed = draw_table(table, SIDE, size)
    while parsed.height > 1.5 * max(shown.height, 240) and size > 9:
        size -= 1
        parsed = draw_table(table, SIDE, size)

    head = 34
    body = max(shown.height, parsed.height)
    picture = Image.new("RGB", (2 * SIDE + 2 * MARGIN + GAP, body + head + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    second = MARGIN + SIDE + GAP
    draw.text((MARGIN, MARGIN), name, FAINT, font(15))
    draw.text((second, MARGIN), f"samvlm parse {name}    {seconds:.1f} s", FAINT, font(15))

    x, y = MARGIN + (SIDE - shown.width) // 2, MARGIN + head + (body - shown.height) // 2
    picture.paste(shown, (x, y))
    draw.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=RULE)
    picture.paste(parsed, (second, MARGIN + head + (body - parsed.height) // 2))

    middle, arrow = MARGIN + head + body // 2, MARGIN + SIDE + 16
    tip = second - 16
    draw.line((arrow, middle, tip - 8, middle), FAINT, 3)
    draw.polygon([(tip, middle), (tip - 12, middle - 7), (tip - 12, middle + 7)], FAINT)
    return picture


def main(argv: list[str] | None = None) -> None:
    """Parse the image with the shipped checkpoint (or --model) and write the picture."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("image", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--model", help="a checkpoint folder instead of the one that ships")
    options = arguments.parse_args(argv)
    parser = (
        DocumentParser.from_pretrained(options.model) if options.model else DocumentParser.from_pretrained()
    )
    parser(options.image)  # the first call also warms up
    result = parser(options.image)
    if not result.tables:
        raise SystemExit(f"no table was read from {options.image}: {result.text[:200]!r}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(options.image) as source:
        picture = compose(source, result.tables[0], options.image.name, result.seconds)
    picture.quantize(64).save(options.out, optimize=True)
    print(
        f"{options.out}: {picture.width} x {picture.height}, {result.finish_reason}, {result.seconds:.2f} s"
    )


if __name__ == "__main__":
    main()
