"""Tables of medical papers: patients by group, regressions, events, questionnaires, methods compared."""

from ..dice import Dice
from ..page import ITALIC, PLAIN, SUB, SUPER
from .plan import MISSING, Numbers, Plan, Row, Title, row_count, some, strange
from .words_science import CATEGORIES, CONDITIONS, EVENTS, GROUPS, ITEMS, MEASURES, METHODS

MARKS = ("*", "†", "‡", "§", f"{SUPER}a", f"{SUPER}b", f"{SUPER}c", f"{SUPER}1", f"{SUPER}2", f"{SUPER}*")


def measure(dice: Dice) -> str:
    """A variable that is a figure: "Heart rate (bpm)", now and then with a mark."""
    text = strange(dice, dice.choice(MEASURES), 0.06)
    text = text.replace("kg/m2", f"kg/m{SUPER}2{PLAIN}").replace("SpO2", f"SpO{SUB}2{PLAIN}")
    if dice.chance(0.06):
        text += dice.choice(MARKS)
    return text


def p_title(dice: Dice) -> str:
    """The title of a column of p values."""
    letter = dice.choice(("P", "p", f"{ITALIC}P{PLAIN}", f"{ITALIC}p{PLAIN}"))
    return letter + dice.choice((" value", "-value", " value", "", f"{SUPER}a", " value*", " trend"))


def groups(dice: Dice, least: int = 2, most: int = 4) -> list[str]:
    """Titles of groups of patients: alike, with their numbers or without."""
    names = [dice.choice(GROUPS)]
    start = GROUPS.index(names[0])
    names += GROUPS[start + 1 : start + dice.integer(least, most)]  # neighbours belong together
    while len(names) < least:
        names.append(dice.choice(GROUPS))
    shape = dice.choice(
        ("{}", "{}", "{} (n = {})", "{} (N={})", "{} n = {}", "{} (" + ITALIC + "n" + PLAIN + " = {})")
    )
    return [shape.format(name, dice.integer(8, 999)) for name in names]


def characteristics(dice: Dice) -> Plan:
    """Patients' characteristics: levels indented below their variable, figures as the variable wants them."""
    numbers = Numbers(dice)
    columns = groups(dice, 1, 4)
    last = dice.choice(("p", "p", "p", "none", "statistic"))
    tested = dice.choice(("parent", "parent", "level"))  # where the p value stands
    note = dice.choice(("", "", ", n (%)", ", %", " (%)", ", No. (%)"))
    bracketed, digits, depth = dice.chance(0.4), dice.choice((0, 1, 1, 2)), dice.choice((0, 1, 1, 1))
    target, rows = row_count(dice, 4), []
    stats = {"p": lambda: [numbers.p_value()], "none": list, "statistic": lambda: [
        numbers.fixed(10 ** dice.between(-1, 1.3), 2), numbers.p_value()]}[last]  # fmt: skip
    blank = [""] * len(stats())
    names = dice.shuffled(list(CATEGORIES))
    while len(rows) < target:
        if dice.chance(0.45):
            suffix = (
                dice.choice(("", "", ", mean (SD)", " (mean ± SD)", ", median [IQR]")) if not note else ""
            )
            shape = dice.choice((0, 0, 0, 1))
            values = [
                numbers.interval(digits, "{m} [{a}{d}{b}]", 10 ** dice.between(0.3, 2))
                if shape
                else numbers.spread(digits, 1.9, bracketed)
                for _ in columns
            ]
            rows.append(Row([measure(dice) + suffix, *values, *stats()]))
            continue
        name = names.pop() if names else dice.choice(list(CATEGORIES))
        levels = CATEGORIES[name]
        if len(levels) == 2 and dice.chance(0.4):  # one level says it all
            text = f"{name} ({levels[0].lower()})" if dice.chance(0.5) else f"{levels[0]} {name.lower()}"
            rows.append(Row([text + note, *(numbers.count_share(digits) for _ in columns), *stats()]))
            continue
        whole = stats() if tested == "parent" else blank
        rows.append(Row([strange(dice, name, 0.05) + note, *([""] * len(columns)), *whole], "parent"))
        for level in levels:
            each = stats() if tested == "level" else blank
            label = strange(dice, level, 0.04)
            rows.append(Row([label, *(numbers.count_share(digits) for _ in columns), *each], depth=depth))
    titles = [
        Title(
            dice.choice(("Variable", "Variables", "Characteristic", "Characteristics", "", "Parameter")),
            align="l",
        )
    ]
    above = (dice.choice(("Group", "Treatment group", "Study group", "Patients")),)
    above = above if len(columns) > 1 and dice.chance(0.25) else ()
    titles += [Title(text, above) for text in columns]
    titles += {"p": [Title(p_title(dice))], "none": [], "statistic": [
        Title(dice.choice((f"χ{SUPER}2{PLAIN}", "t", "F", "Statistic"))), Title(p_title(dice))]}[last]  # fmt: skip
    return Plan(titles, rows, "journal", "characteristics")


