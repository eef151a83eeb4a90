"""Tables of life sciences and engineering: primers, genes, species, measurements, parameters, studies, correlations."""

from ..columns import text_column
from ..dice import Dice
from ..figures import numeric_column, series_column
from ..page import ITALIC, PLAIN, SUB, SUPER
from ..words import LOWER, UPPER, code, date, letters
from .journal import groups, measure, p_title
from .plan import MISSING, Numbers, Plan, Row, Title, row_count, some, strange, told
from .words_science import (
    CITIES,
    CONDITIONS,
    DESIGNS,
    FINDINGS,
    GENES,
    GROUPS,
    MEASURES,
    QUANTITIES,
    SPECIES,
    SURNAMES,
    TERMS,
)


def primers(dice: Dice) -> Plan:
    """Genes with their primers: long words without blanks."""
    length = dice.choice(((18, 22), (19, 25), (20, 20), (20, 40)))
    prime = dice.choice(("′", "'", "’"))
    italic, both = dice.chance(0.4), dice.chance(0.4)
    bases = dice.choice(("ACGT", "ACGT", "acgt"))
    ways = dice.choice(((" sense", " antisense"), ("-F", "-R"), (" F", " R"), ("_fw", "_rev")))
    paired = not both and dice.chance(0.5)

    def sequence() -> str:
        text = letters(dice, bases, *length)
        return f"5{prime}-{text}-3{prime}" if ends else text

    ends = dice.chance(0.2)
    sizes, melts = dice.chance(0.4), dice.chance(0.3)
    titles = [Title(dice.choice(("Gene", "Primer", "Primer name", "Target", "Locus")), align="l")]
    if both:
        shape = dice.choice(("{} primer", f"{{}} (5{prime}–3{prime})", "{}", "{} sequence"))
        titles += [Title(shape.format("Forward"), align="l"), Title(shape.format("Reverse"), align="l")]
    else:
        titles += [
            Title(
                dice.choice(
                    (f"Sequence (5{prime}–3{prime})", f"Primer sequence (5{prime}-3{prime})", "Sequence")
                ),
                align="l",
            )
        ]
    titles += [Title(dice.choice(("Size (bp)", "Product size (bp)", "Length")))] if sizes else []
    titles += [Title(dice.choice(("Tm (°C)", f"T{SUB}m{PLAIN} (°C)", "Annealing temp.")))] if melts else []
    rows = []
    for gene in some(dice, GENES, row_count(dice, 2, 40)):
        name = f"{ITALIC}{gene}{PLAIN}" if italic else gene
        tail = [str(dice.integer(70, 900))] if sizes else []
        tail += [str(dice.integer(50, 65))] if melts else []
        if paired:
            for way in ways:
                rows.append(Row([name + way, sequence(), *tail]))
        else:
            rows.append(Row([name, *(sequence() for _ in range(1 + both)), *tail]))
    return Plan(titles, rows, "journal", "primers")


