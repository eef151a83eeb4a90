"""Fonts of the renderer: found where they are, replaced where they are not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from samvlm.data.synth import KINDS, fonts, sample, typefaces
from samvlm.data.synth.characters import ASCII, CHARSET
from samvlm.data.synth.fonts import BUILT_IN, FAMILIES, Family
from samvlm.data.synth.glyphs import glyphs


@pytest.fixture
def fresh_fonts() -> Iterator[None]:
    """Forget what was found, before and after."""

    def forget() -> None:
        fonts.families.cache_clear()
        typefaces.offers.cache_clear()

    forget()
    yield
    forget()


def test_charset_has_no_doubles():
    assert len(set(CHARSET)) == len(CHARSET) == 208
    assert set(ASCII) < set(CHARSET) and "\n" not in CHARSET


def test_every_sample_works_without_any_font_file(fresh_fonts: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fonts, "font_folders", list)
    monkeypatch.delenv("SAMVLM_FONTS", raising=False)
    assert [family.name for family in fonts.families()] == [BUILT_IN]
    for kind in KINDS:
        for index in range(4):
            made = sample(kind, 1, index)
            assert made.meta["family"] == BUILT_IN
            assert len(made.chars) > 0


def test_a_folder_of_the_user_is_searched(fresh_fonts: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paths = [face.path for family in fonts.families() for face in family.faces.values() if face.path]
    source = next(iter(paths), None)
    if source is None:
        pytest.skip("no font file on this machine")
    shutil.copyfile(source, tmp_path / Path(source).name)
    monkeypatch.setattr(fonts, "FAMILIES", {})  # not even its name is known
    monkeypatch.setenv("SAMVLM_FONTS", str(tmp_path))
    fonts.families.cache_clear()
    paths = [face.path for family in fonts.families() for face in family.faces.values()]
    assert paths in ([str(tmp_path / Path(source).name)], [None])


def test_installed_families_are_many():
    found = fonts.families()
    if not Path("/usr/share/fonts/truetype/liberation2").exists():
        pytest.skip("scripts/install_fonts.sh has not been run here")
    assert len(found) >= 20
    assert {family.kind for family in found} >= {"sans", "serif", "mono"}
    assert sum("bold" in family.faces for family in found) >= 20
    assert all(family.name in FAMILIES for family in found if "/usr/share/fonts" in str(family.face().path))


@pytest.mark.parametrize("family", fonts.families()[::12], ids=lambda family: family.name)
def test_what_cannot_be_drawn_is_not_promised(family: Family):
    """A glyph for every promised character, and none of the promises is the box of missing glyphs."""
    assert family.drawable >= set("AZaz09.,-()%")
    for face in family.faces.values():
        box = bytes(face.open(30).getmask("\ufffe"))
        for char in sorted(family.drawable - {" "})[::5]:
            assert bytes(face.open(30).getmask(char)) not in (b"", box)


def test_missing_bold_is_thickened():
    plain = fonts.families()[0].face()
    family = Family("Thin", "sans", 1.0, {"regular": plain})
    bold = family.face(bold=True)
    assert bold.embolden and family.face(italic=True) is plain
    thin, thick = (glyphs(face, 14.0).glyph("l").coverage.sum() for face in (plain, bold))
    assert thick > 1.15 * thin


def test_copied_faces_make_the_same_families(tmp_path: Path):
    count = fonts.copy_faces(tmp_path)
    if count == 0:
        pytest.skip("no font file on this machine")
    again = fonts.scan([tmp_path], known_only=False)
    before = {family.name: sorted(family.faces) for family in fonts.families()}
    assert {family.name: sorted(family.faces) for family in again.values()} == before
