"""URLs by which pictures are had that nobody has made yet, and what they name.

A URL consists of a token, which says the class, the picture, the revision of its original and the rendition, and of the
extension of what it leads to.  It is made by calculation alone.

Nobody but who knows the secret can make one, so nobody can ask for sizes that no page has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import instance_state as object_state

from ..arguments import check_range, check_type, wrong_type, wrong_value
from ..entity import Image
from ..entity.demand import forget, note
from ..entity.identity import has_own_column, mapper_of, set_identity_names
from ..errors import InvalidTypeError, InvalidValueError, UnknownTokenError, UnsavedImageError
from ..imaging import Rendition
from ..imaging.rendition import rendition_of
from ..jobs.keys import decode_key, encode_key
from ..key import extension_of
from ..serving.host import checked_base_url
from ..serving.signing import Signer
from .negotiation import AUTO

__all__ = ["Demand", "OnDemandUrls"]

_PURPOSE: Final = "picture on demand"
_DEFAULTS: Final = {each.name: each.default for each in fields(Rendition) if each.default is not MISSING}
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Demand:
    """What a URL on demand asks for.

    :param image_class: the class of the picture
    :param identity: the primary key, without width, height, mimetype and variant
    :param revision: that of the original's blob; ``None`` where the table keeps none, or 1.x wrote it
    :param rendition: what is to be made of it
    :param negotiated: whether the browser decides about the format
    :param expires_at: seconds since 1970; ``None`` for never
    """

    image_class: type[Image]
    identity: tuple[Any, ...]
    revision: str | None
    rendition: Rendition
    negotiated: bool = False
    expires_at: int | None = None


class OnDemandUrls:
    """Makes URLs on demand, and reads them again.

    Where one has been made of a class, ``product.photo.url(width=300)`` gives such URLs, and
    ``product.photo.picture()`` has them for what is not made yet.  An :class:`~.on_demand.OnDemand` is one.  Elsewhere,
    as where mails are written, this one is enough::

        urls = OnDemandUrls(secret, [ProductPhoto], base_url="https://www.example.com/sized/")

    :param secret: as of :class:`~sqlalchemy_imageattach.serving.signing.Signer`; several if they are rotated
    :param classes: the image classes.  URLs name them by ``__name__``; give a mapping of names to classes to name them
        otherwise, as after renaming one
    :param base_url: the URL at which the endpoint is mounted, or its path
    :param expires_in: for how many seconds a URL can be used, where it is not said otherwise; for ever by default.  It
        may be an eighth longer, since a picture keeps its URL for that long, so that browsers do not ask again
    :raises InvalidValueError: there is no secret, or it is too short; another endpoint makes pictures of a class; or
        ``base_url`` is within that of another one
    :raises InvalidTypeError: an argument has the wrong type
    """

    def __init__(
        self,
        secret: str | bytes | Iterable[str | bytes],
        classes: Iterable[type[Image]] | Mapping[str, type[Image]],
        *,
        base_url: str,
        expires_in: float | None = None,
    ) -> None:
        self.signer = Signer(secret, purpose=_PURPOSE)
        self.classes = _by_name(classes)
        self.base_url = checked_base_url("base_url", base_url)
        self.expires_in = _checked_lifetime(expires_in)
        self._names = {cls: name for name, cls in self.classes.items()}
        note(self, list(self._names))

    def url_of(
        self, original: Image, rendition: Rendition, *, negotiated: bool = False, expires_in: float | None = None
    ) -> str:
        """The URL of ``rendition`` of a picture; without a statement and without I/O, whether it is made or not.

        :param original: the original of the picture
        :param rendition: what is to be made of it
        :param negotiated: whether the browser decides about the format
        :param expires_in: for how many seconds it can be used
        :raises UnsavedImageError: the original was not flushed yet
        :raises InvalidValueError: the picture has no such rendition, its class is not one of these, or its policy
            refuses the size
        """
        cls = type(original)
        name = self._names.get(cls) or self._name_of(cls)
        if object_state(original).key is None:
            raise UnsavedImageError("this image has no blob yet: flush or commit its session first")
        width, height, extension, said = _reckoned(
            rendition, original.width, original.height, original.mimetype, negotiated
        )
        cls.image_policy.check_pixels(width, height)
        mapper = mapper_of(cls)
        identity = tuple([encode_key(getattr(original, each)) for each in set_identity_names(mapper)])
        revision = original.revision if has_own_column(mapper, "revision") else None
        said = f"{_head(name, revision, identity)},{said}"
        seconds = self.expires_in if expires_in is None else _checked_lifetime(expires_in)
        token = self.signer.sign(said.encode(), expires_at=None if seconds is None else _after(seconds))
        return f"{self.base_url}{token}{extension}"

    def demand_of(self, path: str) -> Demand:
        """What a path below ``base_url`` asks for.

        :raises InvalidTokenError: it was not signed here, or was altered
        :raises ExpiredTokenError: its time is over
        :raises UnknownTokenError: what was signed is not known here (any more)
        """
        # the three parts of a token, and an extension, which may have dots of its own
        parts = path.split(".", 3)
        token, extension = ".".join(parts[:3]), f".{parts[3]}" if len(parts) > 3 else ""
        said = self.signer.loads(token)
        try:
            return self._read(said, extension, self.signer.expiry_of(token))
        except (InvalidTypeError, InvalidValueError, KeyError, TypeError, ValueError) as error:
            raise UnknownTokenError("expected what is known here, got a URL of something else") from error

    def close(self) -> None:
        """Afterwards ``url()`` gives no such URLs any more, and another endpoint can be made of the classes."""
        forget(self)

    def _read(self, said: Any, extension: str, expires_at: int | None) -> Demand:
        name, revision, identity, signed, options = said
        if extension != signed:  # so that one picture has one URL
            raise wrong_value("extension", extension, signed)
        cls = self.classes[name]
        columns = _columns_of(mapper_of(cls))
        if len(identity) != len(columns):
            raise wrong_value("identity", identity, f"{len(columns)} values")
        values = tuple(decode_key(value, column) for value, column in zip(identity, columns, strict=True))
        options = dict(options)
        negotiated = options.get("format") == AUTO
        if negotiated:
            del options["format"]
        if "focal_point" in options:
            options["focal_point"] = tuple(options["focal_point"])
        return Demand(cls, values, revision, rendition_of(options), negotiated, expires_at)

    def _name_of(self, cls: type[Image]) -> str:
        for base in cls.__mro__:
            if base in self._names:
                return self._names[base]
        raise wrong_value("original", cls, f"an image of one of {sorted(self.classes)}", got=f"one of {cls.__name__}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnDemandUrls) and (self.signer, self.classes, self.base_url) == (
            other.signer,
            other.classes,
            other.base_url,
        )

    def __hash__(self) -> int:
        return hash((self.signer, self.base_url))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({sorted(self.classes)}, base_url={self.base_url!r})"


@lru_cache(maxsize=4096)
def _head(name: str, revision: str | None, identity: tuple[Any, ...]) -> str:
    return _to_json([name, revision, identity])[:-1]


@lru_cache(maxsize=8192)
def _reckoned(
    rendition: Rendition, width: int, height: int, mimetype: str, negotiated: bool
) -> tuple[int, int, str, str]:
    """The size that a rendition comes to, its extension, and how it is said in a token."""
    target = rendition.target(width, height, mimetype)
    extension = "" if negotiated else extension_of(target.mimetype)
    options = {name: getattr(rendition, name) for name in _DEFAULTS}
    options = {name: value for name, value in options.items() if value != _DEFAULTS[name]}
    if negotiated:
        options["format"] = AUTO
    return target.width, target.height, extension, _to_json([extension, options])[1:]


def _after(seconds: float) -> int:
    step = max(1, int(seconds / 8))
    return -int(-(time.time() + seconds) // step) * step


def _columns_of(mapper: Mapper[Any]) -> list[Any]:
    return [mapper.column_attrs[name].columns[0] for name in set_identity_names(mapper)]


def _by_name(classes: object) -> dict[str, type[Image]]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise wrong_type("classes", classes, "image classes, or a mapping of names to them")
    pairs = list(classes.items()) if isinstance(classes, Mapping) else [(_name(cls), cls) for cls in classes]
    if not pairs:
        raise wrong_value("classes", classes, "one image class or more")
    found: dict[str, type[Image]] = {}
    for name, cls in pairs:
        check_type("classes", name, str, "names of classes")
        if not isinstance(cls, type) or not issubclass(cls, Image) or inspect(cls, raiseerr=False) is None:
            raise wrong_type("classes", cls, "mapped classes with the Image mixin", got=repr(cls))
        if found.setdefault(name, cls) is not cls:
            raise wrong_value("classes", name, "one class by each name", "give a mapping of names to classes")
    return found


def _name(cls: Any) -> str:
    return str(getattr(cls, "__name__", cls))


def _checked_lifetime(seconds: Any) -> float | None:
    if seconds is not None:
        check_range("expires_in", check_type("expires_in", seconds, (int, float)), "seconds, 1 or more", 1, 10**12)
    return seconds  # type: ignore[no-any-return]
