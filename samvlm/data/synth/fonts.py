"""Free font families for the renderer: found on disk, never downloaded. List: scripts/make_synth.py --fonts"""

import os
import shutil
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from .characters import CHARSET

# Family -> (class, how often it is drawn). All carry free licences (SIL OFL, Apache-2.0, GUST, Bitstream Vera,
# GPL with font exception, AFPL/AGPL with exception). Times, Helvetica and Arial look-alikes rule real tables.
FAMILIES: dict[str, tuple[str, float]] = {
    "Arimo": ("sans", 2), "Liberation Sans": ("sans", 4), "Nimbus Sans": ("sans", 3),
    "TeX Gyre Heros": ("sans", 2), "FreeSans": ("sans", 1), "Nimbus Sans Narrow": ("sans", 2),
    "TeX Gyre Heros Cn": ("sans", 1), "Carlito": ("sans", 3), "DejaVu Sans": ("sans", 2), "Lato": ("sans", 1),
    "Open Sans": ("sans", 2), "Roboto": ("sans", 2), "Roboto Condensed": ("sans", 1), "Noto Sans": ("sans", 1.5),
    "Inter": ("sans", 1), "Cantarell": ("sans", 1), "Cabin": ("sans", 1), "PT Sans": ("sans", 1),
    "PT Sans Narrow": ("sans", 0.7), "Play": ("sans", 0.5), "B612": ("sans", 0.7), "Go": ("sans", 0.7),
    "Manrope": ("sans", 0.5), "Universalis ADF Std": ("sans", 0.7), "GFS Neohellenic": ("sans", 0.5), "Gillius ADF": ("sans", 1.5),
    "Linux Biolinum O": ("sans", 1), "Latin Modern Sans": ("sans", 0.7), "TeX Gyre Adventor": ("sans", 0.4),
    "URW Gothic": ("sans", 0.4), "Liberation Serif": ("serif", 4), "Tinos": ("serif", 2),
    "Nimbus Roman": ("serif", 3), "TeX Gyre Termes": ("serif", 2), "FreeSerif": ("serif", 1), "STIX": ("serif", 1.5),
    "STIXGeneral": ("serif", 0.7), "Latin Modern Roman": ("serif", 2), "Caladea": ("serif", 1.5),
    "DejaVu Serif": ("serif", 1), "Noto Serif": ("serif", 1.5), "Linux Libertine O": ("serif", 1.5),
    "EB Garamond": ("serif", 1), "Gentium Basic": ("serif", 1), "Charis SIL": ("serif", 1), "P052": ("serif", 1),
    "TeX Gyre Pagella": ("serif", 1), "C059": ("serif", 1), "TeX Gyre Schola": ("serif", 0.7),
    "URW Bookman": ("serif", 0.6), "TeX Gyre Bonum": ("serif", 0.5), "PT Serif": ("serif", 1),
    "Vollkorn": ("serif", 0.7), "Quattrocento": ("serif", 0.5), "Baskervald ADF Std": ("serif", 0.7),
    "Old Standard TT": ("serif", 0.6), "Liberation Mono": ("mono", 0.5), "Cousine": ("mono", 0.4),
    "DejaVu Sans Mono": ("mono", 0.5), "Nimbus Mono PS": ("mono", 0.4), "Latin Modern Mono": ("mono", 0.3),
    "Hack": ("mono", 0.3), "Inconsolata": ("mono", 0.3), "JetBrains Mono": ("mono", 0.3),
    "PT Mono": ("mono", 0.3), "Go Mono": ("mono", 0.3),
}  # fmt: skip

# The faces' own names for the four styles; every other weight and width is left out.
STYLES = {
    "Regular": "regular", "Book": "regular", "Roman": "regular", "Light": "regular", "Medium": "regular",
    "Bold": "bold", "Demi": "bold",
    "Italic": "italic", "Oblique": "italic", "Book Oblique": "italic", "Light Italic": "italic",
    "Bold Italic": "bolditalic", "Bold Oblique": "bolditalic", "Demi Italic": "bolditalic",
    "Demi Oblique": "bolditalic",
}  # fmt: skip
_SECOND_CHOICE = ("Light", "Light Italic", "Medium")  # used only where the family has no plain face
_SUFFIXES = (".ttf", ".otf")
BUILT_IN = "Pillow built-in"


@dataclass(frozen=True)
class Face:
    """One font file. `path` is None for Pillow's built-in face; `embolden` thickens a face that stands in for bold."""

    family: str
    style: str
    path: str | None
    embolden: bool = False

    def open(self, size: float) -> ImageFont.FreeTypeFont:
        """The face at `size` pixels an em, with Pillow's own (platform-independent) layout."""
        if self.path is None:
            return ImageFont.load_default(size)
        return ImageFont.truetype(self.path, size, layout_engine=ImageFont.Layout.BASIC)


