"""Typeset the sample table that ships: groff's tbl, so not the renderer that training draws with.

    apt-get install groff && python scripts/typeset_sample.py samvlm/assets/sample_table.png

The figures are made up; the last row holds the means of those above.
"""

import subprocess
import sys

import numpy as np
import pypdfium2
from PIL import Image

DPI = 120
MARGIN = 12  # pixels of white around the outermost ink
SOURCE = r""".fam H
.ps 10
.vs 14p
.sp 2
.TS
tab(;);
lp10 cp10 cp10 cp10 cp10
l n n n n.
_
Catalyst;Batch (%);Flow (%);Cost (EUR);Runs
_
Palladium;91.4;88.0;1,250;12
Nickel;84.7;86.2;310;18
Copper;62.9;71.5;96;9
Iron;48.3;55.1;41;15
Cobalt;77.0;79.6;405;7
_
Mean;72.9;76.1;420;12.2
_
.TE
"""


def typeset(source: str) -> Image.Image:
    """Return the page that groff sets, cut to its ink and a margin. Raises OSError where groff is missing."""
    pdf = subprocess.run(
        ["groff", "-t", "-Tpdf"], input=source.encode(), stdout=subprocess.PIPE, check=True
    ).stdout
    page = pypdfium2.PdfDocument(pdf)[0].render(scale=DPI / 72, grayscale=True).to_pil()
    rows, columns = np.nonzero(np.asarray(page) < 200)
    box = (columns.min() - MARGIN, rows.min() - MARGIN, columns.max() + MARGIN + 1, rows.max() + MARGIN + 1)
    return page.crop([int(edge) for edge in box])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    image = typeset(SOURCE)
    image.save(sys.argv[1], optimize=True)
    print(f"{sys.argv[1]}: {image.width} x {image.height} pixels")