def genes(dice: Dice) -> Plan:
    """Genes or terms with counts, fold changes and p values in powers of ten."""
    numbers = Numbers(dice)
    pool = dice.choice((GENES, TERMS, TERMS))
    about = pool is GENES and dice.chance(0.6)
    lead = dice.chance(0.3)
    power = dice.choice(("E-", "e-", "×"))

    def tiny() -> str:
        mantissa, exponent = numbers.fixed(dice.between(1, 10), digits), dice.integer(2, 14)
        if power == "×":
            return f"{mantissa} × 10{SUPER}{dice.choice('−–')}{exponent}"
        return f"{mantissa}{power}{exponent:02}"

    digits = dice.choice((1, 2, 2, 3))
    fields = dice.shuffled(("count", "fold", "p", "fdr", "score", "share"))[: dice.integer(1, 4)]
    makers = {
        "count": ("Count", lambda: numbers.count(2.3)),
        "fold": (dice.choice(("Fold change", "FC", f"Log{SUB}2{PLAIN} FC", "Ratio")), lambda: ("-" if dice.chance(0.2) else "") + numbers.fixed(dice.between(0.3, 6), 2)),
        "p": (p_title(dice), tiny),
        "fdr": (dice.choice(("FDR", "q-value", "Adjusted p", "Bonferroni")), tiny if dice.chance(0.5) else numbers.p_value),
        "score": (dice.choice(("Score", "Z-score", "Enrichment", "RPKM")), lambda: numbers.fixed(10 ** dice.between(0, 2), 2)),
        "share": ("%", lambda: numbers.fixed(dice.between(0, 30), 1)),
    }  # fmt: skip
    first = (
        ("Gene", "Gene symbol", "Symbol")
        if pool is GENES
        else ("GO term", "Term", "Pathway", "Category", "Biological process")
    )
    titles = [Title("Category", align="l")] if lead else []
    titles += (
        [Title(dice.choice(("GO ID", "ID", "Probe ID", "Accession")), align="l")] if dice.chance(0.3) else []
    )
    coded = len(titles) > lead
    titles += [Title(dice.choice(first), align="l")]
    titles += (
        [Title(dice.choice(("Description", "Function", "Gene name", "Pathway")), align="l")] if about else []
    )
    above = dice.choice(((), (), (), (dice.choice(GROUPS),)))
    titles += [Title(makers[name][0], above) for name in fields]
    rows, left = [], 0
    for entry in some(dice, pool, row_count(dice, 3, 48)):
        label = f"{ITALIC}{entry}{PLAIN}" if pool is GENES and dice.chance(0.3) else strange(dice, entry)
        label = label[0].upper() + label[1:] if pool is TERMS else label
        row = Row([label])
        row.values = (
            [dice.choice(("GO:{:07}", "hsa{:05}", "NM_{:06}", "A_{:05}")).format(dice.integer(100, 99999))]
            if coded
            else []
        ) + row.values
        row.values += [dice.choice(TERMS + FINDINGS)] if about else []
        row.values += [dice.choice(MISSING) if dice.chance(0.02) else makers[name][1]() for name in fields]
        if lead:
            row.values.insert(0, "" if left else dice.choice(TERMS).capitalize())
            row.cover = 1 if left else dice.integer(1, 6)
            left = left - 1 if left else row.cover - 1
        rows.append(row)
    if lead:
        _close(rows)
    return Plan(titles, rows, "journal", "genes", grouped=lead)


def _close(rows: list[Row]) -> None:
    """Shared labels must not reach beyond the last row."""
    for number, row in enumerate(rows):
        row.cover = min(row.cover, len(rows) - number)


