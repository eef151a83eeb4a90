"""Kind "form": labelled fields in several layouts; the answer has a line "key: value" for each field."""

from dataclasses import dataclass, replace

from .dice import Dice
from .fitting import cut, shorten
from .page import Drawn, Page, Type, text_width
from .table_cells import drawable
from .typefaces import draw_type
from .words import DIGITS, UPPER, WORDS, address, code, date, invented, letters, number, phrase, word

KEYS = (
    "Name|First name|Last name|Surname|Date of birth|Place of birth|Address|Street|City|ZIP|Postal code|Country|Phone|"
    "Tel.|Fax|Mobile|E-mail|Website|Company|Department|Position|Invoice no.|Invoice date|Due date|Order no.|"
    "Customer no.|Customer ID|Account|IBAN|BIC|Bank|Amount|Total|Subtotal|Tax|VAT|VAT no.|Discount|Currency|Quantity|"
    "Unit price|Price|Item|Description|Reference|Ref.|Contract|Project|Date|Time|Signature|Passport no.|Nationality|Sex|"
    "Gender|Age|Height|Weight|Blood group|Patient|Patient ID|Doctor|Diagnosis|Ward|Policy no.|Insurance|Vehicle|Plate|"
    "Mileage|Model|Serial no.|Version|Status|Type|Category|From|To|Subject|Page|Notes|Remarks|Method|Sample|Batch|Lot|"
    "Temperature|Pressure|Result|Unit|Operator|Approved by|Issued|Valid until|Terms|Delivery|Shipped|Weight (kg)"
).split("|")
TITLES = "Invoice|Receipt|Order|Application form|Registration|Delivery note|Data sheet|Report|Certificate|Summary".split(
    "|"
)


@dataclass
class Field:
    """One field: its key as drawn (with `ending`, such as a colon) and its value."""

    key: str
    ending: str
    value: str


def _value(dice: Dice) -> str:
    draw = dice.random()
    if draw < 0.18:
        return f"{invented(dice).capitalize()} {invented(dice).capitalize()}"
    if draw < 0.34:
        return date(dice)
    if draw < 0.52:
        return number(dice)
    if draw < 0.60:
        return address(dice)
    if draw < 0.72:
        return code(dice)
    if draw < 0.79:
        return f"+{dice.integer(1, 99)} {letters(dice, DIGITS, 2, 4)} {letters(dice, DIGITS, 4, 8)}"
    if draw < 0.84:
        return letters(dice, UPPER, 2, 2) + "".join(
            " " + letters(dice, DIGITS, 4, 4) for _ in range(dice.integer(2, 4))
        )
    if draw < 0.89:
        return f"{invented(dice).capitalize()} {dice.choice(('St', 'Street', 'Ave', 'Rd', 'Lane'))} {dice.integer(1, 250)}"
    return phrase(dice, dice.integer(1, 4))


def _key(dice: Dice) -> str:
    draw = dice.random()
    if draw < 0.6:
        return dice.choice(KEYS)
    if draw < 0.8:
        return phrase(dice, dice.integer(1, 2))
    return dice.choice(WORDS).capitalize() + dice.choice(
        ("", " no.", " date", " " + word(dice), f" {dice.integer(1, 9)}")
    )


