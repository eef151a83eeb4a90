"""Small images and PDFs for the tests, made on the spot."""

import hashlib
import io
import struct

import numpy as np
from PIL import Image, ImageDraw


def drawing(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A white page with a black box at its upper left and a grey one at its lower right."""
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    draw.rectangle([8, 8, width // 2 - 8, height // 3], fill=0)
    draw.rectangle([width * 3 // 4, height * 3 // 4, width - 6, height - 6], fill=128)
    return page.convert(mode)


def encode(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def difference(a: Image.Image, b: Image.Image) -> float:
    """The largest difference of two images of one size, in grey levels of 255."""
    assert a.size == b.size and a.mode == b.mode, (a.size, b.size, a.mode, b.mode)
    return float(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


def pdf(
    *contents: str, box: str = "0 0 200 100", count: int | None = None, forms: tuple[str, ...] = ()
) -> bytes:
    """A PDF with a page for each content stream; `box` in points, `count` as the page tree claims it.

    `forms` are content streams that others, forms too, draw as /X0, /X1 …
    """
    names = " ".join(f"/X{i} {1000 + i} 0 R" for i in range(len(forms)))
    resources = f"/Resources << /Font << /F1 3 0 R >> /XObject << {names} >> >>"
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(contents)))
    objects: dict[int, str | tuple[str, str]] = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(contents) if count is None else count} >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for i, content in enumerate(contents):
        page, stream = 4 + 2 * i, 5 + 2 * i
        objects[page] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents {stream} 0 R {resources} >>"
        )
        objects[stream] = ("", content)
    for i, form in enumerate(forms):
        objects[1000 + i] = (f"/Type /XObject /Subtype /Form /BBox [0 0 200 100] {resources}", form)
    return assemble(objects)


def assemble(objects: dict[int, str | tuple[str, str]], key: bytes = b"", encryption: str = "") -> bytes:
    """The file of numbered objects, a stream being (entries, content); encrypted if there is a key."""
    body, table = b"%PDF-1.7\n", "xref\n0 1\n0000000000 65535 f \n"
    for number, item in sorted(objects.items()):
        table += f"{number} 1\n{len(body):010d} 00000 n \n"
        data = item.encode("latin-1") if isinstance(item, str) else b""
        if isinstance(item, tuple):
            content = item[1].encode("latin-1")
            if key:
                content = rc4(
                    hashlib.md5(key + struct.pack("<I", number)[:3] + b"\0\0").digest()[:10], content
                )
            data = f"<< {item[0]} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"
        body += f"{number} 0 obj\n".encode() + data + b"\nendobj\n"
    trailer = (
        f"trailer\n<< /Size {max(objects) + 1} /Root 1 0 R {encryption} >>\nstartxref\n{len(body)}\n%%EOF\n"
    )
    return body + table.encode() + trailer.encode()


def rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def encrypted_pdf(content: str, user: str, owner: str) -> bytes:
    """A PDF of one page under the standard 40-bit encryption (ISO 32000-1, 7.6.3, algorithms 2 to 4)."""
    filler = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    user_key, owner_key = ((word.encode() + filler)[:32] for word in (user, owner))
    identity, rights = b"0123456789abcdef", -4
    for_owner = rc4(hashlib.md5(owner_key).digest()[:5], user_key)
    key = hashlib.md5(user_key + for_owner + struct.pack("<i", rights) + identity).digest()[:5]
    for_user = rc4(key, filler)
    encryption = f"/ID [<{identity.hex()}> <{identity.hex()}>] /Encrypt << /Filter /Standard /V 1 /R 2 "
    encryption += f"/O <{for_owner.hex()}> /U <{for_user.hex()}> /P {rights} >>"
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R /Resources << >> >>",
        4: ("", content),
    }
    return assemble(objects, key, encryption)


def text_page(text: str) -> str:
    """The content stream of a page with one line of text."""
    return f"BT /F1 24 Tf 20 40 Td ({text}) Tj ET"