def measurements(dice: Dice) -> Plan:
    """Samples, species or treatments against measured values with their spread and letters of significance."""
    numbers = Numbers(dice)
    kind = dice.choice(("species", "treatment", "measure", "site", "code"))
    spread, lettered = dice.chance(0.6), dice.chance(0.35)
    digits, bracketed = dice.choice((1, 2, 2, 3)), dice.chance(0.2)
    if kind == "measure":
        heads = groups(dice, 2, 6)
    else:
        heads = some(dice, MEASURES, dice.integer(2, 7))
    sizes = [dice.between(0, 2.4) for _ in heads]
    starred = dice.chance(0.2)

    def value(col: int) -> str:
        if dice.chance(0.02):
            return dice.choice(MISSING)
        text = (
            numbers.spread(digits, sizes[col], bracketed)
            if spread
            else numbers.fixed(10 ** dice.between(sizes[col] - 0.7, sizes[col]), digits)
        )
        if lettered:
            text += dice.choice(("", " ", SUPER))[: 1 if spread else 0] + dice.choice(
                ("a", "b", "c", "ab", "bc", "a", "b")
            )
        elif starred and dice.chance(0.3):
            text += dice.choice(("*", "**", f"{SUPER}*", f"{SUPER}**", f"{SUPER}#", f"{SUPER}†"))
        return text

    def label() -> str:
        if kind == "species":
            return (
                ITALIC
                + strange(dice, dice.choice(SPECIES))
                + PLAIN
                + dice.choice(("", "", "", f" {code(dice)}"[:12]))
            )
        if kind == "treatment":
            return f"{dice.choice(GROUPS)}" + dice.choice(
                (
                    "",
                    "",
                    f" + {dice.choice('NPKXY')}",
                    f" ({dice.integer(1, 200)} {dice.choice(('mg/kg', 'μM', 'mM', 'ng/mL'))})",
                )
            )
        if kind == "measure":
            return measure(dice)
        if kind == "site":
            return strange(dice, dice.choice(CITIES))
        return code(dice)[:16]

    units = dice.chance(0.2)
    above = dice.choice(((), (), ("Mean ± SD",), ("Treatment",), ("Concentration",), ("Parameters",)))
    titles = [
        Title(
            {
                "species": "Species",
                "measure": "Parameter",
                "site": "Site",
                "treatment": "Treatment",
                "code": "Sample",
            }[kind]
            if dice.chance(0.85)
            else "",
            align="l",
        )
    ]
    titles += [Title("Unit")] if units else []
    titles += [Title(head, above) for head in heads]
    titles += [Title(p_title(dice))] if dice.chance(0.3) else []
    tail = len(titles) - 1 - units - len(heads)
    rows, sections = [], dice.chance(0.2)
    for number in range(row_count(dice, 2, 45)):
        if sections and number % 5 == 0:
            rows.append(
                Row(
                    [
                        dice.choice(
                            (dice.choice(CITIES), dice.choice(GROUPS), f"({'abcdefghij'[number // 5 % 10]})")
                        )
                    ],
                    "section",
                )
            )
        unit = [dice.choice(("mg/L", "%", "cm", "g", "mm", "U/L", "mmol/L", "°C"))] if units else []
        rows.append(
            Row([label(), *unit, *(value(col) for col in range(len(heads))), *([numbers.p_value()] * tail)])
        )
    return Plan(titles, rows, "journal", "measurements")


def parameters(dice: Dice) -> Plan:
    """Settings and constants: quantity, symbol, value, unit, source."""
    numbers = Numbers(dice)
    fields = ["value", *dice.shuffled(("symbol", "unit", "source"))[: dice.integer(0, 2)]]
    fields.sort(key=("symbol", "value", "unit", "source").index)
    names = {"symbol": "Symbol", "value": dice.choice(("Value", "Values", "Setting")), "unit": dice.choice(("Unit", "Units")),
             "source": dice.choice(("Reference", "Source", "Notes"))}  # fmt: skip
    titles = [
        Title(dice.choice(("Parameter", "Parameters", "Quantity", "Description", "Property")), align="l")
    ]
    titles += [
        Title(names[field], align="l" if dice.chance(0.4) or field == "source" else "c") for field in fields
    ]
    rows = []
    for name in some(dice, list(QUANTITIES), row_count(dice, 3, 30)):
        unit = QUANTITIES[name]
        value = numbers.fixed(10 ** dice.between(-2, 4), dice.choice((0, 1, 2, 3)))
        if "unit" not in fields and unit:
            value = f"{value} {unit}"
        texts = {"value": value, "unit": unit or "–", "source": dice.choice((f"[{dice.integer(1, 90)}]", "This study", "Assumed", dice.choice(FINDINGS))),
                 "symbol": ITALIC + dice.choice(LOWER + UPPER) + PLAIN + (SUB + dice.choice(("max", "0", "1", "i", "on", "off")) if dice.chance(0.6) else "")}  # fmt: skip
        rows.append(Row([strange(dice, name), *(texts[field] for field in fields)]))
    return Plan(titles, rows, "journal", "parameters")


