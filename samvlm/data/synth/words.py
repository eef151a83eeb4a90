"""Words, numbers and other strings that fill synthetic documents; all written or made up here."""

from .characters import ASCII, LATIN1, SYMBOLS
from .dice import Dice

WORDS = (
    "the of and in to for with on at by from per total mean median range number rate age years year sex male female "
    "group control treatment patients cases sample samples value values score index ratio level levels baseline "
    "follow-up outcome risk factor factors model test analysis method study studies author country region type class "
    "category variable variables measure characteristic characteristics parameter estimate standard deviation error "
    "confidence interval hazard odds adjusted unadjusted overall survival mortality incidence prevalence disease "
    "cancer tumor tumour stage grade size lymph node blood pressure heart body mass weight height glucose insulin "
    "cholesterol protein gene genes expression cell cells tissue liver lung kidney brain breast bone muscle skin "
    "plasma serum dose drug placebo therapy surgery hospital clinical diagnosis symptom pain infection virus bacteria "
    "species strain primer sequence forward reverse temperature time day days week weeks month months hour hours "
    "concentration volume yield purity density length width depth area distance speed energy power water soil air "
    "carbon nitrogen oxygen acid base salt metal iron zinc copper sodium potassium calcium income revenue sales cost "
    "costs price prices profit loss assets liabilities equity tax net gross margin operating expenses budget spending "
    "share shares market growth change increase decrease employment unemployment population household households "
    "education school primary secondary tertiary university students teachers training agriculture industry services "
    "manufacturing construction transport trade exports imports balance debt deficit investment capital interest bank "
    "loan credit cash quarter first second third fourth final annual monthly daily previous current forecast actual "
    "target plan planned completed pending open closed north south east west central eastern western northern urban "
    "rural national regional local public private government federal state district city county all none other others "
    "unknown missing yes no not available applicable significant positive negative high low medium moderate severe mild "
    "normal abnormal present absent white black green blue red left right upper lower front rear single double triple "
    "item items code name description quantity unit units amount date status order product customer supplier invoice "
    "account reference note notes remarks source page section table figure appendix article regulation member states "
    "Austria Belgium Bulgaria Croatia Cyprus Denmark Estonia Finland France Germany Greece Hungary Ireland Italy Latvia "
    "Lithuania Luxembourg Malta Netherlands Norway Poland Portugal Romania Slovakia Slovenia Spain Sweden Switzerland "
    "Turkey Ukraine Kingdom Japan China India Brazil Canada Mexico Australia Africa Asia Europe America Paris London "
    "Berlin Madrid Rome Vienna Oslo January February March April May June July August September October November "
    "December Monday Tuesday Wednesday Thursday Friday Saturday Sunday accuracy precision recall training validation "
    "learning network layer layers dataset baseline proposed ours parameters input output hidden attention memory "
    "hypertension diabetes smoking alcohol obesity anxiety depression quality life physical activity social support "
    "intervention randomized observational cohort multivariate univariate regression logistic coefficient correlation "
    "variance significance frequency distribution percentage proportion cumulative relative absolute maximum minimum"
).split()
_ONSETS = (
    "b c d f g h j k l m n p r s t v w z bl br ch cl cr dr fl fr gl gr kn ph pl pr qu sc sh sk sl sm sn sp st str sw "
    "th thr tr tw wh wr x y"
).split()
_VOWELS = "a e i o u a e i o u a e i o ae ai au ea ee ei eu ia ie io oa oi oo ou ue ui y".split()
_CODAS = "n r s t l m d c g p b k x ct ck ff ft ld lf ll lm lt mp nc nd ng nk nt ph rb rd rk rl rm rn rp rs rt ss st th".split()
_ENDINGS = "ing tion ed er est ly ism ity ment ness ous al ive ate ase ine ide ol itis osis emia oma gen cyte".split()
LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
PUNCTUATION = "".join(c for c in ASCII if not c.isalnum() and c != " ")
UNITS = (
    "mg kg g cm mm km m s ms h min mL L dL % °C K Hz kHz MHz kW MW V mV A mA Pa kPa bar mmHg mol mmol μm μg μL nm "
    "€ $ £ USD EUR GBP m² m³ ha t mg/dL kg/m² mmol/L ng/mL U/L IU/mL cells/μL n N No. years months days p.p. bps dB"
).split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
LONG_MONTHS = (
    "January February March April May June July August September October November December"
).split()


def letters(dice: Dice, alphabet: str, low: int, high: int) -> str:
    """A string of low..high independent characters."""
    random, n = dice.random, len(alphabet)
    return "".join([alphabet[int(n * random())] for _ in range(dice.integer(low, high))])


def invented(dice: Dice) -> str:
    """A pronounceable word that exists nowhere, lower case."""
    choice = dice.choice
    word = ""
    for _ in range(dice.integer(1, 3)):
        word += choice(_ONSETS) + choice(_VOWELS)
        if dice.random() < 0.45:
            word += choice(_CODAS)
    return word + choice(_ENDINGS) if dice.random() < 0.15 else word


def accented(dice: Dice, word: str) -> str:
    """`word` with one letter replaced by an accented one."""
    spot = dice.integer(0, len(word) - 1)
    return word[:spot] + dice.choice(LATIN1) + word[spot + 1 :]


def word(dice: Dice) -> str:
    """One word in some case: half from the list, half invented, now and then accented or random letters."""
    draw = dice.random()
    if draw < 0.5:
        text = dice.choice(WORDS)
    elif draw < 0.92:
        text = invented(dice)
    else:
        text = letters(dice, LOWER, 1, 8)
    draw = dice.random()
    if draw < 0.30:
        text = text[0].upper() + text[1:]
    elif draw < 0.38:
        text = text.upper()
    if dice.random() < 0.02:
        text = accented(dice, text)
    return text


