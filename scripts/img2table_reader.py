"""Read tables with img2table and Tesseract, an image a line: the other side of scripts/bench_readers.py, which starts it.

    echo '{"path": "table.png", "scale": 2.0}' | python scripts/img2table_reader.py '{"psm": 6}'

It imports nothing of samvlm, so that the Python of any environment with img2table can run it, and so that its memory
is that of img2table alone. The settings are those of SETTINGS. The first line of its output has the versions or, under
"missing", the package that is not there; then there is one line for each image, {"html", "tables", "memory"} or
{"error"}. Of several tables the one with most cells is given. "memory" is the peak until then in bytes, of img2table and
of the largest Tesseract that it started, on systems with /proc.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

SETTINGS = {
    "margin": 20,  # white pixels around the image: img2table is made for pages, not for tables that are cut out
    "psm": 11,  # how Tesseract looks for text; img2table's own default
    "min_confidence": 50,  # of a word, from 0 to 99; img2table's own default
    "implicit_rows": False,
    "threads": None,  # of OpenCV; Tesseract's come from OMP_THREAD_LIMIT
}
LONGEST = 9000  # pixels of a side: img2table reads no more than four digits of Tesseract's boxes
LOOK_EVERY = 0.02  # seconds between two looks at the memory of Tesseract


def missing() -> str | None:
    """The first package that is not there, "img2table" or "tesseract"."""
    try:
        import img2table  # noqa: F401
    except ImportError:
        return "img2table"
    return None if shutil.which("tesseract") else "tesseract"


def versions() -> dict[str, str]:
    """Of Python, img2table, OpenCV and Tesseract."""
    found = {"python": sys.version.split()[0]}
    for name in ("img2table", "opencv-contrib-python"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    told = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"tesseract\s+v?(\S+)", told.stdout + told.stderr)
    return found | {"tesseract": number[1] if number else "unknown"}


def prepared(path: str, scale: float, margin: int) -> str | bytes:
    """What img2table is given: the path, or the PNG of the image enlarged and with a margin."""
    if scale == 1 and not margin:
        return path
    import cv2

    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("OpenCV cannot decode the image")
    scale = min(scale, (LONGEST - 2 * margin) / max(image.shape[:2]))
    if scale != 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if margin:
        white = (255, 255, 255)
        image = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_CONSTANT, value=white)
    encoded, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise ValueError("OpenCV cannot encode the image")
    return data.tobytes()


def read(path: str, scale: float, ocr: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The table of an image as HTML, "" if none was found, and how many were found."""
    from img2table.document import Image

    found = Image(prepared(path, scale, settings["margin"])).extract_tables(
        ocr=ocr,
        borderless_tables=True,
        implicit_rows=settings["implicit_rows"],
        min_confidence=settings["min_confidence"],
    )
    largest = max(found, key=lambda table: sum(map(len, table.content.values())), default=None)
    return {"html": largest.html if largest is not None else "", "tables": len(found)}


class TesseractMemory(threading.Thread):
    """Keeps the largest peak of any Tesseract below this process; `peak` is in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        """Look, for ever."""
        while True:
            for process in below(os.getpid()):
                if named(process).startswith("tesseract"):  # between fork and exec it is still Python
                    self.peak = max(self.peak, peak_memory(process) or 0)
            time.sleep(LOOK_EVERY)


def below(process: int | str) -> list[str]:
    """The numbers of all processes that a process started, and of those that these started."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            found += [child, *below(child)]
    return found


def named(process: str) -> str:
    """The name of a process; "" when it has ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:
        return ""


def peak_memory(process: int | str = "self") -> int | None:
    """The most memory that a process held so far, in bytes; None where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    line = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(line[1]) * 1024 if line else None


def main(argv: list[str]) -> int:
    """Answer line by line until the input ends."""
    settings = SETTINGS | (json.loads(argv[0]) if argv else {})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # img2table lets Tesseract write its version there

    def answer(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    if package := missing():
        answer({"missing": package})
        return 2
    from img2table.ocr import TesseractOCR

    if settings["threads"]:
        import cv2

        cv2.setNumThreads(settings["threads"])
    try:
        ocr = TesseractOCR(psm=settings["psm"])
    except OSError as problem:
        answer({"missing": "tesseract", "reason": str(problem)})
        return 2
    answer({"versions": versions()})
    watched = TesseractMemory()
    watched.start()
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            found = read(asked["path"], asked.get("scale", 1.0), ocr, settings)
        except Exception as problem:  # whatever an image does to the libraries, the next one comes
            found = {"error": f"{type(problem).__name__}: {problem}"}
        own = peak_memory()
        answer(found | {"memory": own and [own, watched.peak]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
