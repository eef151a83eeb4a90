"""Which file of truth belongs to which image, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from .items import Rejected

PAGED = (".pdf", ".tif", ".tiff")
_PAGE = re.compile(r"(.+)\.p([1-9]\d{0,5})")  # as `samvlm parse` names the files of further pages
# Folders that part images from truths; they do not count where names are compared.
_ROLES = frozenset(
    "image images img imgs picture pictures png jpg jpeg pdf page pages label labels annotation annotations gt truth "
    "ground_truth groundtruth target targets html csv tsv json md markdown otsl txt table tables".split()
)


@dataclass(frozen=True)
class Pair:
    """An image (or page `page`, from 0, of a document) and its truth, both relative to the folder."""

    image: PurePosixPath
    label: PurePosixPath
    page: int | None = None


def pair_up(
    images: Sequence[PurePosixPath],
    labels: Sequence[PurePosixPath],
    suffixes: Sequence[str],
    done: Iterable[PurePosixPath] = (),
) -> tuple[list[Pair], list[Rejected]]:
    """Return the pairs in the order of the images, and what is left over with the reason.

    A truth belongs to the image of its own folder with the same name (`a.html`, or `a.png.html`, for `a.png`), else to
    the one image whose folders differ only in words such as "images" and "labels". `a.p3.html` is the third page of
    `a.pdf` or `a.tif`.

    suffixes: of truths; where several belong to one image, the one of the earliest suffix counts
    done: images that have their truth elsewhere
    """
    places = _Places(images)
    done = set(done)
    found: dict[tuple[PurePosixPath, int | None], list[PurePosixPath]] = {}
    rejected = []
    for label in labels:
        match = places.image_of(label)
        if isinstance(match, str):
            rejected.append(Rejected(str(label), match))
        elif match[0] in done:
            rejected.append(Rejected(str(label), f"{match[0]} has its truth in a .jsonl file already"))
        else:
            found.setdefault(match, []).append(label)
    order = {image: number for number, image in enumerate(images)}
    pairs = []
    for (image, page), given in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1] or 0)):
        given.sort(key=lambda label: (suffixes.index(label.suffix.lower()), label))
        pairs.append(Pair(image, given[0], page))
        rejected += [
            Rejected(str(label), f"{given[0]} is the truth of {image} already") for label in given[1:]
        ]
    done |= {pair.image for pair in pairs}
    for image in images:
        if image not in done:
            others = [other for other in places.of_stem[_stem(image)] if other in done]
            reason = f"the truth of this name is that of {others[0]}" if others else "no truth of this name"
            rejected.append(
                Rejected(str(image), f"{reason}; expected one such as {image.with_suffix('.html').name}")
            )
    return pairs, rejected


class _Places:
    """The images by name: their own, without the suffix, and without the folders of `_ROLES`."""

    def __init__(self, images: Sequence[PurePosixPath]) -> None:
        self.of_stem: dict[str, list[PurePosixPath]] = {}
        self.of_name: dict[str, list[PurePosixPath]] = {}
        self.bare: dict[tuple[str, ...], list[PurePosixPath]] = {}
        for image in images:
            self.of_stem.setdefault(_stem(image), []).append(image)
            self.of_name[str(image)] = [image]
            for name in (_stem(image), str(image)):
                self.bare.setdefault(_bare(name), []).append(image)

    def image_of(self, label: PurePosixPath) -> tuple[PurePosixPath, int | None] | str:
        """Return (image, page) of a truth, or why there is none."""
        stem = _stem(label)
        match = self._find(stem)
        if match is not None and not isinstance(match, str):
            return match, 0 if match.suffix.lower() in PAGED else None
        if paged := _PAGE.fullmatch(stem):
            document = self._find(paged[1])
            if isinstance(document, PurePosixPath) and document.suffix.lower() in PAGED:
                return document, int(paged[2]) - 1
        return match or "no image of this name"

    def _find(self, stem: str) -> PurePosixPath | str | None:
        """The image of this name, None, or why it is not clear which."""
        beside = self.of_stem.get(stem) or self.of_name.get(stem)
        if beside:  # a picture of a page rather than the PDF that it may be made from
            return min(beside, key=lambda image: (image.suffix.lower() == ".pdf", image))
        elsewhere = self.bare.get(_bare(stem), [])
        if len(elsewhere) > 1:
            names = " and ".join(map(str, elsewhere[:2]))
            return f"{len(elsewhere)} images have this name, such as {names}; put it beside its image"
        return elsewhere[0] if elsewhere else None


def _stem(path: PurePosixPath) -> str:
    return str(path.with_suffix(""))


def _bare(name: str) -> tuple[str, ...]:
    *folders, last = PurePosixPath(name).parts
    return (*(folder for folder in folders if folder.lower() not in _ROLES), last)
