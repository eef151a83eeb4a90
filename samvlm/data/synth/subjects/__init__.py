"""What tables of journals, reports and shops say, drawn at random: shared by the drawn and by the printed tables."""

from ..dice import Dice
from .biology import anything, correlations, genes, measurements, parameters, primers, studies
from .journal import characteristics, comparison, events, questionnaire, regression
from .plan import Plan
from .reports import accounts, prices, programmes, schedule, yearbook

PROFILES = {
    "journal": {
        characteristics: 3, regression: 3, events: 1.3, questionnaire: 1.2, comparison: 1.5, primers: 0.8, genes: 2,
        measurements: 4, parameters: 1, studies: 1.4, correlations: 0.6, anything: 2.2, yearbook: 0.6,
    },
    "report": {
        yearbook: 7, accounts: 3, programmes: 1.5, prices: 0.5, anything: 1.2, schedule: 0.3, events: 0.2, studies: 0.3,
    },
    "business": {prices: 3, schedule: 1.5, accounts: 1, programmes: 1, anything: 0.5},
}  # fmt: skip
"""Manner of a table -> the makers of what it says, with their weights."""
MIX = {"journal": 5.0, "report": 4.0, "business": 1.0}
"""Manners of tables and their weights where none are given."""


def make_plan(dice: Dice, manner: str) -> Plan:
    """What a table of a manner says."""
    plan = dice.weighted(PROFILES[manner])(dice)
    plan.manner = manner
    return plan
