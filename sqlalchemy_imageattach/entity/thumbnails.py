"""How thumbnails are found and made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session, object_session, with_parent
from sqlalchemy.orm.attributes import instance_state as object_state

from ..concurrency import run_blocking
from ..errors import InvalidTypeError, InvalidValueError
from ..imaging import ImagePolicy, Rendered, Rendition, Target, render
from ..spool import Spool, is_seekable
from ..store import Store
from .attaching import new_image, place_of, put_in, replaced_by, variant
from .identity import mapper_of
from .image import Image
from .ledger import Ledger
from .rows import claim
from .upload import Upload, attachment_of

if TYPE_CHECKING:
    from .imageset import BaseImageSet

__all__ = ["find", "find_or_generate", "generate", "renditions_of"]

ImageT = TypeVar("ImageT", bound=Image)


def renditions_of(values: Iterable[Rendition | Mapping[str, Any]]) -> list[Rendition]:
    """``values`` with mappings of parameters made into renditions.

    :raises InvalidTypeError: one is neither, or a mapping has another name than those of its parameters
    """
    if isinstance(values, Mapping | str) or not isinstance(values, Iterable):
        msg = f"expected several renditions, such as [{{'width': 150}}], got {type(values).__name__} ({values!r})"
        raise InvalidTypeError(msg)
    return [_rendition_of(value) for value in values]


def _rendition_of(value: object) -> Rendition:
    if isinstance(value, Rendition):
        return value
    if not isinstance(value, Mapping):
        msg = f"expected a Rendition or a mapping of its parameters such as {{'width': 150}}, got {value!r}"
        raise InvalidTypeError(msg)
    names = [field.name for field in fields(Rendition)]
    unknown = [name for name in value if name not in names]
    if unknown:
        msg = f"expected some of the parameters {', '.join(names)}, got {', '.join(map(repr, unknown))}"
        raise InvalidTypeError(msg)
    return Rendition(**value)


def find(image_set: BaseImageSet[ImageT], width: int | None, height: int | None, format: str | None) -> ImageT:
    """The image of that size; a thumbnail rather than the original if both have it."""
    if width is None and height is None:
        msg = "find_thumbnail() needs a width, a height, or both"
        raise InvalidTypeError(msg)
    wanted = Rendition(width=width, height=height, format=format)  # says what is wrong with them
    mimetype = None if format is None else wanted.mimetype("image/png")
    found = [
        image
        for image in image_set
        if width in {None, image.width} and height in {None, image.height} and mimetype in {None, image.mimetype}
    ]
    if not found:
        msg = f"no image with width={width}, height={height}, format={format}: generate_thumbnail() makes one"
        raise NoResultFound(msg)
    return min(found, key=lambda image: (image.original, image.width, image.height, image.mimetype))


def generate(image_set: BaseImageSet[ImageT], renditions: Sequence[Rendition], store: Store | None) -> list[ImageT]:
    """The images that ``renditions`` describe, made from one decoding of the original; none if this raises."""
    original = image_set.require_original()
    found = image_set._find_store(store)
    targets = [rendition.target(*original.size, original.mimetype) for rendition in renditions]
    _require_places(image_set, {variant(thing): thing for thing in (*targets, original)}.values())
    wanted = {variant(target): rendition for target, rendition in zip(targets, renditions, strict=True)}
    wanted.pop(variant(original), None)
    images = {variant(original): original}
    if wanted:
        policy = type(original).image_policy
        rendered = run_blocking(_render, original.open_file(_store_of(original, found)), [*wanted.values()], policy)
        made = [(_new_thumbnail(image_set, result), result) for result in rendered]
        # The row of a picture attached by 1.x may have width and height exchanged: what was made then has another size.
        for key, (image, result) in zip(wanted, made, strict=True):
            attachment_of(image).made_from = original
            put_in(image_set, image, Upload(Spool.of(result.blob), found), replaced_by(image_set, image))
            images[key] = image
    return [images[variant(target)] for target in targets]


def find_or_generate(image_set: BaseImageSet[ImageT], rendition: Rendition, store: Store | None) -> ImageT:
    """The image that ``rendition`` describes; if it has to be made, other transactions wait and then find it."""
    original = image_set.require_original()
    target = rendition.target(*original.size, original.mimetype)
    for image in image_set:
        if variant(image) == variant(target):
            return image
    session = object_session(original)
    if session is None:
        return generate(image_set, [rendition], store)[0]
    if object_state(original).persistent:
        _lock(session, original)
        if (found := _made_meanwhile(session, image_set, target)) is not None:
            return found
    image = generate(image_set, [rendition], store)[0]
    session.flush()
    return image


def _require_places(image_set: BaseImageSet[ImageT], images: Iterable[Any]) -> None:
    places: dict[tuple[Any, ...], Any] = {}
    for image in images:
        other = places.setdefault(place_of(image_set, image), image)
        if other is not image:
            msg = (
                f"{image_set.image_class.__name__} has one type for each size, since mimetype is not in its primary"
                f" key; expected other sizes than {image.width}×{image.height} for {image.mimetype} and"
                f" {other.mimetype}, or a primary key with mimetype"
            )
            raise InvalidValueError(msg)


def _lock(session: Session, original: Image) -> None:
    mapper = mapper_of(type(original))
    ledger, connection = Ledger.of(session), session.connection(bind_arguments={"mapper": mapper})
    claim(ledger, connection, original)


def _made_meanwhile(session: Session, image_set: BaseImageSet[ImageT], target: Target) -> ImageT | None:
    cls, owner = image_set.image_class, image_set.owner
    adapter = image_set._adapter
    assert adapter is not None
    # a locking read, since a plain one in a REPEATABLE READ transaction (MariaDB's default) would not see new rows
    statement = (
        select(cls)
        .where(with_parent(owner, getattr(type(owner), adapter.attr.key)), cls.size == (target.width, target.height))
        .filter_by(mimetype=target.mimetype, **image_set._discriminators)
        .with_for_update(read=True, of=cls)
    )
    image = session.scalars(statement).first()
    if image is not None and not any(image is mine for mine in image_set):
        adapter.append_without_event(image)
    return image


def _store_of(original: Image, given: Store) -> Store:
    known = attachment_of(original).stored_in
    return given if known is None else known  # a store with a len() is false while it is empty


def _render(file: IO[bytes], renditions: Sequence[Rendition], policy: ImagePolicy) -> list[Rendered]:
    with file:
        if is_seekable(file):
            return render(cast("BinaryIO", file), renditions, policy)
        with Spool.read_from(file).open() as copy:
            return render(copy, renditions, policy)


def _new_thumbnail(image_set: BaseImageSet[ImageT], result: Rendered) -> ImageT:
    image = new_image(image_set)
    image.size = result.width, result.height
    image.mimetype = result.mimetype
    image.original = False
    return image
