"""What a class declares of its pictures: found, made with the attaching, and made anew when the focal point moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, overload

from ..arguments import check_type, wrong_type, wrong_value
from ..concurrency import run_blocking
from ..errors import UnknownVariantError
from ..imaging import ImageInfo, Rendered, Rendition, render
from ..imaging.placeholder import PREVIEW, Placeholder, placeholder_of
from ..imaging.variant import Variant
from ..spool import Spool
from .attaching import remove_some
from .collection import ImageT, PictureSet
from .finding import Upright, Wanted, find_declared
from .identity import has_own_column, mapper_of, set_value
from .image import Image
from .thumbnails import generate, new_thumbnail, require_slots
from .transactions.pending import PendingBlob

__all__ = [
    "VariantImages",
    "declared",
    "find",
    "focal_point_of",
    "made_with",
    "make",
    "set_focal_point",
    "undeclared",
]

FocalPoint = tuple[float, float]


@dataclass(frozen=True, slots=True)
class VariantImages(Sequence[ImageT], Generic[ImageT]):
    """The images of one declared variant of a picture that are there, the first format and the smallest first.

    :param name: what the class calls it
    :param declaration: what the class declares
    :param images: those that are there
    :param missing: the renditions that are not made yet
    """

    name: str
    declaration: Variant
    images: tuple[ImageT, ...]
    missing: tuple[Rendition, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all of them are there."""
        return not self.missing

    @overload
    def __getitem__(self, index: int) -> ImageT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageT]: ...
    def __getitem__(self, index: int | slice) -> ImageT | Sequence[ImageT]:
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageT]:
        return iter(self.images)


def declared(cls: type[Image], name: str) -> Variant:
    """The variant that ``cls`` declares by this name.

    :raises UnknownVariantError: it declares none
    """
    try:
        return cls.image_variants[name]
    except (KeyError, TypeError):
        names = ", ".join(map(repr, cls.image_variants)) or "none"
        msg = f"expected one of the variants that {cls.__name__}.image_variants declares ({names}), got {name!r}"
        raise UnknownVariantError(msg) from None


def find(image_set: PictureSet[ImageT], name: str) -> VariantImages[ImageT]:
    """The images of a declared variant; without a statement and without I/O."""
    declaration = declared(image_set.image_class, name)
    original = image_set.original
    if original is None:
        return VariantImages(name, declaration, (), ())
    found = find_declared(image_set, declaration.renditions(focal_point_of(original)), original).values()
    images = {id(image): image for _, image in found if image is not None}
    return VariantImages(
        name, declaration, tuple(images.values()), tuple(wanted.rendition for wanted, image in found if image is None)
    )


def make(image_set: PictureSet[ImageT], names: Sequence[str], find_or_make: Any) -> list[ImageT]:
    """The images of the variants of these names; what is missing is made from one decoding, by ``find_or_make``."""
    original = image_set.require_original()
    before = {id(image) for image in image_set}
    cls = image_set.image_class
    renditions = {name: declared(cls, name).renditions(focal_point_of(original)) for name in names}
    made: list[ImageT] = find_or_make([rendition for some in renditions.values() for rendition in some])
    owners = [name for name, some in renditions.items() for _ in some]
    for name, image in zip(owners, made, strict=True):
        if id(image) not in before:
            _note(image, name)
    return list({id(image): image for image in made}.values())


def made_with(
    image_set: PictureSet[ImageT], original: ImageT, pending: PendingBlob, info: ImageInfo
) -> list[tuple[ImageT, PendingBlob]]:
    """What is made together with a picture that is being attached, from one decoding of it."""
    cls = image_set.image_class
    if not cls.image_variants:
        return []
    upright, moves = Upright(info.width, info.height, info.mimetype), info.frames > 1
    wanted: dict[tuple[int, int, str, str], tuple[str, Wanted]] = {}
    for name, variant in cls.image_variants.items():
        for rendition in variant.renditions(focal_point_of(original)) if variant.make == "now" else ():
            each = Wanted.of(rendition, upright, moves=moves)
            wanted.setdefault(each.identity, (name, each))
    keeps_placeholder = any(has_own_column(mapper_of(cls), name) for name in ("dominant_color", "thumbhash"))
    if not (wanted or keeps_placeholder):
        return []
    require_slots(image_set, [original], [each for _, each in wanted.values()], pending.store)
    renditions = [each.rendition for _, each in wanted.values()]
    placeholder, results = run_blocking(_rendered, pending, renditions, cls, keeps_placeholder)
    if placeholder is not None:
        _keep(original, placeholder)
    made = []
    for (name, each), result in zip(wanted.values(), results, strict=True):
        image = new_thumbnail(image_set, original, result, each.variant)
        _note(image, name)
        made.append((image, pending.beside(Spool.of(result.blob))))
    return made