@dataclass(eq=False)
class Family:
    """Faces of one family by style; `face` answers with the nearest style that exists."""

    name: str
    kind: str
    weight: float
    faces: dict[str, Face] = field(default_factory=dict)

    def face(self, bold: bool = False, italic: bool = False) -> Face:
        if bold and italic and "bolditalic" in self.faces:
            return self.faces["bolditalic"]
        if bold:
            plain = self.faces["regular"]
            return self.faces.get("bold") or Face(plain.family, "bold", plain.path, embolden=True)
        return (self.faces.get("italic") if italic else None) or self.faces["regular"]

    @cached_property
    def drawable(self) -> frozenset[str]:
        """Characters of CHARSET (with the blank) that every face of the family can draw."""
        return frozenset.intersection(*(_drawable(face) for face in self.faces.values()))


def font_folders() -> list[Path]:
    """Folders that are searched: SAMVLM_FONTS (os.pathsep-separated), the system's, matplotlib's own."""
    home = Path.home()
    folders = [Path(p) for p in os.environ.get("SAMVLM_FONTS", "").split(os.pathsep) if p]
    folders += [
        Path("/usr/share/fonts"),
        Path("/usr/share/texmf/fonts/opentype"),
        Path("/usr/local/share/fonts"),
    ]
    folders += [home / ".fonts", home / ".local/share/fonts", home / "Library/Fonts", Path("/Library/Fonts")]
    folders += [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    spec = find_spec("matplotlib")
    if spec is not None and spec.origin:
        folders.append(Path(spec.origin).parent / "mpl-data/fonts/ttf")
    return folders


def scan(folders: list[Path], known_only: bool = True) -> dict[str, Family]:
    """Families with a plain face in `folders`, by name.

    With `known_only`, names outside FAMILIES are left out (decorative faces and other scripts).
    """
    found: dict[str, Family] = {}
    provisional: set[tuple[str, str]] = set()
    for folder in folders:
        files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
        for path in sorted(p for p in files if p.suffix.lower() in _SUFFIXES):
            try:
                name, own_style = ImageFont.truetype(str(path), 16).getname()
            except OSError:
                continue
            own_style = (own_style or "").removeprefix("10 ").removeprefix("12 ")  # optical sizes
            if not name or (known_only and name not in FAMILIES) or own_style not in STYLES:
                continue
            kind, weight = FAMILIES.get(name, ("other", 1.0))
            faces = found.setdefault(name, Family(name, kind, weight)).faces
            style = STYLES[own_style]
            second = own_style in _SECOND_CHOICE
            if style not in faces or ((name, style) in provisional and not second):
                faces[style] = Face(name, style, str(path))
                (provisional.add if second else provisional.discard)((name, style))
    return {name: family for name, family in sorted(found.items()) if "regular" in family.faces}


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """All families of this machine, sorted by name; Pillow's built-in face where there is none at all."""
    extra = [Path(p) for p in os.environ.get("SAMVLM_FONTS", "").split(os.pathsep) if p]
    found = {**scan(font_folders()), **scan(extra, known_only=False)}
    found = {name: family for name, family in sorted(found.items()) if covers(family.faces["regular"])}
    if not found:
        return (Family(BUILT_IN, "sans", 1.0, {"regular": Face(BUILT_IN, "regular", None)}),)
    return tuple(found.values())


def covers(face: Face, text: str = "AZaz09.,-()%'\"") -> bool:
    """True if the face has a glyph for every character of `text`."""
    return _drawable(face).issuperset(text)


@cache
def _drawable(face: Face) -> frozenset[str]:
    """Characters of CHARSET that have a glyph: their picture differs from the one of an unassigned code point."""
    font = face.open(24)
    missing = {bytes(font.getmask(code)) for code in ("\ufffe", "\U0010fffe")} | {b""}
    drawn = (char for char in CHARSET if bytes(font.getmask(char)) not in missing)
    return frozenset(drawn) | {" "}


def copy_faces(folder: str | Path) -> int:
    """Copy the files of all faces in use to `folder`; answers with their number.

    For machines without these packages: there, SAMVLM_FONTS=folder gives the same families and the same samples.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = sorted({face.path for family in families() for face in family.faces.values() if face.path})
    for number, path in enumerate(paths):
        shutil.copyfile(path, target / f"{number:03}_{Path(path).name}")
    return len(paths)
