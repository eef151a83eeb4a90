"""Score pairs in a process of its own: started by `pairs.py`, never imported.

It reads a JSON line [prediction, truth, metrics] from standard input and answers with a line [scores, error]. The
metrics need no torch, so a bare module stands for the package root, which would load it.
"""

import json
import os
import sys
import types
from pathlib import Path


def main() -> None:
    """Answer until standard input ends."""
    package = types.ModuleType("samvlm")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["samvlm"] = package
    from samvlm.metrics.pairs import score_pair

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    for line in sys.stdin.buffer:
        score = score_pair(*json.loads(line))
        answers.write(json.dumps([score.scores, score.error]).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
