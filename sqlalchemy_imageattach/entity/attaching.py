"""How a picture gets into an image set, and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..arguments import wrong_type
from ..concurrency import run_blocking
from ..errors import InvalidTypeError, InvalidValueError, UnreadableImageError, VariantConflictError
from ..file import binary_file
from ..imaging import ImageInfo, ImagePolicy, probe
from ..spool import Spool
from ..store import Store
from ..uploads.issuing import Uploads, User, find_uploads
from .collection import ImageT, PictureSet
from .identity import has_own_column, mapper_of, row_slot, set_value, size_and_type
from .transactions.pending import Content, PendingBlob, blob_state

if TYPE_CHECKING:
    from ..remote import FetchPolicy

__all__ = [
    "attach",
    "content_of_blob",
    "content_of_file",
    "content_of_upload",
    "content_of_url",
    "describe",
    "new_image",
    "put_in",
    "remove_all",
    "remove_some",
]


def content_of_blob(blob: object) -> Callable[[], Spool]:
    """What reads ``blob``, as :func:`attach` wants it."""
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise InvalidTypeError(f"expected bytes, got {type(blob).__name__}; for a file there is from_file()")
    return partial(Spool.of, bytes(blob))


def content_of_file(policy: ImagePolicy, file: object) -> Callable[[], Spool]:
    """What reads ``file`` to its end, as :func:`attach` wants it."""
    return partial(Spool.read_from, binary_file(file), limit=policy.max_bytes)


def content_of_url(policy: ImagePolicy, url: str, fetching: FetchPolicy | None) -> Callable[[], Spool]:
    """What fetches ``url``, as :func:`attach` wants it."""
    from ..remote import FetchPolicy, fetch  # of an extra

    limits = fetching or FetchPolicy()
    if policy.max_bytes is not None:
        limits = replace(limits, max_bytes=min(limits.max_bytes, policy.max_bytes))
    return lambda: fetch(url, limits).content


def content_of_upload(
    image_set: PictureSet[ImageT], token: str, user: User, uploads: Uploads | None
) -> Callable[[], Content]:
    """What takes an upload out of quarantine, as :func:`attach` wants it."""
    session = image_set._session
    found = find_uploads(uploads, None if session is None else session.info)
    return partial(found.take, token, image_set.image_class, user=user)


def attach(
    image_set: PictureSet[ImageT],
    read: Callable[[], Content],
    store: Store | None,
    extra_args: Sequence[Any] | None,
    extra_kwargs: Mapping[str, Any] | None,
    *,
    expected_size: tuple[int, int] | None = None,
    expected_type: str | None = None,
    original: bool = True,
    companions: Callable[[ImageT, PendingBlob, ImageInfo], Sequence[tuple[ImageT, PendingBlob]]] | None = None,
) -> ImageT:
    """Afterwards ``image_set`` has the picture; if this raises it is as it was.

    :param companions: what makes the images that come with a new original
    """
    _check_expectations(expected_size, expected_type)
    cls = image_set.image_class
    found, is_of_session = image_set._store_to_attach_to(store, cls)
    content, info = run_blocking(_read_and_probe, read, cls.image_policy)
    if expected_type not in {None, info.mimetype}:
        msg = f"the file was said to be {expected_type}, but its bytes are {info.mimetype}"
        raise UnreadableImageError(msg, code="other_type", expected=expected_type, found=info.mimetype)
    if expected_size is not None and tuple(expected_size) != (info.width, info.height):
        msg = f"the file was said to be of {tuple(expected_size)} pixels, but it is of {(info.width, info.height)}"
        found_size = (info.width, info.height)
        raise UnreadableImageError(msg, code="other_size", expected=tuple(expected_size), found=found_size)
    image = new_image(cls, extra_args, extra_kwargs)
    describe(image, info.width, info.height, info.mimetype, original=original)
    if original and has_own_column(mapper_of(cls), "frames"):
        set_value(image, "frames", info.frames)
    if not original:  # then it belongs to the original there is, and must not outlive it
        blob_state(image).made_from = image_set.original
    pending = PendingBlob(content, found, is_of_session)
    others = companions(image, pending, info) if original and companions is not None else ()
    put_in(image_set, [(image, pending), *others])
    return image


def put_in(
    image_set: PictureSet[ImageT],
    pending: Sequence[tuple[ImageT, PendingBlob]],
    instead_of: Sequence[tuple[ImageT, Store | None]] = (),
) -> None:
    """Make images, each with the content to be written for it, members of the set, in place of those they replace.

    If this raises, as a validator of the application may, the set is as it was.

    :param instead_of: images that they replace although they could stay, with the stores that have their blobs
    :raises InvalidValueError: the set is a view, of which SQLAlchemy stores nothing
    """
    attachment = image_set._attachment
    if attachment.viewonly:
        msg = f"{attachment} is viewonly=True, so the picture would not be stored: attach it to a set that is not"
        raise InvalidValueError(msg)
    replaced = [*instead_of]
    for image, blob in pending:
        replaced += [(each, blob.store) for each in _replaced_by(image_set, image, blob.store)]
    former = {id(each): (each, store) for each, store in replaced}.values()
    added: list[ImageT] = []
    try:
        for image, blob in pending:  # all of them first, since the application may validate them, and refuse
            blob_state(image).pending = blob
            if has_own_column(mapper_of(type(image)), "revision"):
                set_value(image, "revision", blob.token)
            image_set.append(image)
            added.append(image)
    except BaseException:
        for image in added:
            image_set.remove(image)
        raise
    for each, store in former:
        blob_state(each).is_replaced = True
        _remove(image_set, each, store)


def remove_all(image_set: PictureSet[ImageT], store: Store | None) -> None:
    """Empty the set; ``store``, where given, is the one that has the blobs."""
    given = None if store is None else image_set._find_store(store)
    for image in list(image_set):
        blob_state(image).is_replaced = False
        _remove(image_set, image, given)


def remove_some(image_set: PictureSet[ImageT], images: Iterable[ImageT], store: Store | None = None) -> None:
    """Take images out of the set; their blobs go when the transaction has committed."""
    for image in images:
        _remove(image_set, image, store)


def _remove(image_set: PictureSet[ImageT], image: ImageT, store: Store | None) -> None:
    blob_state(image).removed_from = store
    image_set.remove(image)


def describe(image: Any, width: int, height: int, mimetype: str, *, original: bool) -> None:
    """The columns of the new ``image`` say what its file is."""
    values = {"width": width, "height": height, "mimetype": mimetype, "original": original}
    for name, value in values.items():
        set_value(image, name, value)


def new_image(
    cls: type[ImageT], extra_args: Sequence[Any] | None = None, extra_kwargs: Mapping[str, Any] | None = None
) -> ImageT:
    """An object of the image class, made by its constructor."""
    try:
        image = cls(*(extra_args or ()), **(extra_kwargs or {}))
    except TypeError as error:
        raise InvalidTypeError(
            f"{cls.__name__} could not be made: {error}; give what its constructor needs by extra_args and extra_kwargs"
            " (in a dataclass, columns filled in by the relationship need init=False)"
        ) from error
    if has_own_column(mapper_of(cls), "variant"):
        set_value(image, "variant", "")  # not by its column's default: it is part of the key before that is asked
    return image


def _replaced_by(image_set: PictureSet[ImageT], image: ImageT, store: Store | None) -> list[ImageT]:
    """The images of the set that go when ``image`` comes.

    :raises VariantConflictError: it is a thumbnail, and the original has its size and type
    """
    if image.original:
        return list(image_set)
    cls = image_set.image_class
    slot = row_slot(cls, image, store)
    former = [other for other in image_set if row_slot(cls, other, store) == slot]
    if any(other.original for other in former):
        both = "both the size and the type" if len(slot) > 2 else "the size"
        raise VariantConflictError(
            f"a {cls.__name__} that is a thumbnail cannot have {both} of its original, got"
            f" {' '.join(map(str, size_and_type(image)))}: use the original instead, or another size"
        )
    return former


def _check_expectations(size: object, mimetype: object) -> None:
    if not (mimetype is None or isinstance(mimetype, str)):
        raise wrong_type("mimetype", mimetype, "a str such as 'image/png', or None")
    if size is None:
        return
    sides = tuple(size) if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise InvalidTypeError(f"size: expected a pair of width and height in pixels, or None, got {size!r}")


def _read_and_probe(read: Callable[[], Content], policy: ImagePolicy) -> tuple[Content, ImageInfo]:
    content = read()
    with content.open() as file:
        return content, probe(cast("BinaryIO", file), policy)
