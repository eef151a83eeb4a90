"""img2table and Tesseract behind a pipe, for scripts/bench_readers.py: they may hang or die, or live elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samvlm.evaluation.cases import Case
from samvlm.evaluation.predictions import Prediction
from samvlm.model.text_scale import text_height

CHILD = Path(__file__).with_name("img2table_reader.py")
INSTALL = {
    "img2table": "{python} -m pip install img2table, or name a Python that has it: --python VENV/bin/python",
    "tesseract": "apt-get install tesseract-ocr (or the package of your system) and see that it is on the PATH",
}
TEXT_HEIGHT, MOST = (
    18.0,
    4.0,
)  # pixels that images are enlarged to, if no number is given; never more than MOST times
START = 120  # seconds for img2table to be imported


class Img2table:
    """img2table and Tesseract, in a process that may hang or die: that costs the image at hand.

    Raises ValueError if one of them is not installed, or does not start.
    """

    folder = "img2table"

    def __init__(self, python: str, settings: dict[str, Any], upscale: float | None, timeout: float):
        """upscale: how many times images are enlarged; None: until their text is TEXT_HEIGHT pixels tall."""
        self.python, self.settings, self.upscale, self.timeout = python, settings, upscale, timeout
        self.process: subprocess.Popen[str] | None = None
        self.found: dict[int, int] = {}  # tables in an image -> images
        self.scale = 1.0  # of the next image
        self.peaks = [0, 0]  # of img2table, of Tesseract
        self.start()

    def start(self) -> None:
        """Start the process and wait until all is imported."""
        threads = self.settings["threads"]
        try:
            self.process = subprocess.Popen(
                [self.python, str(CHILD), json.dumps(self.settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **({"OMP_THREAD_LIMIT": str(threads)} if threads else {})},
                start_new_session=True,  # it is ended with every Tesseract that it started
            )
        except OSError as problem:
            raise ValueError(f"--python {self.python}: {problem.strerror}") from None
        told = self.answer(START)
        if "versions" not in told:
            self.stop()
            name = told.get("missing")
            if name is None:
                raise ValueError(f"{self.python} {CHILD}: {told['error']}")
            how = told.get("reason") or INSTALL[name].format(python=self.python)
            raise ValueError(f"{name} is not installed: {how}")
        self.versions = told["versions"]
        self.identity = {
            "kind": "img2table",
            "name": "img2table {img2table} + Tesseract {tesseract}".format(**self.versions),
            "upscale": self.upscale or f"to {TEXT_HEIGHT:g} px",
            "settings": self.settings,
        }

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next line of the process, {"error"} if none comes."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            if not waiting.select(seconds):
                return {"error": f"no answer within {seconds:g} s"}
        line = self.process.stdout.readline()
        if not line:
            return {"error": f"the process ended with {self.process.wait()}"}
        return json.loads(line)

    def prepare(self, image: Image.Image) -> None:
        """Look how much the next image is to be enlarged."""
        size = text_height(np.asarray(image.convert("L"))) if self.upscale is None else None
        self.scale = self.upscale or (min(MOST, max(1.0, TEXT_HEIGHT / size)) if size else 1.0)

    def read(self, case: Case) -> Prediction:
        """One table at most; none is no error, but it scores 0."""
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(json.dumps({"path": str(case.image), "scale": self.scale}) + "\n")
            self.process.stdin.flush()
            told = self.answer(self.timeout)
        except BrokenPipeError:
            told = {"error": "the process has ended"}
        if told.get("memory"):
            self.peaks = [max(pair) for pair in zip(self.peaks, told["memory"], strict=True)]
        if "memory" not in told:  # it hangs or is gone
            self.stop()
        if "error" in told:
            return Prediction.failed(case, told["error"])
        self.found[told["tables"]] = self.found.get(told["tables"], 0) + 1
        return Prediction.of_answer(case, told["html"], "stop")

    def memory(self) -> dict[str, int | None]:
        """Of img2table's process, and of the largest Tesseract beside it."""
        own, tesseract = self.peaks
        return {"process": own or None, "Tesseract": tesseract or None}

    def stop(self) -> None:
        """End the process, whatever it is doing, and what it started."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
