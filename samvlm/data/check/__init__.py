"""What is wrong with record files, before anyone trains on them; behind `samvlm data check`.

report = check_records(["records.jsonl"])
"""

from .checker import Report, check_records
from .examination import Examination, Examiner, read_picture, true_table
from .findings import KINDS, Example, Finding
from .stats import Statistics

__all__ = [
    "KINDS",
    "Examination",
    "Examiner",
    "Example",
    "Finding",
    "Report",
    "Statistics",
    "check_records",
    "read_picture",
    "true_table",
]
