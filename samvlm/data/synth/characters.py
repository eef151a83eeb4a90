"""The characters that the renderer draws and that the shipped model can spell."""

ASCII = "".join(map(chr, range(0x20, 0x7F)))
"""Printable ASCII, the blank included."""

LATIN1 = "".join(map(chr, [*range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)]))
"""Accented letters and ligatures of Latin-1."""

SYMBOLS = "–—±×≤≥∼≈°µμαβγδχσ†‡§•’‘“”€£½²³…√∞→−¥©®¼¾¹«»¡¿¶·÷‰™♦"
"""Typographic, mathematical and Greek signs that tables of papers and reports use."""

CHARSET = ASCII + LATIN1 + SYMBOLS
"""Every character that may occur in a synthetic answer (line feeds and OTSL tokens aside), in a stable order."""