def regression(dice: Dice) -> Plan:
    """Odds or hazard ratios with confidence intervals, of one model or of two beside each other."""
    numbers = Numbers(dice)
    letter = dice.choice(
        ("OR", "HR", "RR", "β", "Odds ratio", "Hazard ratio", "Adjusted OR", "AOR", "Estimate")
    )
    interval = dice.choice(("95% CI", "95 % CI", "(95% CI)", "95% confidence interval", "CI 95%"))
    joined = dice.chance(0.5)
    models = dice.choice(
        ((), (), ("Univariate", "Multivariate"), ("Univariate analysis", "Multivariate analysis"), ("Crude", "Adjusted"),
         ("Model 1", "Model 2"), ("Model 1", "Model 2", "Model 3"), ("Men", "Women"))
    )  # fmt: skip
    tested, digits = dice.chance(0.75), dice.choice((2, 2, 2, 3))
    reference = dice.choice(
        ("1", "1.00", "1.0", "Reference", "Ref.", "1 (reference)", "–", "1.00 (ref)", "Ref")
    )
    shape = dice.choice(("{a}{d}{b}", "({a}{d}{b})", "{a}, {b}", "[{a}; {b}]", "({a}, {b})"))
    titles = [
        Title(dice.choice(("Variable", "Variables", "Factor", "", "Risk factor", "Predictor")), align="l")
    ]
    for model in models or ("",):
        above = (model,) if model else ()
        titles += (
            [Title(f"{letter} ({interval.strip('()')})", above)]
            if joined
            else [Title(letter, above), Title(interval, above)]
        )
        titles += [Title(p_title(dice), above)] if tested else []

    def block() -> list[str]:
        middle = 10 ** dice.between(-0.7, 0.8)
        found = (
            [numbers.interval(digits, "{m} " + (shape if shape[0] in "([" else f"({shape})"), middle)]
            if joined
            else [numbers.fixed(middle, digits), numbers.interval(digits, shape, middle)]
        )
        return found + ([numbers.p_value()] if tested else [])

    wide = len(block())
    rows: list[Row] = []
    target, depth = row_count(dice, 3, 45), dice.choice((0, 1, 1))
    names = dice.shuffled(list(CATEGORIES))
    while len(rows) < target:
        kept = [True, *(dice.chance(0.7) for _ in models[1:])]  # what is selected for the later models
        if dice.chance(0.4):
            label = measure(dice)
            rows.append(Row([label, *(v for keep in kept for v in (block() if keep else [""] * wide))]))
            continue
        name = names.pop() if names else dice.choice(list(CATEGORIES))
        levels = CATEGORIES[name]
        if dice.chance(0.3):
            label = f"{name} ({levels[-1].lower()} vs. {levels[0].lower()})"
            rows.append(Row([label, *(v for keep in kept for v in (block() if keep else [""] * wide))]))
            continue
        rows.append(Row([strange(dice, name, 0.05), *([""] * (wide * len(kept)))], "parent"))
        base = dice.integer(0, 1)
        for number, level in enumerate(levels):
            values = []
            for keep in kept:
                ref = [reference] + [""] * (wide - 1)
                values += ([""] * wide) if not keep else ref if number == base else block()
            rows.append(Row([level, *values], depth=depth))
    return Plan(titles, rows, "journal", "regression")


def events(dice: Dice) -> Plan:
    """Adverse events or diagnoses with counts by group, perhaps by grade."""
    numbers = Numbers(dice)
    names = groups(dice, 1, 3)
    grades = dice.choice(
        ((), (), ("Grade 1–2", "Grade 3–4"), ("Any grade", "Grade ≥3"), ("n", "%"), ("No.", "%"))
    )
    split = grades and grades[1] == "%"
    titles = [
        Title(
            dice.choice(("Adverse event", "Event", "Diagnosis", "Condition", "Symptom", "Complication", "")),
            align="l",
        )
    ]
    titles += [Title(g, (n,)) for n in names for g in grades] if grades else [Title(n) for n in names]
    pool = dice.choice((EVENTS, CONDITIONS))
    digits = dice.choice((0, 1, 1, 2))

    def value(col: int) -> str:
        if dice.chance(0.04):
            return dice.choice(MISSING)
        if split:
            return numbers.share(digits) if col % 2 else numbers.count(2.5)
        return numbers.count_share(digits, 2.2)

    rows = []
    for label in some(dice, pool, row_count(dice, 3, len(pool))):
        if dice.chance(0.05) and rows:
            rows.append(
                Row(
                    [dice.choice(("Hematologic", "Gastrointestinal", "Cardiac", "Respiratory", "Other"))],
                    "section",
                )
            )
        rows.append(Row([strange(dice, label, 0.08), *(value(col) for col in range(len(titles) - 1))]))
    if rows[-1].kind == "section":
        rows.pop()
    if dice.chance(0.25):
        rows.append(Row(["Total", *(value(col) for col in range(len(titles) - 1))], "total"))
    return Plan(titles, rows, "journal", "events")


