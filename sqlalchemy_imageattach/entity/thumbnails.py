"""How thumbnails are made, where they are not there.

The original is read once for all that are wanted, and decoded once.  What is there is found as :mod:`.finding` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import IO, BinaryIO, Generic, Self, cast

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, object_session, with_parent
from sqlalchemy.orm.attributes import instance_state as object_state

from ..concurrency import run_blocking
from ..context import current_store, find_named_store
from ..errors import VariantConflictError
from ..imaging import SAME_AS_ORIGINAL, Rendered, Rendition, render
from ..imaging.probing import identify
from ..spool import Spool, is_seekable
from ..store import Store
from .attaching import describe, new_image, put_in
from .collection import ImageT, PictureSet
from .finding import Upright, Wanted, frames_of, met
from .identity import (
    distinguishes_types,
    distinguishes_variants,
    has_own_column,
    mapper_of,
    primary_key_names,
    row_slot,
    set_identity,
    set_value,
    set_variant,
    size_and_type,
)
from .image import Image, find_known_store
from .locks import in_flush
from .transactions.pending import Content, PendingBlob, blob_state

__all__ = ["find_or_generate", "generate", "new_thumbnail", "require_slots"]


def generate(
    image_set: PictureSet[ImageT],
    renditions: Sequence[Rendition],
    store: Store | None,
    *,
    anew: bool,
    reuse_original: bool,
) -> list[ImageT]:
    """The images that ``renditions`` describe; what is missing is made from one decoding of the original.

    :param anew: make those anew that are there
    :param reuse_original: the original may stand for what has its size and type
    """
    with _Source(image_set, store) as source:
        return _generate(image_set, renditions, source, anew=anew, reuse_original=reuse_original)


def find_or_generate(
    image_set: PictureSet[ImageT], renditions: Sequence[Rendition], store: Store | None, *, reuse_original: bool
) -> list[ImageT]:
    """The same, flushed; other transactions that want what is made here wait, and then find it."""
    with _Source(image_set, store) as source:
        there = [source.find(each, reuse_original=reuse_original) for each in renditions]
        found = [image for image in there if image is not None]
        if len(found) == len(there):  # nearly always, and for each picture of a page
            return found
        missing = [each for each, image in zip(renditions, there, strict=True) if image is None]
        session = object_session(source.original)
        if session is not None and object_state(source.original).persistent:
            wanted = [source.wanted(each) for each in missing]
            in_flush(session, source.original, lambda: _add_what_was_made_meanwhile(session, image_set, wanted))
        images = _generate(image_set, renditions, source, anew=False, reuse_original=reuse_original)
    if session is not None:
        session.flush()
    return images


class _Source(Generic[ImageT]):
    """The original of a set; its file is fetched when it is first needed, and once."""

    def __init__(self, image_set: PictureSet[ImageT], store: Store | None) -> None:
        self.original = image_set.require_original()
        self._image_set = image_set
        # a wrong one is refused before anything is read
        self._given = None if store is None or store is current_store else find_named_store(store)
        self._file: BinaryIO | None = None

    @cached_property
    def store(self) -> Store | None:
        """Where thumbnails go: to the original, be that stored or on its way."""
        if (pending := self._pending) is not None:
            return pending.store if self._given is None else self._image_set._find_store(self._given)
        return self.original._find_store(self._given)

    @property
    def _pending(self) -> PendingBlob | None:
        state = blob_state(self.original)
        return state.pending if state.is_pending else None

    def pending_blob(self, content: Content) -> PendingBlob:
        """What is to be written for a thumbnail."""
        if self._given is None and (pending := self._pending) is not None:
            return pending.beside(content)
        return PendingBlob(content, self.store)

    @cached_property
    def recorded(self) -> Upright:
        """What its row says."""
        return Upright(*size_and_type(self.original))

    @cached_property
    def upright(self) -> Upright:
        """What thumbnails are reckoned from.

        It is what the row says, unless that was written by 1.x: it recorded the size of a photograph as it lies in the
        file, with width and height exchanged if the camera was turned.  Then the file tells.
        """
        if has_own_column(mapper_of(type(self.original)), "revision") and self.original.revision is not None:
            return self.recorded
        info = run_blocking(identify, self._open())
        return Upright(info.width, info.height, info.mimetype)

    @cached_property
    def moves(self) -> bool:
        """Whether it has several frames: where its row does not say, its file does."""
        frames = frames_of(self.original)
        return (run_blocking(identify, self._open()).frames if frames is None else frames) > 1

    def wanted(self, rendition: Rendition) -> Wanted:
        """What the rendition comes to."""
        return self._wanted(rendition, self.upright)

    def find(self, rendition: Rendition, *, reuse_original: bool) -> ImageT | None:
        """The image that it describes; without a look at the file, if the size in the row leads to one."""
        found = self._find(rendition, self.recorded, reuse_original)
        if found is None and self.upright != self.recorded:
            found = self._find(rendition, self.upright, reuse_original)
        return found

    def _find(self, rendition: Rendition, upright: Upright, reuse_original: bool) -> ImageT | None:
        wanted = self._wanted(rendition, upright)
        if reuse_original and wanted.variant == SAME_AS_ORIGINAL:
            return self.original
        return met(self._image_set, wanted)

    def render(self, renditions: Sequence[Rendition]) -> list[Rendered]:
        return run_blocking(render, self._open(), renditions, type(self.original).image_policy)

    def _wanted(self, rendition: Rendition, upright: Upright) -> Wanted:
        # the file is looked at only where it makes a difference
        matters = rendition.animated and rendition.variant(*upright) != rendition.variant(*upright, moves=False)
        return Wanted.of(rendition, upright, moves=matters and self.moves)

    def _open(self) -> BinaryIO:
        if self._file is None:
            file = self.original.open_file(self._given if find_known_store(self.original) is None else None)
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


def _generate(
    image_set: PictureSet[ImageT],
    renditions: Sequence[Rendition],
    source: _Source[ImageT],
    *,
    anew: bool,
    reuse_original: bool,
) -> list[ImageT]:
    images: list[ImageT | None] = []
    former: list[ImageT] = []
    missing: dict[tuple[int, int, str, str], Wanted] = {}
    for rendition in renditions:
        found = source.find(rendition, reuse_original=reuse_original)
        if found is None or (anew and not found.original):
            wanted = source.wanted(rendition)
            missing.setdefault(wanted.identity, wanted)
            former += [] if found is None else [found]
            found = None
        images.append(found)
    if not missing:
        return [image for image in images if image is not None]
    staying = [image for image in image_set if image.original or not anew]
    require_slots(image_set, staying, missing.values(), source.store)
    results = source.render([wanted.rendition for wanted in missing.values()])
    made = {
        identity: new_thumbnail(image_set, source.original, result, wanted.variant)
        for (identity, wanted), result in zip(missing.items(), results, strict=True)
    }
    blobs = [source.pending_blob(Spool.of(result.blob)) for result in results]
    put_in(image_set, list(zip(made.values(), blobs, strict=True)), [(each, source.store) for each in former])
    return [
        made[source.wanted(rendition).identity] if image is None else image
        for rendition, image in zip(renditions, images, strict=True)
    ]


def require_slots(
    image_set: PictureSet[ImageT], there: Iterable[ImageT], missing: Iterable[Wanted], store: Store | None
) -> None:
    """There is room for what is to be made, in the table and in the store.

    :param there: the images that stay
    :raises VariantConflictError: there is not
    """
    cls = image_set.image_class
    slots: dict[tuple[object, ...], object] = {row_slot(cls, image, store): image for image in there}
    for wanted in missing:
        other = slots.setdefault(row_slot(cls, wanted, store), wanted)
        if other is not wanted:
            raise _conflict(image_set, wanted, other, store)


def _conflict(
    image_set: PictureSet[ImageT], wanted: Wanted, other: object, store: Store | None
) -> VariantConflictError:
    name, mapper = image_set.image_class.__name__, mapper_of(image_set.image_class)
    if not distinguishes_types(mapper):
        room = f"{name} has one type for each size, since mimetype is not in its primary key"
    elif not distinguishes_variants(mapper):
        room = f"{name} has one image for each size and type, since it lacks variant in its primary key, or revision"
    else:
        room = f"{store!r} has one blob for each size and type, since its methods take no revision"
    by, advice = "another picture", "replace what is there by regenerate=True"
    if isinstance(other, Image) and other.original:
        by, advice = "the original", "let that stand for it by reuse_original=True"
    msg = (
        f"{room}; expected a size that is free, but {wanted.width}×{wanted.height} {wanted.mimetype} is taken by {by}:"
        f" ask for another one, or {advice}"
    )
    return VariantConflictError(msg)


def _add_what_was_made_meanwhile(session: Session, image_set: PictureSet[ImageT], missing: Sequence[Wanted]) -> None:
    """Other transactions may have made some of them since the set was loaded: then these become part of it."""
    cls, owner = image_set.image_class, image_set.owner
    adapter = image_set._adapter
    assert adapter is not None
    # a locking read, since a plain one in a REPEATABLE READ transaction (MariaDB's default) would not see new rows
    sizes = {(wanted.width, wanted.height) for wanted in missing}
    statement = (
        select(cls)
        .where(with_parent(owner, getattr(type(owner), adapter.attr.key)), or_(*(cls.size == size for size in sizes)))
        .filter_by(**image_set._discriminators)
        .with_for_update(read=True, of=cls)
    )
    token = object_state(owner).identity_token
    # in a sharded session, other databases may have another owner of this key
    options = {} if token is None else {"identity_token": token}
    for image in session.scalars(statement, execution_options=options):
        if not any(image is mine for mine in image_set):
            adapter.append_without_event(image)


def new_thumbnail(image_set: PictureSet[ImageT], original: ImageT, result: Rendered, variant: str) -> ImageT:
    image = new_image(image_set.image_class)
    # where the size is no part of the key, no two rows have any of it in common
    if "width" in primary_key_names(mapper_of(type(original))):
        for name, value in set_identity(original).items():
            if value is not None:
                set_value(image, name, value)
    describe(image, result.width, result.height, result.mimetype, original=False)
    set_variant(image, variant)
    blob_state(image).made_from = original
    return image
