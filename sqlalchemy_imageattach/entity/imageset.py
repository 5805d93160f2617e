"""Image sets: the collections that :func:`~sqlalchemy_imageattach.entity.image_attachment` maps.

A set holds one picture: its original, and the thumbnails made from it.  It is a list of
:class:`~sqlalchemy_imageattach.entity.Image` objects, loaded, cascaded and flushed by SQLAlchemy like that of any
relationship::

    for user in session.scalars(select(User).options(selectinload(User.picture))):
        user.picture.locate(), user.picture.find_thumbnail(width=150).locate()   # no statement, no store access

Where an owner has several pictures, ``uselist=True`` maps a :class:`MultipleImageSet`, and each of its pictures is
an :class:`ImageSubset` of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from sqlalchemy.orm import collections

from ..concurrency import awaitable
from ..imaging import Fit, Rendition
from ..store import Store
from . import attaching, thumbnails
from .collection import ImageList, ImageT, PictureSet

__all__ = ["BaseImageSet", "SingleImageSet"]


class BaseImageSet(PictureSet[ImageT]):
    """One picture in all its sizes: what :class:`SingleImageSet` and :class:`ImageSubset` have in common."""

    def find_thumbnail(
        self,
        width: int | None = None,
        height: int | None = None,
        *,
        format: str | None = None,
        store: Store | None = None,
    ) -> ImageT:
        """The image of the given width, height, or both.  No statement and no I/O.

        :param width: in pixels
        :param height: in pixels
        :param format: only images of this type, e.g. ``"webp"`` or ``"image/webp"``
        :param store: accepted as all operations do; finding needs none
        :raises sqlalchemy.exc.NoResultFound: there is no such image
        :raises InvalidTypeError: neither width nor height was given
        """
        return thumbnails.find(self, width, height, format)

    @property
    def width(self) -> int:
        """The width of the original, in pixels."""
        return self.require_original().width

    @property
    def height(self) -> int:
        """The height of the original, in pixels."""
        return self.require_original().height

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the original, in pixels."""
        return self.require_original().size

    @property
    def mimetype(self) -> str:
        """The type of the original, e.g. ``"image/jpeg"``."""
        return self.require_original().mimetype

    def locate(self, store: Store | None = None) -> str:
        """The URL of the original.  See :meth:`Image.locate() <sqlalchemy_imageattach.entity.Image.locate>`."""
        return self.require_original().locate(store)

    def open_file(self, store: Store | None = None, use_seek: bool = False) -> IO[bytes]:
        """A file with the original.  See :meth:`Image.open_file() <sqlalchemy_imageattach.entity.Image.open_file>`."""
        return self.require_original().open_file(store, use_seek)

    def make_blob(self, store: Store | None = None) -> bytes:
        """The bytes of the original."""
        return self.require_original().make_blob(store)

    def __html__(self) -> str:
        return self.require_original().__html__()

    # --- attaching ---------------------------------------------------------------------------------------------------

    def from_file(
        self,
        file: Any,
        store: Store | None = None,
        extra_args: Sequence[Any] | None = None,
        extra_kwargs: Mapping[str, Any] | None = None,
    ) -> ImageT:
        """Attach the picture in ``file``, in place of the one before and all its thumbnails.

        The file is read to its end at once and may be closed afterwards; only its header is looked into.  It is written
        to the store by the next flush, and stays there if the transaction is committed.  If this raises, the set is
        as it was.

        ::

            with open("portrait.jpg", "rb") as file:
                user.picture.from_file(file)
            session.commit()

        :param file: a binary file at the position to read from, or an upload of Starlette, FastAPI, Werkzeug, Flask
           or Django
        :param store: the store to write to; the current one by default
        :param extra_args: positional arguments for the constructor of the image class
        :param extra_kwargs: keyword arguments for the constructor of the image class
        :return: the new original
        :raises RejectedImageError: it is no image, is damaged, or the class's ``image_policy`` refuses it
        :raises ContextError: no store was given, and there is no current one
        :raises InvalidTypeError: ``file`` is no binary file, or ``store`` is no store
        """
        return self.from_raw_file(file, store, extra_args=extra_args, extra_kwargs=extra_kwargs)

    def from_blob(
        self,
        blob: bytes | bytearray | memoryview,
        store: Store | None = None,
        extra_args: Sequence[Any] | None = None,
        extra_kwargs: Mapping[str, Any] | None = None,
    ) -> ImageT:
        """Attach the picture whose bytes are ``blob``; otherwise like :meth:`from_file`."""
        return attaching.attach(self, attaching.content_of_blob(blob), store, extra_args, extra_kwargs)

    def from_raw_file(
        self,
        raw_file: Any,
        store: Store | None = None,
        size: tuple[int, int] | None = None,
        mimetype: str | None = None,
        original: bool = True,
        extra_args: Sequence[Any] | None = None,
        extra_kwargs: Mapping[str, Any] | None = None,
    ) -> ImageT:
        """Attach the picture in ``raw_file``, or add it as a thumbnail; otherwise like :meth:`from_file`.

        :param size: the width and height that it is expected to have, in pixels, upright
        :param mimetype: the type that it is expected to have
        :param original: whether it is to take the place of the picture before, or to be one more thumbnail of it
        :raises RejectedImageError: among others, if the file has another size or type than was expected
        """
        return attaching.attach(
            self,
            attaching.content_of_file(self.image_class.image_policy, raw_file),
            store,
            extra_args,
            extra_kwargs,
            expected_size=size,
            expected_type=mimetype,
            original=original,
        )

    def clear(self, store: Store | None = None) -> None:
        """Remove all images, the original included.  Their blobs go when the transaction has committed.

        :param store: the store that has the blobs; by default the one they are known to be in, or the current one
        """
        attaching.remove_all(self, store)

    # --- thumbnails --------------------------------------------------------------------------------------------------

    def generate_thumbnail(
        self,
        ratio: float | None = None,
        width: int | None = None,
        height: int | None = None,
        filter: str = "undefined",
        store: Store | None = None,
        *,
        format: str | None = None,
        quality: int | None = None,
        fit: Fit = "contain",
        focal_point: tuple[float, float] = (0.5, 0.5),
        upscale: bool = True,
        animated: bool = False,
    ) -> ImageT:
        """Make a thumbnail; its blob is written by the next flush.

        One that the set already has in the same size and type is replaced.  If size and type are those of the original,
        the original is returned.

        ::

            user.picture.generate_thumbnail(width=150)
            user.picture.generate_thumbnail(width=300, height=300, fit="fill", focal_point=(0.5, 0.3), format="webp")

        :param ratio: its sides relative to those of the original, e.g. ``0.5``
        :param width: in pixels
        :param height: in pixels
        :param filter: the resampling filter; Lanczos by default
        :param store: the store that has the original and is to have the thumbnail; the current one by default
        :param format: its type, e.g. ``"webp"``; by default that of the original, or one fit for the web
        :param quality: from 1 to 100, for types with lossy compression
        :param fit: how it is to fill a box of ``width`` and ``height``: ``"contain"`` (within it), ``"cover"`` (the
           smallest that covers it) or ``"fill"`` (just the box, cropped)
        :param focal_point: what cropping keeps in view, as fractions of the width and of the height
        :param upscale: whether it may be larger than the original
        :param animated: whether to keep all frames, where ``format`` can; the first one only by default
        :raises NoOriginalError: there is no picture yet
        :raises InvalidValueError: not just one of ``ratio`` and ``width``/``height`` was given, or one is out of range
        :raises UnreadableImageError: the original cannot be decoded
        :raises OSError: the store cannot give the original
        """
        rendition = Rendition(
            ratio=ratio,
            width=width,
            height=height,
            filter=filter,
            format=format,
            quality=quality,
            fit=fit,
            focal_point=focal_point,
            upscale=upscale,
            animated=animated,
        )
        return self.generate_thumbnails([rendition], store)[0]

    def generate_thumbnails(
        self, renditions: Iterable[Rendition | Mapping[str, Any]], store: Store | None = None
    ) -> list[ImageT]:
        """Make several thumbnails, decoding the original only once.

        ::

            user.picture.generate_thumbnails([{"width": 160}, {"width": 320}, {"width": 640, "format": "webp"}])

        :param renditions: a :class:`~sqlalchemy_imageattach.imaging.Rendition`, or its parameters, for each
        :return: the images, in the order of ``renditions``
        :raises: what :meth:`generate_thumbnail` raises; then no thumbnail was made
        """
        return thumbnails.generate(self, thumbnails.renditions_of(renditions), store)

    def thumbnail(
        self,
        ratio: float | None = None,
        width: int | None = None,
        height: int | None = None,
        filter: str = "undefined",
        store: Store | None = None,
        *,
        format: str | None = None,
        quality: int | None = None,
        fit: Fit = "contain",
        focal_point: tuple[float, float] = (0.5, 0.5),
        upscale: bool = True,
        animated: bool = False,
    ) -> ImageT:
        """Find the thumbnail of the size and type asked for, or make and flush it.

        Found ones cost no statement and no I/O, but for a look at the original if that was turned and attached by 1.x,
        which recorded another size for it.  Where one is made, the original's row stays locked to the end of the
        transaction, so of two transactions that ask at the same time one makes it and the other one finds it.

        ::

            user.picture.thumbnail(width=150).locate()

        The parameters and errors are those of :meth:`generate_thumbnail`.

        :raises ConcurrentReplacementError: another transaction has replaced the picture since it was loaded
        """
        rendition = Rendition(
            ratio=ratio,
            width=width,
            height=height,
            filter=filter,
            format=format,
            quality=quality,
            fit=fit,
            focal_point=focal_point,
            upscale=upscale,
            animated=animated,
        )
        return thumbnails.find_or_generate(self, rendition, store)

    # --- awaitable twins ---------------------------------------------------------------------------------------------

    afrom_file = awaitable(from_file)
    afrom_blob = awaitable(from_blob)
    afrom_raw_file = awaitable(from_raw_file)
    agenerate_thumbnail = awaitable(generate_thumbnail)
    agenerate_thumbnails = awaitable(generate_thumbnails)
    athumbnail = awaitable(thumbnail)
    alocate = awaitable(locate)
    aopen_file = awaitable(open_file)
    amake_blob = awaitable(make_blob)


class SingleImageSet(BaseImageSet[ImageT], ImageList[ImageT]):  # type: ignore[misc]  # count() takes no argument here
    """The one picture of its owner, in all its sizes.  Empty, and false, while there is none."""

    @collections.collection.internally_instrumented  # type: ignore[untyped-decorator]
    def clear(self, store: Store | None = None) -> None:
        super().clear(store)