def questionnaire(dice: Dice) -> Plan:
    """Items of a survey: long labels over several lines, short figures."""
    numbers = Numbers(dice)
    scale = dice.choice(
        (("Strongly agree", "Agree", "Neutral", "Disagree", "Strongly disagree"), ("Yes", "No", "Don't know"),
         ("Never", "Sometimes", "Often", "Always"), ("Mean", "SD"), ("Factor 1", "Factor 2", "Factor 3"),
         ("agree", "undecided", "disagree"), ("n", "%"), ("Mean (SD)", "α"), ("Correct", "Incorrect"))
    )  # fmt: skip
    tops = dice.choice(
        ((), (), ("General practitioners", "Lay persons"), ("Students", "Teachers"), ("Before", "After"))
    )
    titles = [Title(dice.choice(("Item", "Statement", "Question", "")), align="l")]
    titles += [Title(s, (t,)) for t in tops for s in scale] if tops else [Title(s) for s in scale]
    tested = dice.chance(0.35)
    titles += [Title(p_title(dice))] if tested else []
    mark = dice.choice(("", "", "{}. ", "{}) ", "Q{} ", "Q{}. "))
    digits = dice.choice((0, 1, 1, 2))
    counts = dice.chance(0.3)
    rows = []
    for number, text in enumerate(some(dice, ITEMS, row_count(dice, 3, 24)), 1):
        values = [numbers.count_share(digits, 2.5) if counts else numbers.fixed(100 * dice.random() ** 2, digits)
                  for _ in titles[1 : len(titles) - tested]]  # fmt: skip
        values += [dice.choice(("***", "**", "*", "ns", numbers.p_value()))] if tested else []
        rows.append(Row([mark.format(number) + strange(dice, text), *values]))
    return Plan(titles, rows, "journal", "questionnaire")


def comparison(dice: Dice) -> Plan:
    """Methods and their scores; the best in italics or with a mark now and then."""
    numbers = Numbers(dice)
    measures = some(dice, ("Accuracy", "Precision", "Recall", "F1", "F-measure", "AUC", "MCC", "RMSE", "MAE", "R2",
        "Sensitivity", "Specificity", "Time (s)", "Memory (MB)", "N50", "Coverage", "TPR", "FPR", "Kappa", "BIC", "AIC", "lnL"),
        dice.integer(2, 6))  # fmt: skip
    sets = dice.choice(
        ((), (), (), ("Training set", "Test set"), ("Dataset A", "Dataset B"), ("Human", "Mouse", "Yeast"))
    )
    titles = [Title(dice.choice(("Method", "Model", "Algorithm", "Classifier", "Tool", "")), align="l")]
    titles += [Title(m, (s,)) for s in sets for m in measures] if sets else [Title(m) for m in measures]
    digits, low = dice.choice((1, 2, 2, 3, 3, 4)), dice.choice((0, 1, 2))
    spread = dice.chance(0.15)
    rows, shared = [], dice.chance(0.25)
    for name in some(dice, METHODS, row_count(dice, 2, 30)):
        values = [numbers.spread(digits, low, False) if spread else numbers.fixed(10 ** dice.between(low - 0.8, low), digits)
                  for _ in titles[1:]]  # fmt: skip
        values = [dice.choice(MISSING) if dice.chance(0.02) else value for value in values]
        rows.append(Row([strange(dice, name), *values]))
        if shared:
            rows[-1].values.insert(
                1, dice.choice(("Linear", "RBF", "Default", "Tuned", "CDR", "RS", "CDR–RS", "k = 5"))
            )
    if shared:
        titles.insert(1, Title(dice.choice(("Setting", "model", "Kernel", "Variant")), align="l"))
        each = dice.choice((2, 3))
        for number, row in enumerate(rows):
            row.cover = min(each, len(rows) - number) if number % each == 0 else 1
            row.values[0] = row.values[0] if number % each == 0 else ""
    return Plan(titles, rows, "journal", "comparison", grouped=shared)
