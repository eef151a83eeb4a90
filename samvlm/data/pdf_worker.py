"""Draw PDF pages in a process of its own: started by `pdf.py`, never imported; needs only pypdfium2.

It reads one JSON line a request from standard input and answers on standard output with a JSON line, for a
page followed by its pixels. A page that hangs, crashes or eats memory takes this process only.
"""

import contextlib
import ctypes
import json
import math
import os
import signal
import sys

MEMORY = 2 << 30  # bytes of address space
PASSWORD_ERROR, SECURITY_ERROR = 4, 5  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY of fpdfview.h


def _limit_resources() -> None:
    """Bound memory, and leave no core dump when PDFium aborts. A no-op on Windows."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _open_document(pdfium, request: dict, data: bytes | None):
    """Open the document; return (document, answer)."""
    try:
        document = pdfium.PdfDocument(request["path"] if data is None else data, password=request["password"])
    except pdfium.PdfiumError as problem:
        code = getattr(problem, "err_code", None)  # pypdfium2 4 has it in the text only
        error = {PASSWORD_ERROR: "password", SECURITY_ERROR: "security"}.get(code, "damaged")
        if code is None and "password" in str(problem).lower():
            error = "password"
        return None, {"error": error}
    with contextlib.suppress(pdfium.PdfiumError):
        document.init_forms()  # so that what people typed into form fields is drawn
    return document, {"pages": len(document)}


def _corners(pdfium, page, width: int, height: int) -> list[list[float]]:
    """Points of the page (PDF units) that lie at the pixels (0, 0), (width, 0) and (0, height) of its picture."""
    corners = []
    for at in ((0, 0), (width, 0), (0, height)):
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium.raw.FPDF_DeviceToPage(page.raw, 0, 0, width, height, 0, *at, x, y)
        corners.append([x.value, y.value])
    return corners


def _origin(pdfium, page) -> list[float]:
    """The lower left corner of the media box; of what is drawn, where the page has no box of its own."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if pdfium.raw.FPDFPage_GetMediaBox(page.raw, left, bottom, right, top):
        return [min(left.value, right.value), min(bottom.value, top.value)]
    drawn = pdfium.raw.FS_RECTF()
    pdfium.raw.FPDF_GetPageBoundingBox(page.raw, drawn)
    return [drawn.left, drawn.bottom]


def _draw(pdfium, document, request: dict):
    """Draw one page; return (answer, pixels). With "measure", only say where it would lie: no pixels."""
    if request["page"] >= len(document):
        return {"error": "absent"}, b""
    page = document[request["page"]]
    width, height = page.get_size()  # in points, turned as the page says
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        return {"error": "size"}, b""
    scale = min(request["dpi"] / 72, math.sqrt(request["max_pixels"] / (width * height)))
    longest = max(width, height) * scale
    if longest > request["max_pixels"]:  # a hair line: its short side is a pixel
        return {"error": "size"}, b""
    if request.get("measure"):
        size = [math.ceil(width * scale), math.ceil(height * scale)]  # as `render` rounds
        return {"size": size, "corners": _corners(pdfium, page, *size), "origin": _origin(pdfium, page)}, b""
    bitmap = page.render(scale=scale, rev_byteorder=True)
    answer = {"size": [bitmap.width, bitmap.height], "stride": bitmap.stride, "mode": bitmap.mode}
    return answer, bytes(bitmap.buffer)


def main() -> None:
    """Answer requests until standard input ends."""
    _limit_resources()
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers

    def answer(message: dict, payload: bytes = b"") -> None:
        answers.write(json.dumps({**message, "bytes": len(payload)}).encode() + b"\n" + payload)
        answers.flush()

    try:
        import pypdfium2 as pdfium
    except ImportError:
        answer({"error": "missing"})
        return
    document = None
    for line in requests:
        request = json.loads(line)
        if hasattr(signal, "alarm"):  # should the parent be gone, a hanging page ends itself
            signal.alarm(math.ceil(request["timeout"]) + 5)
        if "page" not in request:
            data = requests.read(request["size"]) if request["size"] is not None else None
            document, message = _open_document(pdfium, request, data)
            answer(message)
            if document is None:
                return
            continue
        try:
            message, pixels = _draw(pdfium, document, request)
        except (pdfium.PdfiumError, MemoryError, ValueError):
            message, pixels = {"error": "damaged"}, b""
        answer(message, pixels)
        if hasattr(signal, "alarm"):
            signal.alarm(0)


if __name__ == "__main__":
    main()
