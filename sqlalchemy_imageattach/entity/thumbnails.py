"""How thumbnails are found and made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import IO, Any, BinaryIO, Generic, Self, cast

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session, object_session, with_parent
from sqlalchemy.orm.attributes import instance_state as object_state

from ..concurrency import run_blocking
from ..errors import InvalidTypeError, InvalidValueError
from ..imaging import Rendered, Rendition, Target, render
from ..imaging.probing import identify
from ..spool import Spool, is_seekable
from ..store import Store
from .attaching import new_image, put_in
from .collection import ImageT, PictureSet
from .identity import mapper_of, primary_key_names, row_slot, set_identity, size_and_type
from .image import Image
from .locks import claim
from .transactions.ledger import Ledger
from .transactions.pending import PendingBlob, blob_state

__all__ = ["find", "find_or_generate", "generate", "generate_missing", "renditions_of"]


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


def find(image_set: PictureSet[ImageT], width: int | None, height: int | None, format: str | None) -> ImageT:
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


def generate(image_set: PictureSet[ImageT], renditions: Sequence[Rendition], store: Store | None) -> list[ImageT]:
    """The images that ``renditions`` describe, made from one decoding of the original; none if this raises."""
    with _Source(image_set, store) as source:
        return _generate(image_set, renditions, source)


def generate_missing(
    image_set: PictureSet[ImageT], renditions: Sequence[Rendition], store: Store | None
) -> list[ImageT]:
    """The same for those of ``renditions`` whose images are not there."""
    with _Source(image_set, store) as source:
        return _generate(image_set, [each for each in renditions if _there(image_set, each, source) is None], source)


def find_or_generate(image_set: PictureSet[ImageT], rendition: Rendition, store: Store | None) -> ImageT:
    """The image that ``rendition`` describes; if it has to be made, other transactions wait and then find it."""
    with _Source(image_set, store) as source:
        if (found := _there(image_set, rendition, source)) is not None:
            return found
        session = object_session(source.original)
        if session is not None and object_state(source.original).persistent:
            _lock(session, source.original)
            if (found := _made_meanwhile(session, image_set, rendition.target(*source.upright))) is not None:
                return found
        [image] = _generate(image_set, [rendition], source)
    if session is not None:
        session.flush()
    return image


class _Source(Generic[ImageT]):
    """The original of a set; its file is fetched when it is first needed, and once."""

    def __init__(self, image_set: PictureSet[ImageT], store: Store | None) -> None:
        self.original = image_set.require_original()
        self._image_set = image_set
        self._given = store
        self._file: BinaryIO | None = None

    @cached_property
    def store(self) -> Store:
        return self._image_set._find_store(self._given)

    @cached_property
    def upright(self) -> tuple[int, int, str]:
        """The width, the height and the type that thumbnails are reckoned from.

        They are those of the row, unless it was written by 1.x: that recorded the size of a photograph as it lies in
        the file, with width and height exchanged if the camera was turned.  Then the file tells.
        """
        if self.original.revision is not None:
            return size_and_type(self.original)
        info = run_blocking(identify, self._open())
        return info.width, info.height, info.mimetype

    def render(self, renditions: Sequence[Rendition]) -> list[Rendered]:
        return run_blocking(render, self._open(), renditions, type(self.original).image_policy)

    def _open(self) -> BinaryIO:
        if self._file is None:
            known = blob_state(self.original).stored_in
            # a store with a len() is false while it is empty
            file = self.original.open_file(self.store if known is None else known)
            self._file = run_blocking(_seekable, file)
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _seekable(file: IO[bytes]) -> BinaryIO:
    if is_seekable(file):
        return cast("BinaryIO", file)
    with file:
        return Spool.read_from(file).open()


def _there(image_set: PictureSet[ImageT], rendition: Rendition, source: _Source[ImageT]) -> ImageT | None:
    """The image that ``rendition`` describes; without a look at the file, if the size in the row leads to one."""
    recorded = size_and_type(source.original)
    found = _of_size_and_type(image_set, size_and_type(rendition.target(*recorded)))
    if found is None and source.upright != recorded:
        wanted = size_and_type(rendition.target(*source.upright))
        found = source.original if wanted == source.upright else _of_size_and_type(image_set, wanted)
    return found


def _of_size_and_type(image_set: PictureSet[ImageT], wanted: tuple[int, int, str]) -> ImageT | None:
    return next((image for image in image_set if size_and_type(image) == wanted), None)


def _generate(image_set: PictureSet[ImageT], renditions: Sequence[Rendition], source: _Source[ImageT]) -> list[ImageT]:
    if not renditions:
        return []
    original = source.original
    targets = [rendition.target(*source.upright) for rendition in renditions]
    images = dict.fromkeys((size_and_type(original), source.upright), original)
    wanted = {
        size_and_type(target): (target, rendition)
        for target, rendition in zip(targets, renditions, strict=True)
        if size_and_type(target) not in images
    }
    _require_slots(image_set, [original, *(target for target, _ in wanted.values())])
    if wanted:
        results = source.render([rendition for _, rendition in wanted.values()])
        made = [_new_thumbnail(image_set, original, result) for result in results]
        blobs = [PendingBlob(Spool.of(result.blob), source.store) for result in results]
        put_in(image_set, list(zip(made, blobs, strict=True)))
        images.update((size_and_type(image), image) for image in made)
    return [images[size_and_type(target)] for target in targets]


def _require_slots(image_set: PictureSet[ImageT], images: Iterable[Any]) -> None:
    slots: dict[tuple[Any, ...], Any] = {}
    for image in images:
        other = slots.setdefault(row_slot(image_set.image_class, image), image)
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


def _made_meanwhile(session: Session, image_set: PictureSet[ImageT], target: Target) -> ImageT | None:
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


def _new_thumbnail(image_set: PictureSet[ImageT], original: ImageT, result: Rendered) -> ImageT:
    image = new_image(image_set)
    # where the size is no part of the key, no two rows have any of it in common
    if "width" in primary_key_names(mapper_of(type(original))):
        for name, value in set_identity(original).items():
            if value is not None:
                setattr(image, name, value)
    image.size = result.width, result.height
    image.mimetype = result.mimetype
    image.original = False
    blob_state(image).made_from = original
    return image