def phrase(dice: Dice, words: int, capital: float = 0.8) -> str:
    """`words` words with blanks between; starts with a capital letter with probability `capital`."""
    parts = [dice.choice(WORDS) if dice.random() < 0.6 else invented(dice) for _ in range(words)]
    if dice.random() < 0.06:
        parts[-1] = dice.choice(
            (f"({parts[-1]})", f"/{parts[-1]}", f"{parts[-1]},", f"& {parts[-1]}", accented(dice, parts[-1]))
        )
    if words > 1 and dice.random() < 0.05:
        parts[0] += dice.choice(("-", " - ", "/", ": ", ", ")) + parts.pop(1)
    text = " ".join(parts)
    return text[0].upper() + text[1:] if dice.random() < capital else text


def code(dice: Dice) -> str:
    """An abbreviation, identifier or formula-like string."""
    kind = dice.integer(0, 7)
    if kind == 0:
        return letters(dice, UPPER, 2, 5)
    if kind == 1:
        return letters(dice, UPPER, 1, 3) + dice.choice(("-", "", "/", ".")) + letters(dice, DIGITS, 1, 5)
    if kind == 2:
        return letters(dice, UPPER + DIGITS, 3, 9)
    if kind == 3:
        return letters(dice, LOWER + UPPER + DIGITS, 3, 10)
    if kind == 4:
        return "-".join(letters(dice, UPPER + DIGITS, 1, 4) for _ in range(dice.integer(2, 4)))
    if kind == 5:
        return letters(dice, "ACGT", 4, 20)
    if kind == 6:
        return f"{invented(dice)}_{dice.choice(WORDS)}{letters(dice, DIGITS, 0, 2)}"
    return f"{letters(dice, UPPER, 1, 1)}.{letters(dice, DIGITS, 1, 2)}.{letters(dice, DIGITS, 1, 2)}"


def grouped(value: int, separator: str) -> str:
    """`value` with a separator between groups of three digits."""
    return f"{value:,}".replace(",", separator)


def number(dice: Dice) -> str:
    """Any kind of number that a table may hold."""
    draw = dice.random()
    if draw < 0.25:
        return str(int(10 ** dice.between(0, 4.5)))
    if draw < 0.55:
        return f"{10 ** dice.between(-1, 3):.{dice.integer(1, 3)}f}"
    if draw < 0.70:
        return grouped(int(10 ** dice.between(3, 8)), dice.choice((",", ",", ".", " ", "'")))
    if draw < 0.80:
        return f"{dice.between(0, 100):.{dice.integer(0, 2)}f}" + dice.choice(("%", "%", " %"))
    if draw < 0.88:
        return dice.choice("-−–+") + f"{10 ** dice.between(-1, 2):.{dice.integer(0, 2)}f}"
    if draw < 0.94:
        return dice.choice("$€£") + grouped(int(10 ** dice.between(1, 6)), ",")
    return f"{10 ** dice.between(-1, 2):.2f}".replace(".", ",")


def date(dice: Dice) -> str:
    """A date, time or period in one of the usual spellings."""
    year, month, day = dice.integer(1950, 2035), dice.integer(1, 12), dice.integer(1, 28)
    kind = dice.integer(0, 9)
    return (
        str(year),
        f"{year}-{month:02}-{day:02}",
        f"{day:02}.{month:02}.{year}",
        f"{month}/{day}/{year}",
        f"{day} {MONTHS[month - 1]} {year}",
        f"{MONTHS[month - 1]}-{year % 100:02}",
        f"{LONG_MONTHS[month - 1]} {day}, {year}",
        f"{year}–{(year + dice.integer(1, 5)) % 100:02}",
        f"Q{dice.integer(1, 4)} {year}",
        f"{dice.integer(0, 23):02}:{dice.integer(0, 59):02}",
    )[kind]


def address(dice: Dice) -> str:
    """An e-mail address or web address."""
    host = f"{invented(dice)}.{dice.choice(('com', 'org', 'de', 'eu', 'co.uk', 'gov', 'edu', 'io'))}"
    if dice.chance(0.6):
        return f"{invented(dice)}{dice.choice(('.', '_', '', '-'))}{invented(dice)}@{host}"
    return (
        dice.choice(("https://", "www.", "http://")) + host + dice.choice(("", "/", f"/{dice.choice(WORDS)}"))
    )


def noise(dice: Dice) -> str:
    """Random characters of any class, signs and symbols included."""
    draw = dice.random()
    if draw < 0.35:
        return letters(dice, ASCII[1:], 1, 8)
    if draw < 0.55:
        return letters(dice, PUNCTUATION, 1, 4)
    if draw < 0.75:
        return letters(dice, SYMBOLS + LATIN1, 1, 3)
    return letters(dice, UPPER + DIGITS, 1, 8)


def token(dice: Dice) -> str:
    """Anything without a line feed: the material of strips and of odd cells."""
    draw = dice.random()
    if draw < 0.46:
        return word(dice)
    if draw < 0.70:
        return number(dice)
    if draw < 0.80:
        return noise(dice)
    if draw < 0.88:
        return code(dice)
    if draw < 0.92:
        return date(dice)
    if draw < 0.95:
        text = word(dice)
        marks = dice.choice(("()", "[]", "“”", '""', "‘’", "{}", "''", "<>"))
        return marks[0] + text + marks[1]
    if draw < 0.97:
        return address(dice)
    return word(dice) + dice.choice(",.;:!?*†‡§")
