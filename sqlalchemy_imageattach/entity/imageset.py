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

from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from markupsafe import Markup
from sqlalchemy.orm import collections

from ..concurrency import awaitable
from ..store import Store
from ..uploads.issuing import Uploads, User
from . import attaching, declared
from .collection import ImageList, ImageT
from .thumbnailset import ThumbnailSet

if TYPE_CHECKING:
    from ..remote import FetchPolicy

__all__ = ["BaseImageSet", "SingleImageSet"]


class BaseImageSet(ThumbnailSet[ImageT]):
    """One picture in all its sizes: what :class:`SingleImageSet` and :class:`ImageSubset` have in common."""

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

    def html(self, alt: str = "", **attributes: object) -> Markup:
        """The original as an ``<img>`` element; nothing while there is no picture.

        See :meth:`Image.html() <sqlalchemy_imageattach.entity.Image.html>`.
        """
        original = self.original
        return Markup() if original is None else original.html(alt, **attributes)

    def __html__(self, alt: str | None = None, **attributes: object) -> str:
        original = self.original
        return "" if original is None else original.__html__(alt, **attributes)

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
        return attaching.attach(
            self,
            attaching.content_of_blob(blob),
            store,
            extra_args,
            extra_kwargs,
            companions=partial(declared.made_with, self),
        )

    def from_url(
        self,
        url: str,
        store: Store | None = None,
        extra_args: Sequence[Any] | None = None,
        extra_kwargs: Mapping[str, Any] | None = None,
        *,
        fetching: FetchPolicy | None = None,
    ) -> ImageT:
        """Attach the picture that a stranger has named by its URL; otherwise like :meth:`from_file`.

        Public addresses only are asked, within the limits of ``fetching`` and the class's ``image_policy``.  It needs
        the extra ``remote``.

        ::

            user.picture.from_url("https://images.example.com/portrait.jpg")

        :param url: an ``http:`` or ``https:`` URL
        :param fetching: what may be asked, and what it may cost;
           :class:`FetchPolicy() <sqlalchemy_imageattach.remote.FetchPolicy>` by default
        :raises RemoteError: it could not be had; the text can be shown to a visitor
        """
        return attaching.attach(
            self,
            attaching.content_of_url(self.image_class.image_policy, url, fetching),
            store,
            extra_args,
            extra_kwargs,
            companions=partial(declared.made_with, self),
        )

    def from_upload(
        self,
        token: str,
        store: Store | None = None,
        extra_args: Sequence[Any] | None = None,
        extra_kwargs: Mapping[str, Any] | None = None,
        *,
        user: User = None,
        uploads: Uploads | None = None,
    ) -> ImageT:
        """Attach the picture that a browser has sent to the store by itself; otherwise like :meth:`from_file`.

        What was sent is looked at as any upload is.  The flush has the store copy it, where it can, and marks the token
        as used; a rollback takes both back.

        ::

            user.picture.from_upload(form["picture_token"], user=user.id)

        :param token: of a :class:`~sqlalchemy_imageattach.uploads.Permit`, or of
           :meth:`Uploads.keep() <sqlalchemy_imageattach.uploads.Uploads.keep>`
        :param user: who asks; the same as when the token was given
        :param uploads: by default those of the session, or of the process
        :raises UploadError: the token is not valid, or not for this class or this user, or was used; or nothing was
           sent.  If somebody else uses it at the same moment, the flush raises it
        """
        return attaching.attach(
            self,
            attaching.content_of_upload(self, token, user, uploads),
            store,
            extra_args,
            extra_kwargs,
            companions=partial(declared.made_with, self),
        )

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
            companions=partial(declared.made_with, self),
        )

    def clear(self, store: Store | None = None) -> None:
        """Remove all images, the original included.  Their blobs go when the transaction has committed.

        :param store: the store that has the blobs; by default the one they are known to be in, or the current one
        """
        attaching.remove_all(self, store)

    # --- awaitable twins ---------------------------------------------------------------------------------------------

    afrom_file = awaitable(from_file)
    afrom_blob = awaitable(from_blob)
    afrom_url = awaitable(from_url)
    afrom_upload = awaitable(from_upload)
    afrom_raw_file = awaitable(from_raw_file)
    alocate = awaitable(locate)
    aopen_file = awaitable(open_file)
    amake_blob = awaitable(make_blob)


class SingleImageSet(BaseImageSet[ImageT], ImageList[ImageT]):  # type: ignore[misc]  # count() takes no argument here
    """The one picture of its owner, in all its sizes.  Empty, and false, while there is none."""

    @collections.collection.internally_instrumented  # type: ignore[untyped-decorator]
    def clear(self, store: Store | None = None) -> None:
        super().clear(store)
