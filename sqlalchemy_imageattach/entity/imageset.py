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
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Unpack

from markupsafe import Markup
from sqlalchemy.orm import collections

from ..concurrency import awaitable
from ..imaging import Rendition, RenditionDetails, RenditionOptions
from ..imaging.rendition import rendition_of, renditions_of
from ..store import Store
from ..uploads.issuing import Uploads, User
from . import attaching, declared, markup, thumbnails
from .collection import ImageList, ImageT, PictureSet
from .declared import VariantImages
from .demand import url_maker_of
from .markup import OnDemand

if TYPE_CHECKING:
    from ..remote import FetchPolicy

__all__ = ["BaseImageSet", "SingleImageSet"]


class BaseImageSet(PictureSet[ImageT]):
    """One picture in all its sizes: what :class:`SingleImageSet` and :class:`ImageSubset` have in common."""

    def find_thumbnail(
        self,
        width: int | None = None,
        height: int | None = None,
        *,
        format: str | None = None,
        variant: str | None = None,
        store: Store | None = None,
    ) -> ImageT:
        """The image of the given width, height, or both.  No statement and no I/O.

        Of several, one that shows the whole picture comes before one that was cut; the original comes last.

        :param width: in pixels
        :param height: in pixels
        :param format: only images of this type, e.g. ``"webp"`` or ``"image/webp"``
        :param variant: only the thumbnail with this ``variant``, empty for that of the whole picture by default quality
        :param store: accepted as all operations do; finding needs none
        :raises sqlalchemy.exc.NoResultFound: there is no such image
        :raises InvalidTypeError: neither width nor height was given
        """
        return thumbnails.find(self, width, height, format, variant)

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

    # --- thumbnails --------------------------------------------------------------------------------------------------

    def generate_thumbnail(
        self,
        ratio: float | None = None,
        width: int | None = None,
        height: int | None = None,
        filter: str = "undefined",
        store: Store | None = None,
        *,
        regenerate: bool = False,
        reuse_original: bool = False,
        **details: Unpack[RenditionDetails],
    ) -> ImageT:
        """The thumbnail that is described, made if it is not there; its blob is written by the next flush.

        ::

            user.picture.generate_thumbnail(width=150)
            user.picture.generate_thumbnail(width=300, height=300, fit="fill", focal_point=(0.5, 0.3), format="webp")

        :param ratio: its sides relative to those of the original, e.g. ``0.5``
        :param width: in pixels
        :param height: in pixels
        :param filter: the resampling filter; Lanczos by default
        :param store: the store that has the original and is to have the thumbnail; the current one by default
        :param regenerate: whether to make it anew if it is there already
        :param reuse_original: whether the original will do where it has the size and the type wanted.  It carries along
           what its camera wrote into it, such as the place where it was taken; what is made of it does not
        :param details: ``format``, ``quality``, ``fit``, ``focal_point``, ``upscale`` and ``animated``, as
           :class:`~sqlalchemy_imageattach.imaging.Rendition` has them
        :raises NoOriginalError: there is no picture yet
        :raises InvalidValueError: not just one of ``ratio`` and ``width``/``height`` was given, or one is out of range
        :raises VariantConflictError: the table has room for one picture of its size and type, and has another one
        :raises UnreadableImageError: the original cannot be decoded
        :raises OSError: the store cannot give the original
        """
        wanted = rendition_of({"ratio": ratio, "width": width, "height": height, "filter": filter, **details})
        return self.generate_thumbnails([wanted], store, regenerate=regenerate, reuse_original=reuse_original)[0]

    def generate_thumbnails(
        self,
        renditions: Iterable[Rendition | RenditionOptions],
        store: Store | None = None,
        *,
        regenerate: bool = False,
        reuse_original: bool = False,
    ) -> list[ImageT]:
        """The same for several thumbnails; what is to be made is made from one decoding of the original.

        ::

            user.picture.generate_thumbnails([{"width": 160}, {"width": 320}, {"width": 640, "format": "webp"}])

        :param renditions: a :class:`~sqlalchemy_imageattach.imaging.Rendition`, or its options, for each
        :return: the images, in the order of ``renditions``
        :raises: what :meth:`generate_thumbnail` raises; then no thumbnail was made
        """
        wanted = renditions_of(renditions)
        return thumbnails.generate(self, wanted, store, anew=regenerate, reuse_original=reuse_original)

    def thumbnail(
        self,
        ratio: float | None = None,
        width: int | None = None,
        height: int | None = None,
        filter: str = "undefined",
        store: Store | None = None,
        *,
        reuse_original: bool = False,
        **details: Unpack[RenditionDetails],
    ) -> ImageT:
        """Find the thumbnail that is described, or make and flush it.

        Found ones cost no statement and no I/O, but for a look at the original where its row does not say what is to be
        known: of pictures that 1.x attached, how they lie in their files.  Where one is made, the original's row stays
        locked to the end of the transaction, so of two transactions that ask at the same time one makes it and the
        other one finds it.

        ::

            user.picture.thumbnail(width=150).locate()

        The parameters and errors are those of :meth:`generate_thumbnail`.

        :raises ConcurrentReplacementError: another transaction has replaced the picture since it was loaded
        """
        wanted = rendition_of({"ratio": ratio, "width": width, "height": height, "filter": filter, **details})
        return self.thumbnails([wanted], store, reuse_original=reuse_original)[0]

    def thumbnails(
        self,
        renditions: Iterable[Rendition | RenditionOptions],
        store: Store | None = None,
        *,
        reuse_original: bool = False,
    ) -> list[ImageT]:
        """Find several thumbnails; make those that are not there from one decoding, and flush them.

        It is safe to run twice at once, as task queues do: one makes them, and the other one waits and finds them.

        ::

            user.picture.thumbnails([{"width": 160}, {"width": 320}, {"width": 640, "format": "webp"}])

        :param renditions: as for :meth:`generate_thumbnails`
        :return: the images, in the order of ``renditions``
        :raises: what :meth:`thumbnail` raises; then no thumbnail was made
        """
        wanted = renditions_of(renditions)
        return thumbnails.find_or_generate(self, wanted, store, reuse_original=reuse_original)

    def url(
        self,
        *,
        width: int | None = None,
        height: int | None = None,
        expires_in: float | None = None,
        **details: Unpack[RenditionDetails],
    ) -> str:
        """The URL of a thumbnail that is made when it is first asked for.  No statement, no store access.

        It takes an :class:`~sqlalchemy_imageattach.variants.OnDemand` for the class.  The URL is signed, stays the
        same, and leads to nothing any more when the picture is replaced.

        ::

            product.photo.url(width=300, height=300, fit="fill", format="auto")

        :param width: in pixels
        :param height: in pixels
        :param expires_in: for how many seconds it can be used; as the endpoint has it by default
        :param details: as for :meth:`generate_thumbnail`; where it cuts, it keeps the picture's own ``focal_point`` in
           view.  With ``format="auto"`` the browser gets AVIF or WebP if it takes that
        :raises NoEndpointError: nothing makes pictures of this class on demand
        :raises NoOriginalError: there is no picture yet
        :raises UnsavedImageError: the picture was not flushed yet
        :raises InvalidValueError: a size is missing or out of range
        :raises PolicyViolationError: it would have more pixels than the policy of the class allows
        """
        maker, original = url_maker_of(self.image_class), self.require_original()
        options: dict[str, Any] = {"width": width, "height": height, **details}
        negotiated = options.get("format") == "auto"
        if negotiated:
            del options["format"]
        if options.get("fit") == "fill" and "focal_point" not in options:
            options["focal_point"] = declared.focal_point_of(original) or (0.5, 0.5)
        return maker.url_of(original, rendition_of(options), negotiated=negotiated, expires_in=expires_in)

    # --- declared variants -------------------------------------------------------------------------------------------

    def variant(self, name: str) -> VariantImages[ImageT]:
        """The images of a variant that the image class declares, as far as they are there.  No statement and no I/O.

        ::

            [image.locate() for image in product.photo.variant("card")]

        :param name: one of those in ``image_variants`` of the image class
        :raises UnknownVariantError: it declares none of this name
        """
        return declared.find(self, name)

    def make_variants(self, *names: str, store: Store | None = None) -> list[ImageT]:
        """Make and flush what is missing of declared variants, from one decoding.  It is safe to run twice at once.

        ::

            product.photo.make_variants("card", "hero")

        :param names: by default all that the class declares
        :param store: as for :meth:`thumbnails`
        :return: the images, those that were there already too
        :raises UnknownVariantError: the class declares none of this name
        :raises: what :meth:`thumbnails` raises; then none was made
        """
        chosen = names or tuple(self.image_class.image_variants)
        return declared.make(self, chosen, partial(self.thumbnails, store=store))

    def picture(
        self,
        name: str,
        *,
        alt: str,
        sizes: str | None = None,
        loading: str | None = "lazy",
        decoding: str | None = "async",
        fetchpriority: str | None = None,
        placeholder: bool = True,
        use_original: bool = True,
        on_demand: OnDemand | None = None,
        store: Store | None = None,
        **attributes: Any,
    ) -> Markup:
        """The ``<picture>`` element of a declared variant: a ``<source>`` for each format, and an ``<img>``.

        No statement and no store access.  While nothing of the variant is made, a thumbnail of the whole picture stands
        for it, and the original last.  It is empty while there is no picture.  Templates take it as it is.

        ::

            {{ product.photo.picture("card", sizes="(min-width: 60rem) 33vw, 100vw", alt=product.name, class_="card") }}

        :param name: one of those in ``image_variants`` of the image class
        :param alt: what the picture shows, for those who do not see it; empty for mere decoration
        :param sizes: how wide it is on the page, as HTML says it; for variants with ``widths``
        :param loading: ``"lazy"`` or ``"eager"``
        :param decoding: ``"async"``, ``"sync"`` or ``"auto"``
        :param fetchpriority: ``"high"``, ``"low"`` or ``"auto"``
        :param placeholder: whether its colour and its blurred preview are shown until it is there
        :param use_original: whether the original may be shown; it carries along what its camera wrote into it
        :param on_demand: gives the URL for the original and a rendition that is not made yet; by default, what
           :meth:`url` would, where an endpoint makes pictures of the class
        :param store: the store that has the images; the current one by default
        :param attributes: of the ``<img>``: ``class_`` is ``class``, and ``data_id`` is ``data-id``
        :raises UnknownVariantError: the class declares no variant of this name
        :raises InvalidTypeError: ``alt`` is no str
        :raises InvalidValueError: an attribute has a value or a name that HTML has not
        """
        return markup.picture(
            self,
            name,
            alt=alt,
            sizes=sizes,
            loading=loading,
            decoding=decoding,
            fetchpriority=fetchpriority,
            placeholder=placeholder,
            use_original=use_original,
            on_demand=on_demand,
            store=store,
            attributes=attributes,
        )

    @property
    def focal_point(self) -> tuple[float, float] | None:
        """What is kept in view where the picture is cut, from the left and from the top; ``None`` for the middle.

        When it is set, the declared variants whose cut it moves are made anew.  The former images go when the
        transaction has committed, and the URLs change.

        ::

            product.photo.focal_point = (0.5, 0.2)

        :raises InvalidValueError: on setting, if it is outside of the picture
        :raises InvalidTypeError: on setting, if it is no pair of numbers, or the table has no columns for it
        """
        original = self.original
        return None if original is None else declared.focal_point_of(original)

    @focal_point.setter
    def focal_point(self, point: tuple[float, float] | None) -> None:
        self.set_focal_point(point)

    def set_focal_point(self, point: tuple[float, float] | None) -> None:
        """The same as to assign it to :attr:`focal_point`; event loops await its twin, as pictures may be made anew.

        :param point: fractions of width and height from the top left corner, or ``None`` for the middle
        :raises InvalidValueError: it is outside of the picture
        :raises InvalidTypeError: it is no pair of numbers, or the table has no columns for it
        :raises NoOriginalError: there is no picture yet
        """
        declared.set_focal_point(self, point)

    # --- awaitable twins ---------------------------------------------------------------------------------------------

    afrom_file = awaitable(from_file)
    afrom_blob = awaitable(from_blob)
    afrom_url = awaitable(from_url)
    afrom_upload = awaitable(from_upload)
    afrom_raw_file = awaitable(from_raw_file)
    agenerate_thumbnail = awaitable(generate_thumbnail)
    agenerate_thumbnails = awaitable(generate_thumbnails)
    athumbnail = awaitable(thumbnail)
    athumbnails = awaitable(thumbnails)
    amake_variants = awaitable(make_variants)
    aset_focal_point = awaitable(set_focal_point)
    alocate = awaitable(locate)
    aopen_file = awaitable(open_file)
    amake_blob = awaitable(make_blob)


class SingleImageSet(BaseImageSet[ImageT], ImageList[ImageT]):  # type: ignore[misc]  # count() takes no argument here
    """The one picture of its owner, in all its sizes.  Empty, and false, while there is none."""

    @collections.collection.internally_instrumented  # type: ignore[untyped-decorator]
    def clear(self, store: Store | None = None) -> None:
        super().clear(store)
