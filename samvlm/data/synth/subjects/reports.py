"""Tables of governments, companies and shops: yearbooks, accounts, regions, schedules, price lists, invoices."""

from collections.abc import Callable

from ..dice import Dice
from ..page import SUPER
from ..words import LONG_MONTHS, MONTHS, UPPER, date, letters
from .plan import MISSING, Numbers, Plan, Row, Title, row_count, some, strange, told
from .words_reports import (
    AGENCIES,
    BRANDS,
    COUNTRIES,
    COURSES,
    DUTIES,
    GOODS,
    REGIONS,
    STATEMENTS,
    STATES,
    STOPS,
    SUBJECTS,
)
from .words_science import CITIES


def years(dice: Dice, number: int) -> list[str]:
    """Titles of periods that follow each other, forwards or backwards."""
    first, step = dice.integer(1960, 2024 - number), dice.choice((1, 1, 1, 1, 5))
    shape = dice.choice(("{}", "{}", "{}", "{a}–{b:02}", "{a}/{b:02}", "FY {}", "FY{}", "{} (est.)", "{}*"))
    found = [shape.format(y, a=y, b=(y + 1) % 100) for y in range(first, first + step * number, step)]
    return found[::-1] if dice.chance(0.25) else found


def periods(dice: Dice, number: int) -> list[str]:
    """Titles of columns over time: years, quarters, months."""
    draw = dice.random()
    if draw < 0.12 and number >= 4:
        return ["Q1", "Q2", "Q3", "Q4", "Total", "Change"][:number]
    if draw < 0.2:
        start = dice.integer(0, 11)
        return [MONTHS[(start + at) % 12] for at in range(number)]
    return years(dice, number)


def amounts(dice: Dice, numbers: Numbers) -> Callable[[], str]:
    """A maker of figures of one size, as columns of yearbooks have them."""
    digits, low, reach = dice.choice((0, 0, 0, 1, 1, 2)), dice.between(0, 4.5), dice.between(0.3, 1.6)
    sign = dice.choice(("", "", "", "", "%", "$"))
    if sign == "%":
        low, reach = dice.between(-0.5, 1), 1.0
    marks, negative = dice.chance(0.1), dice.choice((0, 0, 0, 0.15))
    lost, missing = dice.choice((0, 0, 0.03, 0.12)), dice.choice(MISSING)

    def make() -> str:
        if dice.chance(lost):
            return missing
        value = 10 ** (low + reach * dice.random())
        text = numbers.fixed(-value if dice.chance(negative) else value, digits)
        text = sign + text if sign == "$" else text + sign
        return (
            text + dice.choice(("*", "**", f"{SUPER}1", f"{SUPER}a", " p", " (e)"))
            if marks and dice.chance(0.15)
            else text
        )

    return make


