"""What is made of a picture: thumbnails, found or made, and the variants that its class declares."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Unpack

from markupsafe import Markup

from ..concurrency import awaitable
from ..imaging import Rendition, RenditionDetails, RenditionOptions
from ..imaging.rendition import rendition_of, renditions_of
from ..store import Store
from . import declared, finding, markup, thumbnails
from .collection import ImageT, PictureSet
from .declared import VariantImages
from .demand import url_maker_of
from .markup import OnDemand

__all__ = ["ThumbnailSet"]


class ThumbnailSet(PictureSet[ImageT]):
    """The methods of :class:`~.imageset.BaseImageSet` that find and make images of its picture."""

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
        return finding.find(self, width, height, format, variant)

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

    agenerate_thumbnail = awaitable(generate_thumbnail)
    agenerate_thumbnails = awaitable(generate_thumbnails)
    athumbnail = awaitable(thumbnail)
    athumbnails = awaitable(thumbnails)
    amake_variants = awaitable(make_variants)
    aset_focal_point = awaitable(set_focal_point)
