"""What a store has, over HTTP, whatever kind of store it is.

>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> endpoint = StoreEndpoint(MemoryStore())
>>> endpoint.wsgi, endpoint.asgi  # applications to mount, such as: app.mount("/pictures", endpoint.asgi)
(...)

Blobs have the paths below it that stores give them: those of a directory, ``user-picture/234/1/1234.640x480.….jpe``,
and those of a bucket, ``user-picture/1234/640x480.….jpe``.  :class:`ServedStore` is the same store with the URLs of an
endpoint, so that pages have them:

>>> store = ServedStore(MemoryStore(), "https://www.example.com/pictures/")
>>> store.url_of(ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2wAbCdE"))
'https://www.example.com/pictures/user-picture/1234/640x480.Xk3v9QpLm2wAbCdE.jpe'
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..arguments import check_type, wrong_type, wrong_value
from ..key import ImageKey
from ..serving.answer import Answer, message
from ..serving.endpoint import Endpoint
from ..serving.host import checked_base_url
from ..serving.lookup import NO_STORE, Authorise, Lookup
from ..serving.request import Asked, Request
from ..store import ImageLike, Store
from ..storewrapper import StoreWrapper
from .delivery import Delivery, Send

__all__ = ["ServedStore", "StoreEndpoint"]


class StoreEndpoint(Endpoint):
    """Answers ``GET`` and ``HEAD`` for the blobs of a store, with conditions and ranges.

    ::

        endpoint = StoreEndpoint(store, authorise=may_see, classes=[UserPicture])

    A range is fetched as a range.  Who has a blob with a revision already is told so without asking the store.

    :param store: the store
    :param authorise: says who may see which picture, before the store is asked; without, everybody may
    :param classes: the image classes whose blobs are served, and no others; by default all that the store has, and then
        ``authorise`` is told no class
    :param prefix: what names in URLs begin with, such as the ``prefix`` of a bucket's store
    :param send: who sends the bytes: ``"stream"``, this process; ``"redirect"``, whoever the URL leads to that the
        store gives, signed where it signs; ``"X-Accel-Redirect"`` (nginx) and ``"X-Sendfile"`` (others), the web server
        in front, from the directory of the store
    :param internal_url: for ``"X-Accel-Redirect"``, the path of the internal location, such as ``"/protected/"``
    :raises InvalidTypeError: an argument has the wrong type
    :raises InvalidValueError: an argument has a value that cannot be used; or two classes have one object type, or it
        depends on the object
    """

    def __init__(
        self,
        store: Store,
        *,
        authorise: Authorise | None = None,
        classes: Iterable[type[Any]] | None = None,
        prefix: str = "",
        send: Send = "stream",
        internal_url: str = "",
    ) -> None:
        super().__init__(authorise)
        self.store = check_type("store", store, Store)
        self.prefix = check_type("prefix", prefix, str).strip("/")
        self._classes = None if classes is None else _by_object_type(classes)
        self._delivery = Delivery(send, internal_url, is_private=authorise is not None)
        self._delivery.check_store(store)

    def look(self, request: Request) -> Answer | Lookup:
        if request.method not in {"GET", "HEAD"}:
            return message(405, [("Allow", "GET, HEAD")])
        key = self._key_of(request.path)
        if key is None:
            return message(404, [NO_STORE])
        cls = None
        if self._classes is not None and (cls := self._classes.get(key.object_type)) is None:
            return message(404, [NO_STORE])
        asked = Asked(cls, (key.object_id,), key)
        return Lookup(lambda: self._delivery.answer(request, self.store, key), asked)

    def _key_of(self, path: str | None) -> ImageKey | None:
        """The blob that a path names.  **The only way from a URL to a key.**"""
        if path is None:
            return None
        if self.prefix:
            if not path.startswith(f"{self.prefix}/"):
                return None
            path = path[len(self.prefix) + 1 :]
        # what servers do not show, as that of a directory does not either
        if any(segment.startswith(".") for segment in path.split("/")):
            return None
        return ImageKey.parse_file_path(path) or ImageKey.parse_object_name(path)


class ServedStore(StoreWrapper):
    """A store whose URLs lead to a :class:`StoreEndpoint`.  All else is that of the wrapped store.

    ::

        store = ServedStore(S3Store("pictures"), "https://www.example.com/pictures/")
        app.mount("/pictures", StoreEndpoint(store.wrapped, authorise=may_see).asgi)

    :param wrapped: the store
    :param base_url: the URL at which the endpoint is mounted, or its path
    :raises InvalidTypeError: an argument has the wrong type
    :raises InvalidValueError: ``base_url`` has characters that no URL can have
    """

    def __init__(self, wrapped: Store, base_url: str) -> None:
        super().__init__(wrapped)
        self.base_url = checked_base_url("base_url", base_url)

    def url_of(self, key: ImageKey) -> str:
        return self.base_url + quote(self.own_key(key).object_name())

    def get_url(self, *args: Any, **kwargs: Any) -> str:
        return self.url_of(ImageKey(*args, **kwargs))

    def locate(self, image: ImageLike) -> str:
        return Store.locate(self, image)


def _by_object_type(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for cls in classes:
        name = getattr(cls, "object_type", None)
        if not isinstance(cls, type) or name is None:
            raise wrong_type("classes", cls, "image classes", got=repr(cls))
        if not isinstance(name, str):
            advice = "leave classes out, and tell it by the key that authorise gets"
            raise wrong_value(
                "classes", cls, "classes with one object_type each", advice, got=f"{cls.__name__}, without"
            )
        if found.setdefault(name, cls) is not cls:
            raise wrong_value("classes", cls, "one class for each object_type", got=f"two for {name!r}")
    return found
