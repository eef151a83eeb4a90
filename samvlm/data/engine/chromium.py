"""Headless Chromium as a typesetter: HTML in, PDF out. Found on the path or named by SAMVLM_CHROMIUM; never downloaded."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
MISSING = (
    "no Chromium found to set tables with: install one (Debian: `apt install chromium`) or name it in SAMVLM_CHROMIUM; "
    "drawn tables, {synth: table}, need none"
)


def find_chromium() -> str:
    """The program. Raises ValueError where there is none."""
    named = os.environ.get("SAMVLM_CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise ValueError(
                f"SAMVLM_CHROMIUM={named} is no program; give the path of a Chromium, or unset it"
            )
        return found
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise ValueError(MISSING)


@cache
def version() -> str:
    """What the program calls itself, for the notes of a set of tables."""
    answer = subprocess.run([find_chromium(), "--version"], capture_output=True, text=True, timeout=60)
    return answer.stdout.strip() or "Chromium"


def print_pdf(html: str, timeout: float = 300) -> bytes:
    """Print a document; the PDF's bytes. Raises ValueError where there is no engine or it fails."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(prefix="samvlm-print-") as folder:
        source, target = Path(folder) / "tables.html", Path(folder) / "tables.pdf"
        source.write_text(html, encoding="utf-8")
        command = [program, "--headless", "--disable-gpu", "--no-pdf-header-footer", "--disable-extensions"]
        command += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}/profile"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # it refuses to run as root otherwise; the pages are our own
        command += [f"--print-to-pdf={target}", source.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"{program} took longer than {timeout:g} s to print; give fewer tables at once"
            ) from None
        if not target.is_file():
            told = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise ValueError(f"{program} printed nothing: {told[0]}")
        return target.read_bytes()