def draw_form(dice: Dice, width: int, height: int) -> Drawn:
    """A page of `width` x `height` with labelled fields."""
    page = Page(width, height)
    style = draw_type(dice, 9.0, 16.0)
    layout = dice.weighted({"inline": 4, "aligned": 4, "above": 2, "boxes": 2, "leaders": 1})
    keys = replace(style, bold=dice.chance(0.5))
    values = replace(style, italic=dice.chance(0.1), bold=not keys.bold and dice.chance(0.15))
    ink = dice.integer(0, 80) if dice.chance(0.4) else 0
    page.colour = (ink, ink, ink)
    leading = style.size * dice.between(1.1, 1.5)
    left, right, top = dice.between(3, 14), width - dice.between(3, 14), dice.between(2, 10)
    if dice.chance(0.35) and height > 6 * leading:
        _title(dice, page, style, left, right, top + leading)
        top += 1.8 * leading
    columns = dice.choice((1, 1, 2)) if width >= 320 else 1
    column_width = (right - left) / columns
    pitch = leading * (2.2 if layout in ("above", "boxes") else dice.choice((1.0, 1.2, 1.6)))
    rows = max(1, int((height - top - 2) / pitch))
    if dice.chance(0.2):
        rows = dice.integer(1, rows)
    ending = (
        dice.choice((":", ":", "", " :")) if layout in ("inline", "aligned") else dice.choice((":", "", ""))
    )
    ending = ":" if layout == "inline" and not ending else ending
    middle = dice.between(0.3, 0.5) * column_width
    answer: list[str] = []
    offset = 0
    for row in range(rows):
        for column in range(columns):
            x0 = left + column * column_width
            x1 = x0 + column_width - style.size
            field = Field(
                drawable(dice, keys, _key(dice)).rstrip(":"), ending, drawable(dice, values, _value(dice))
            )
            _fit(field, layout, keys, values, x0, x1, middle)
            _draw_field(
                page, field, layout, keys, values, (x0, x1, top + row * pitch, pitch, leading), middle, offset
            )
            answer.append(f"{field.key}: {field.value}")
            offset += len(answer[-1]) + 1
    meta = {"family": style.family.name, "size": style.size, "hinted": style.hinted, "layout": layout}
    return Drawn(page, "form", "\n".join(answer), meta)


def _title(dice: Dice, page: Page, style: Type, left: float, right: float, baseline: float) -> None:
    """A heading that is no field and so no part of the answer."""
    bold = replace(style, bold=True)
    text = dice.choice(TITLES)
    text = text.upper() if dice.chance(0.4) else text
    x = max(left, (left + right - text_width(text, bold)) / 2) if dice.chance(0.4) else left
    text = cut(text, bold, right - x)
    page.text(x, baseline, text, bold)
    if dice.chance(0.4):
        page.box(left, baseline + 4, right, baseline + 5)


def _fit(field: Field, layout: str, keys: Type, values: Type, x0: float, x1: float, middle: float) -> None:
    """Cut key and value so that they do not touch."""
    room = x1 - x0
    if layout in ("above", "boxes"):
        field.key = cut(field.key, keys, room - 6)
        field.value = cut(field.value, values, room - 6)
        return
    key_room = (middle if layout == "aligned" else 0.45 * room) - text_width(field.ending + " ", keys)
    field.key = cut(shorten(field.key, keys, key_room), keys, key_room)
    used = middle if layout == "aligned" else text_width(field.key + field.ending + "  ", keys)
    field.value = cut(field.value, values, room - used)


def _draw_field(
    page: Page,
    field: Field,
    layout: str,
    keys: Type,
    values: Type,
    box: tuple[float, float, float, float, float],
    middle: float,
    offset: int,
) -> None:
    """Draw one field in its box (x0, x1, y, pitch, leading); its answer starts at `offset`."""
    x0, x1, y, pitch, leading = box
    size = keys.size
    baseline = y + 0.5 * (leading - size) + 0.78 * size
    inset = 3 if layout == "boxes" else 0
    x = page.text(x0 + inset, baseline, field.key, keys, offset)
    colon = offset + len(field.key)
    if field.ending:
        if field.ending.startswith(" "):
            x += text_width(" ", keys)
        x = page.text(x, baseline, ":", keys, colon)
    start = colon + 2
    if layout in ("above", "boxes"):
        page.text(x0 + inset, baseline + leading, field.value, values, start)
        if layout == "boxes":
            bottom = y + pitch - 0.1 * leading
            for edge in (
                (x0, y, x1, y + 1),
                (x0, bottom, x1, bottom + 1),
                (x0, y, x0 + 1, bottom),
                (x1, y, x1 + 1, bottom + 1),
            ):
                page.box(*edge, 200)
        return
    if layout == "inline":
        page.text(x + text_width(" ", keys), baseline, field.value, values, start)
        return
    if layout == "aligned":
        page.text(x0 + middle, baseline, field.value, values, start)
        return
    value_x = x1 - text_width(field.value, values)
    page.text(value_x, baseline, field.value, values, start)
    spot = x + 4
    while spot < value_x - 4:  # a dotted leader: no text
        page.box(spot, baseline - 1, spot + 1, baseline, 160)
        spot += 3