def yearbook(dice: Dice) -> Plan:
    """Places, years or subjects against periods or subjects: dense figures, totals, runs under headings."""
    numbers = Numbers(dice, journal=False)
    kind = dice.choice(
        ("countries", "countries", "states", "years", "years", "ages", "subjects", "brands", "months")
    )
    wide = dice.weighted({1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3, 7: 2, 8: 2, 10: 1.3, 12: 0.8})
    series = kind not in ("years", "months") and dice.chance(0.6)
    heads = periods(dice, wide) if series else some(dice, SUBJECTS, wide)
    wide = len(heads)
    tops = ()
    if wide >= 3 and dice.chance(0.5):
        tops = (dice.choice(("Current expenditures", "Race/ethnicity", "Percent change", "Number of students", "Total", "Projected",
                             "Domestic", "Exports", "Thousands", "Change in recent years", "Grade", "Million euro", "Men", "Women")),)  # fmt: skip
    aside = dice.integer(0, wide - 2) if tops else 0  # columns without a common title, at the left
    if tops and wide - aside >= 4 and dice.chance(0.4):
        second = dice.choice(
            (
                ("Actual", "Projected"),
                ("Constant dollars", "Current dollars"),
                ("Public", "Private"),
                ("Male", "Female"),
            )
        )
        half = (wide - aside) // 2
        above = [()] * aside + [(tops[0], second[0])] * half + [(tops[0], second[1])] * (wide - aside - half)
        if dice.chance(0.5):
            above = [both[1:] for both in above]
    else:
        above = [()] * aside + [tops] * (wide - aside)
    align = dice.choice(("r", "r", "c"))
    titles = [Title({"countries": "Country", "states": "Region and state", "years": "Year", "ages": "Age", "subjects": "", "brands": "Company", "months": "Month"}[kind]
                    if dice.chance(0.8) else "", align="l")]  # fmt: skip
    titles += [Title(head, up, align) for head, up in zip(heads, above, strict=True)]
    make = amounts(dice, numbers)
    alike = series or dice.chance(0.3)
    makers = [make if alike else amounts(dice, numbers) for _ in heads]

    def row(label: str, kind: str = "values", depth: int = 0) -> Row:
        return Row([label, *(each() for each in makers)], kind, depth)

    rows: list[Row] = []
    if kind == "states":
        depth = dice.choice((0, 1, 1))
        totals = dice.chance(0.7)
        rows += [row(dice.choice(("United States", "Total")), "total")] if dice.chance(0.7) else []
        for region in dice.shuffled(list(STATES))[: dice.integer(1, 4)]:
            rows.append(row(region) if totals else Row([region], "section"))
            rows += [row(state, depth=depth) for state in STATES[region]]
        rows = rows[: max(5, row_count(dice, 8) + 10)]
        if rows[-1].kind == "section":
            rows.pop()
        return Plan(titles, rows, "report", "yearbook")
    labels = _labels(dice, kind, row_count(dice, 3))
    runs = dice.chance(0.2) and len(labels) > 6
    depth = dice.choice((0, 0, 1)) if runs else 0
    for number, label in enumerate(labels):
        if runs and number % max(4, len(labels) // 2) == 0:
            rows.append(
                Row(
                    [
                        dice.choice(
                            (
                                "Actual",
                                "Projected",
                                "Men",
                                "Women",
                                "Public",
                                "Private",
                                "Total",
                                "EU-15",
                                "Other",
                            )
                        )
                    ],
                    "section",
                )
            )
        rows.append(row(label, depth=depth))
    if rows[-1].kind == "section":
        rows.pop()
    if dice.chance(0.35):
        rows.append(
            row(
                dice.choice(("Total", "EU Total", "Average", "Grand total", "All", "TOTAL", "Sum", "Mean")),
                "total",
            )
        )
    return Plan(titles, rows, "report", "yearbook")


def _labels(dice: Dice, kind: str, number: int) -> list[str]:
    if kind == "years":
        return years(dice, min(number, 50))
    if kind == "months":
        return [*(LONG_MONTHS if dice.chance(0.6) else MONTHS)]
    if kind == "ages":
        low, step = dice.integer(0, 40), dice.choice((1, 1, 5, 10))
        shape = (
            dice.choice(("{a} years", "{a}–{b}", "{a} - {b} years", "{a} to {b}", "Age {a}"))
            if step > 1
            else "{a} years"
        )
        return [shape.format(a=low + at * step, b=low + at * step + step - 1) for at in range(number)]
    pool = {"countries": (*COUNTRIES, *REGIONS), "subjects": SUBJECTS, "brands": (*BRANDS, *AGENCIES)}[kind]
    found = some(dice, pool, number)
    mark = dice.choice(("", "", "", f"{SUPER}1", "*", f"{SUPER}a", " 1)", " (2)"))
    return [strange(dice, text, 0.08) + (mark if dice.chance(0.15) else "") for text in found]


def accounts(dice: Dice) -> Plan:
    """A financial statement: line items indented, negative amounts in parentheses, a dollar sign where custom has it."""
    numbers = Numbers(dice, journal=False)
    numbers.style.decimal, numbers.style.thousands = ".", dice.choice((",", ",", ",", " "))
    wide = dice.choice((1, 2, 2, 2, 3, 3, 4, 5))
    currency = dice.choice(("$", "$", "$", "€", "£", ""))
    everywhere = dice.choice((False, False, True))
    glue = dice.choice(("", "", " "))
    dash, digits = dice.choice(("—", "–", "-", "0")), dice.choice((0, 0, 0, 1))
    low = dice.between(1.5, 4.5)

    def amount(first: bool, small: bool = False) -> str:
        if dice.chance(0.04):
            return dash
        value = dice.between(0.02, 9) if small else 10 ** (low + 1.6 * dice.random())
        text = numbers.fixed(value, 2 if small else digits)
        if dice.chance(0.15):
            text = f"({text})"
        return currency + glue + text if currency and (first or everywhere) else text

    top = dice.choice(
        (
            (),
            ("Year ended December 31,",),
            ("Fiscal year ended June 30,",),
            ("As of December 31,",),
            ("(in millions)",),
            ("Three months ended",),
        )
    )
    titles = [
        Title(
            dice.choice(
                (
                    "",
                    "",
                    "(in thousands)",
                    "(In millions, except per share data)",
                    "(Dollars in thousands)",
                    "US$ million",
                )
            ),
            align="l",
        )
    ]
    titles += [Title(text, top, "r") for text in years(dice, wide)]
    if dice.chance(0.2):
        titles += [Title(dice.choice(("Change", "% Change", "% change")), (), "r")]
    parts = STATEMENTS[dice.choice(list(STATEMENTS))]
    rows: list[Row] = []
    chosen = list(parts.items())
    if dice.chance(0.4):
        chosen = chosen[: dice.integer(1, len(chosen))]
    depth, upper = dice.choice((0, 1, 1, 2)), dice.chance(0.1)
    for name, lines in chosen:
        if name and dice.chance(0.9):
            rows.append(Row([name.upper() if upper else name + dice.choice(("", ":"))], "section"))
        keep = [line for line in lines[:-1] if dice.chance(0.75)]
        for number, line in enumerate([*keep, lines[-1]]):
            last = line == lines[-1] and bool(name)
            first = number == 0 or last
            values = [amount(first, "per share" in name) for _ in range(wide)]
            values += [numbers.share()] * (len(titles) - 1 - wide)
            rows.append(
                Row(
                    [strange(dice, line, 0.05), *values],
                    "total" if last else "values",
                    0 if last or not name else depth,
                )
            )
    return Plan(titles, rows, "report", "accounts")


def programmes(dice: Dice) -> Plan:
    """Agencies, measures and comments: text in several lines."""
    fields = ["name", *dice.shuffled(("duty", "date", "amount", "status", "place"))[: dice.integer(1, 4)]]
    numbers = Numbers(dice, journal=False)
    makers = {
        "name": lambda: strange(dice, dice.choice((*AGENCIES, *COUNTRIES))), "duty": lambda: told(dice, DUTIES),
        "date": lambda: date(dice), "amount": lambda: "$" + numbers.count(6, 2), "place": lambda: dice.choice((*CITIES, *REGIONS)),
        "status": lambda: dice.choice(("Yes", "No", "Compulsory", "Voluntary", "Other", "In progress", "Completed", "Planned", "C", "V", "–")),
    }  # fmt: skip
    names = {"name": ("Agency", "Program", "Organization", "Country", "Project"), "duty": ("Description", "Comments", "Responsibility", "Notes", "Source"),
             "date": ("Date", "Period", "Deadline"), "amount": ("Amount", "Budget", "Cost"), "status": ("Status", "Type"), "place": ("Region", "Location")}  # fmt: skip
    titles = [Title(dice.choice(names[field]), align="r" if field == "amount" else "l") for field in fields]
    rows = [Row([makers[field]() for field in fields]) for _ in range(row_count(dice, 2, 16))]
    return Plan(titles, rows, "report", "programmes")


def prices(dice: Dice) -> Plan:
    """An invoice or a price list, with sums below."""
    numbers = Numbers(dice, journal=False)
    sign = dice.choice(("$", "€", "£", "", "", "CHF ", "US$ "))
    fields = dice.choice((("item", "price"), ("item", "qty", "price", "sum"), ("code", "item", "qty", "price", "sum"), ("pos", "item", "unit", "qty", "price", "sum"),
                          ("item", "unit", "price"), ("code", "item", "price", "tax", "sum"), ("qty", "item", "price", "sum")))  # fmt: skip
    names = {"item": ("Description", "Item", "Article", "Product"), "qty": ("Qty", "Quantity", "Qty."), "price": ("Unit price", "Price", "Price (EUR)", "Rate"), "sum": ("Amount", "Total", "Line total"),
             "code": ("Item no.", "SKU", "Code", "Part no."), "pos": ("Pos.", "#", "No."), "unit": ("Unit", "Size"), "tax": ("VAT", "Tax", "VAT %")}  # fmt: skip
    titles = [
        Title(dice.choice(names[field]), align="r" if field in ("qty", "price", "sum", "tax") else "l")
        for field in fields
    ]
    rows, whole = [], 0.0
    for number, item in enumerate(some(dice, GOODS, row_count(dice, 2, 40)), 1):
        qty, price = (
            dice.integer(1, dice.choice((5, 20, 500))),
            dice.integer(50, dice.choice((2000, 90000))) / 100,
        )
        whole += qty * price
        texts = {"item": strange(dice, item), "qty": str(qty), "price": sign + numbers.fixed(price, 2), "sum": sign + numbers.fixed(qty * price, 2), "pos": str(number),
                 "code": letters(dice, UPPER, 1, 3) + f"-{dice.integer(10, 99999)}", "unit": dice.choice(("pcs", "kg", "box", "h", "m", "each", "set")), "tax": dice.choice(("19%", "7%", "20%", "0%"))}  # fmt: skip
        if dice.chance(0.03) and len(rows) > 1:
            rows.append(
                Row([dice.choice(("Office", "Electrical", "Food", "Services", "Tools", "Drinks"))], "section")
            )
        rows.append(Row([texts[field] for field in fields]))
    if "sum" in fields and dice.chance(0.6):
        at = fields.index("item") if dice.chance(0.5) else len(fields) - 2
        for text, amount in (("Subtotal", whole), ("VAT 19%", whole * 0.19), ("Total", whole * 1.19)):
            values = [""] * len(fields)
            values[at], values[-1] = text, sign + numbers.fixed(amount, 2)
            rows.append(Row(values, "total"))
    return Plan(titles, rows, "business", "prices")


def schedule(dice: Dice) -> Plan:
    """Hours against days or stops: timetables and programmes."""
    if dice.chance(0.5):
        days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")[: dice.integer(3, 6)]
        days = [day[:3] for day in days] if dice.chance(0.3) else list(days)
        start, step = dice.integer(7, 10) * 60, dice.choice((45, 60, 90))
        titles = [Title(dice.choice(("Time", "", "Hour")), align="l"), *(Title(day) for day in days)]
        rows = []
        for number in range(dice.integer(4, 10)):
            begin = start + number * step
            span = f"{begin // 60:02}:{begin % 60:02}–{(begin + step) // 60:02}:{(begin + step) % 60:02}"
            rows.append(Row([span, *(dice.choice(COURSES) if dice.chance(0.8) else "" for _ in days)]))
        return Plan(titles, rows, "business", "schedule")
    trips = dice.integer(3, 10)
    titles = [
        Title(dice.choice(("Stop", "Station", "")), align="l"),
        *(Title(str(dice.integer(1, 999)) if dice.chance(0.5) else "") for _ in range(trips)),
    ]
    clocks = sorted(dice.integer(5 * 60, 21 * 60) for _ in range(trips))
    rows = []
    for stop in some(dice, STOPS, dice.integer(4, 16)):
        clocks = [clock + dice.integer(1, 9) for clock in clocks]
        rows.append(
            Row([stop, *("|" if dice.chance(0.05) else f"{c // 60 % 24}:{c % 60:02}" for c in clocks)])
        )
    return Plan(titles, rows, "business", "schedule")
