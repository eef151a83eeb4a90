"""Training runs that are killed at random places, inside saves too, end with the bits of the unbroken run.

As long as one likes: python tests/kill_runs.py --kills 50 --folder runs/kills
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

KILL_RUNS = Path(__file__).resolve().parents[1] / "kill_runs.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
def test_killed_runs_end_as_the_unbroken_one(tmp_path):
    """Other places each time; what is said names the seed."""
    seed = str(random.SystemRandom().randrange(10**6))
    command = [sys.executable, str(KILL_RUNS), "--folder", str(tmp_path / "runs"), "--seed", seed]
    done = subprocess.run(
        [*command, "--kills", "2", "--cases", "whole", "two"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-6000:]}"
    kills = re.findall(r"^(\w+): (\d+) kills in \d+ runs", done.stdout, re.M)
    assert kills == [("whole", "2"), ("two", "2")]
