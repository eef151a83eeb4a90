"""Fenced blocks of Markdown pages: which there are, what they command, and running them."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RUNS = "<!-- test: runs -->"  # invisible on the page, in the line before a block that a test executes


class Block(NamedTuple):
    line: int
    language: str
    code: str
    runs: bool


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a Markdown text."""
    found = []
    for match in re.finditer(rf"(^{re.escape(RUNS)}\n)?^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        found.append(Block(text.count("\n", 0, match.start()) + 1, match[2], match[3], bool(match[1])))
    return found


def commands(block: Block) -> list[str]:
    """The command lines of a block without comments, continued lines joined."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def links(text: str) -> list[str]:
    """What a page links to or shows, without the part behind #."""
    return sorted(
        set(re.findall(r"\]\(([^)#\s]+)", text)) | set(re.findall(r'(?:src|href)="([^"#]+)"', text))
    )


def run_block(block: Block, folder: Path, **variables: str) -> str:
    """Run a block in a folder as a user would; return what it printed. It must end well and in no traceback."""
    environment = os.environ | {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "default",
        **variables,
    }
    run = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    result = subprocess.run(
        [*run, block.code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, f"{block.code}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result.stdout