def _rendered(
    pending: PendingBlob, renditions: list[Rendition], cls: type[Image], keeps_placeholder: bool
) -> tuple[Placeholder | None, list[Rendered]]:
    with pending.content.open() as file:
        preview = [PREVIEW] if keeps_placeholder else []
        results = render(file, [*preview, *renditions], cls.image_policy)  # type: ignore[arg-type]
    if not preview:
        return None, results
    return placeholder_of(results[0].blob), results[1:]


def _keep(original: Image, placeholder: Placeholder) -> None:
    mapper = mapper_of(type(original))
    if has_own_column(mapper, "dominant_color"):
        set_value(original, "dominant_color", placeholder.color)
    if has_own_column(mapper, "thumbhash"):
        set_value(original, "thumbhash", placeholder.thumbhash)


def _note(image: Image, name: str) -> None:
    if has_own_column(mapper_of(type(image)), "made_for"):
        set_value(image, "made_for", name)


# --- the focal point -------------------------------------------------------------------------------------------------


def focal_point_of(original: Image) -> FocalPoint | None:
    """What is kept in view of a picture; ``None`` for the middle, and where no columns keep it."""
    mapper = mapper_of(type(original))
    if not (has_own_column(mapper, "focal_x") and has_own_column(mapper, "focal_y")):
        return None
    return None if original.focal_x is None or original.focal_y is None else (original.focal_x, original.focal_y)


def set_focal_point(image_set: PictureSet[ImageT], point: object) -> None:
    """Afterwards the picture has it, and the images whose cut it moves are made anew; if this raises, all is as it was.

    :raises InvalidValueError: it is outside of the picture
    :raises InvalidTypeError: it is no pair of numbers, or the table has no columns for it
    """
    original = image_set.require_original()
    mapper = mapper_of(type(original))
    if not (has_own_column(mapper, "focal_x") and has_own_column(mapper, "focal_y")):
        name = type(original).__name__
        raise wrong_type("focal_point", point, f"a class with the columns focal_x and focal_y, which {name} has not")
    new = _checked(point)
    variants, former = image_set.image_class.image_variants, focal_point_of(original)
    before = {name: find_declared(image_set, variant.renditions(former)) for name, variant in variants.items()}
    after = {name: find_declared(image_set, variant.renditions(new)) for name, variant in variants.items()}
    moved = [
        (name, wanted.rendition)
        for name, found in after.items()
        if variants[name].make == "now" or any(image is not None for _, image in before[name].values())
        for identity, (wanted, _) in found.items()
        if identity not in before[name]
    ]
    made = generate(image_set, [rendition for _, rendition in moved], None, anew=False, reuse_original=False)
    for (name, _), image in zip(moved, made, strict=True):
        _note(image, name)
    kept = {identity for found in after.values() for identity in found}
    left = {identity: image for found in before.values() for identity, (_, image) in found.items()}
    remove_some(image_set, [image for identity, image in left.items() if identity not in kept and image is not None])
    for name, fraction in zip(("focal_x", "focal_y"), new or (None, None), strict=True):
        set_value(original, name, fraction)


def _checked(point: object) -> FocalPoint | None:
    if point is None:
        return None
    if not isinstance(point, tuple | list) or len(point) != 2:
        raise wrong_type("focal_point", point, "a pair of fractions such as (0.5, 0.25), or None")
    for fraction in point:
        check_type("focal_point", fraction, (int, float), "numbers from 0 to 1")
        if not 0 <= fraction <= 1:
            raise wrong_value("focal_point", fraction, "fractions of the picture, 0 to 1")
    return float(point[0]), float(point[1])


# --- what is declared no longer --------------------------------------------------------------------------------------


def undeclared(image_set: PictureSet[ImageT]) -> list[ImageT]:
    """What was made for a declared variant, and is part of none any more."""
    original = image_set.original
    if original is None:
        return []
    variants = image_set.image_class.image_variants.values()
    wanted = [rendition for variant in variants for rendition in variant.renditions(focal_point_of(original))]
    kept = {id(image) for _, image in find_declared(image_set, wanted).values() if image is not None}
    return [
        image
        for image in image_set
        if not image.original
        and id(image) not in kept
        and has_own_column(mapper_of(type(image)), "made_for")
        and image.made_for is not None
    ]