def studies(dice: Dice) -> Plan:
    """A review: authors, countries, designs and findings in several lines."""
    fields = [
        "author",
        *dice.shuffled(("country", "design", "n", "population", "finding", "year", "outcome"))[
            : dice.integer(2, 5)
        ],
    ]
    titles_of = {"author": ("Author", "Study", "Authors", "Reference"), "country": ("Country", "Location"), "design": ("Design", "Study design"),
                 "n": ("n", "Sample size", "No. of patients"), "population": ("Population", "Participants", "Condition"),
                 "finding": ("Main findings", "Results", "Conclusion", "Comments"), "year": ("Year", "Period"), "outcome": ("Outcome", "Intervention")}  # fmt: skip
    bracket = dice.choice((" et al., {}", " et al. ({})", " et al. [{}]", " and {}", ", {}"))

    def author() -> str:
        tail = (
            dice.choice(SURNAMES)
            if "and" in bracket
            else dice.integer(1, 99)
            if "[" in bracket
            else dice.integer(1985, 2016)
        )
        return dice.choice(SURNAMES) + bracket.format(tail)

    makers = {
        "author": author, "country": lambda: dice.choice([*CITIES, "USA", "UK", "Japan", "China", "Italy", "India", "Brazil"]),
        "design": lambda: dice.choice(DESIGNS), "n": lambda: str(dice.integer(8, 5000)), "population": lambda: dice.choice(CONDITIONS),
        "finding": lambda: told(dice, FINDINGS), "year": lambda: date(dice)[:16] if dice.chance(0.3) else str(dice.integer(1985, 2016)),
        "outcome": lambda: strange(dice, dice.choice((*FINDINGS, *MEASURES)), 0.2),
    }  # fmt: skip
    titles = [Title(dice.choice(titles_of[field]), align="l") for field in fields]
    rows = [Row([makers[field]() for field in fields]) for _ in range(row_count(dice, 2, 20))]
    return Plan(titles, rows, "journal", "studies")


def correlations(dice: Dice) -> Plan:
    """A triangle of correlations."""
    numbers = Numbers(dice)
    size = dice.integer(3, 10)
    names = [measure(dice) for _ in range(size)]
    numbered, upper, diagonal = dice.chance(0.5), dice.chance(0.4), dice.choice(("1", "–", "—", "1.00", ""))
    digits, marks = dice.choice((2, 2, 3)), dice.chance(0.6)
    minus = numbers.style.minus

    def value() -> str:
        amount = f"{dice.random():.{digits}f}"
        text = (minus if dice.chance(0.3) else "") + (amount if numbers.p_zero else amount[1:])
        return text + (
            dice.choice(("*", "**", f"{SUPER}**", f"{SUPER}*")) if marks and dice.chance(0.4) else ""
        )

    titles = [Title(dice.choice(("", "Variable")), align="l")]
    titles += [Title(str(number + 1) if numbered else name) for number, name in enumerate(names)]
    rows = []
    for row, name in enumerate(names):
        filled = [
            value() if (col > row) == upper and col != row else diagonal if col == row else ""
            for col in range(size)
        ]
        rows.append(Row([f"{row + 1}. {name}" if numbered else name, *filled]))
    return Plan(titles, rows, "journal", "correlations")


def anything(dice: Dice) -> Plan:
    """Columns of all kinds, as the drawn tables have them: strings that no list holds."""
    numbers = Numbers(dice)
    columns = [text_column(dice, dice.choice((2, 4, 8)))]
    wanted, alike = dice.integer(1, 9), dice.chance(0.4)
    for _ in range(wanted):
        column = text_column(dice, 4) if dice.chance(0.15) else numeric_column(dice, numbers.style)
        if dice.chance(0.15):
            column = series_column(dice, numbers.style)
        columns.append(column)
        if alike:
            columns += [column] * dice.integer(0, 2)
    columns = columns[:12]
    titles = [Title(column.header, align="c" if column.numeric else "l") for column in columns]
    rows = [Row([column.make() for column in columns]) for _ in range(row_count(dice, 2, 50))]
    return Plan(titles, rows, "journal", "anything")
