"""Which store is meant when none is named.

A store is looked for in this order; the first found is used:

1. the ``store`` argument of the operation;
2. for an image that is stored, the store that is known to have its blob, since it was written or read there;
3. the image class's own: its :attr:`~sqlalchemy_imageattach.entity.Image.image_store`;
4. the innermost :func:`store_context` (or :func:`push_store_context`) of the running thread, task or greenlet;
5. the store bound to the session: ``Session(engine, info={"image_store": store})``, which
   :class:`~sqlalchemy.orm.sessionmaker` and :class:`~sqlalchemy.ext.asyncio.async_sessionmaker` take too;
6. the application's default: :func:`set_default_store`.

For a picture whose owner is in no session yet, the last two are asked by the flush; and an image that has left its
session goes on with the store that was bound to it, also in another one that has none.

An operation on all classes at once, such as a check or a sweep, looks for the store of each class by the same order.
The store that it is given counts as the innermost context: it is that of the classes that have none of their own.

With none of them there is a :exc:`~sqlalchemy_imageattach.errors.ContextError` that names these ways.

    >>> from sqlalchemy_imageattach.stores.memory import MemoryStore
    >>> with store_context(MemoryStore()) as outer:
    ...     with store_context(MemoryStore()) as inner:
    ...         assert get_current_store() is inner
    ...     assert get_current_store() is outer
    >>> get_current_store()
    Traceback (most recent call last):
      ...
    sqlalchemy_imageattach.errors.ContextError: no image store is set; ...

The stack lives in a :class:`~contextvars.ContextVar`, so tasks and threads do not see each other's stores, and an
``AsyncSession`` sees the one of the task that uses it.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .arguments import wrong_type
from .errors import ContextError
from .store import Store, are_same_place
from .storewrapper import StoreWrapper

__all__ = [
    "SESSION_STORE_KEY",
    "ContextError",
    "LocalProxyStore",
    "current_store",
    "find_named_store",
    "find_store",
    "find_store_of_class",
    "get_current_context_id",
    "get_current_store",
    "own_store",
    "pop_store_context",
    "push_store_context",
    "set_default_store",
    "store_context",
]

#: The key of ``session.info`` under which a session's own store is found.
SESSION_STORE_KEY = "image_store"

_stack: ContextVar[tuple[Store, ...]] = ContextVar("sqlalchemy_imageattach.store_context", default=())
_default_store: Store | None = None


@contextmanager
def store_context(store: Store) -> Iterator[Store]:
    """Within the ``with`` block ``store`` is the current store; afterwards the former one is again, come what may.

    ::

        with store_context(store):
            user.picture.from_file(file)
            session.commit()

    :param store: the store to use
    :raises InvalidTypeError: ``store`` is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    store = _actual(_check_store(store))
    outside = _stack.get()
    _stack.set((*outside, store))
    try:
        yield store
    finally:
        _stack.set(outside)


def push_store_context(store: Store) -> None:
    """Make ``store`` the current one until :func:`pop_store_context`: for frameworks with set-up and tear-down hooks.

    :param store: the store to use
    :raises InvalidTypeError: ``store`` is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    _stack.set((*_stack.get(), _actual(_check_store(store))))


def pop_store_context() -> Store:
    """Undo the last :func:`push_store_context`.

    :return: the store that was current until now
    :raises ContextError: nothing had been pushed here
    """
    stack = _stack.get()
    if not stack:
        raise ContextError("pop_store_context() without a push_store_context() before it in this thread or task")
    _stack.set(stack[:-1])
    return stack[-1]


def set_default_store(store: Store | None) -> None:
    """Make ``store`` the one that the whole process uses where no other is named; ``None`` takes it away.

    Meant to be called once, at start-up, by programs with one store.

    :raises InvalidTypeError: ``store`` is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    global _default_store
    _default_store = None if store is None else _actual(_check_store(store))


def get_current_store() -> Store:
    """The store itself of which :data:`current_store` is the proxy: the innermost context's, or the default.

    :raises ContextError: there is neither
    """
    return find_store()


def find_store(
    argument: Store | None = None,
    session_info: Mapping[Any, Any] | None = None,
    image_class: type[Any] | None = None,
    known: Store | None = None,
) -> Store:
    """The store to use, by the order that the module's documentation states.  **The only place that knows the order.**

    :param argument: the store that the caller was given, if any; :data:`current_store` counts as none
    :param session_info: the ``info`` of the session concerned, if any
    :param image_class: the class of the images concerned, which may have a store of its own
    :param known: the store that is known to have the blob, if any
    :raises ContextError: no store is set in any of the ways
    :raises InvalidTypeError: what was found is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    found = find_named_store(argument, image_class, known)
    if found is not None:
        return found
    if session_info is not None and (bound := session_info.get(SESSION_STORE_KEY)) is not None:
        return _actual(_check_store(bound))
    if _default_store is not None:
        return _default_store
    raise ContextError(
        "no image store is set; pass store=…, or wrap the code in `with store_context(store):`, or bind one to the"
        ' session by Session(engine, info={"image_store": store}), or give the image class an image_store, or call'
        " set_default_store(store) once"
    )


def find_named_store(
    argument: Store | None = None, image_class: type[Any] | None = None, known: Store | None = None
) -> Store | None:
    """The same without the session and the default, which are asked last; ``None`` if it is left to these."""
    if argument is not None and argument is not current_store:
        return _actual(_check_store(argument))
    stack = _stack.get()
    if known is not None:
        # the current one may be the same place by another way, e.g. with the URLs of a CDN
        return stack[-1] if stack and are_same_place(stack[-1], known) else known
    own = None if image_class is None else own_store(image_class)
    if own is not None:
        return own
    return stack[-1] if stack else None


def find_store_of_class(
    image_class: type[Any], general: Store | None = None, session_info: Mapping[Any, Any] | None = None
) -> Store:
    """The same for an operation on many classes at once.

    :param general: the store that the operation was given, for the classes that have none of their own
    :raises ContextError: no store is set in any of the ways
    :raises InvalidTypeError: what was found is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    own = own_store(image_class)
    return find_store(general, session_info) if own is None else own


def own_store(image_class: type[Any]) -> Store | None:
    """The store that the class names by its ``image_store``; ``None`` if it names none.

    :raises InvalidTypeError: what it names is no :class:`~sqlalchemy_imageattach.store.Store`
    """
    own = getattr(image_class, "image_store", None)
    if own is not None and not isinstance(own, Store) and callable(own):
        own = own()
    return None if own is None else _actual(_check_store(own))


class LocalProxyStore(StoreWrapper):
    """A store that stands for another one, which it looks up anew for each operation.

    :param get_current_object: a function that takes nothing and returns the store meant
    :param repr_string: what :func:`repr` gives, if it is not to be that of the store meant
    """

    def __init__(self, get_current_object: Callable[[], Store], repr_string: str | None = None) -> None:
        self.get_current_object = get_current_object
        self.repr_string = repr_string

    @property
    def wrapped(self) -> Store:
        """The store meant at this moment."""
        return self.get_current_object()

    def __getattr__(self, name: str) -> Any:
        if name == "get_current_object":  # a half-made copy
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return super().__getattr__(name)

    def __eq__(self, other: object) -> bool:
        try:
            return self.get_current_object() == other
        except ContextError:
            return self is other

    def __hash__(self) -> int:
        return hash(self.get_current_object())

    def __repr__(self) -> str:
        return self.repr_string if self.repr_string is not None else repr(self.get_current_object())


#: The current store: what :func:`get_current_store` gives at the moment of each use.
current_store: Store = LocalProxyStore(get_current_store, "sqlalchemy_imageattach.context.current_store")


def get_current_context_id() -> object:
    """An identifier of the running task or, outside of asyncio, of the running thread.

    .. deprecated:: 2.0
       Contexts are kept in a :class:`~contextvars.ContextVar` and have no identifier; nothing here uses this.
    """
    warnings.warn("contexts have no identifiers any more", DeprecationWarning, stacklevel=2)
    return _context_id()


def _context_id() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else task


def __getattr__(name: str) -> object:
    if name == "context_stacks":
        warnings.warn(
            "context_stacks is a read-only view of the running context since 2.0; use get_current_store()",
            DeprecationWarning,
            stacklevel=2,
        )
        stack = _stack.get()
        return {_context_id(): list(stack)} if stack else {}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _check_store(store: object) -> Store:
    if not isinstance(store, Store):
        raise wrong_type("", store, f"a store (an instance of a subclass of {Store.__module__}.Store)")
    return store


def _actual(store: Store) -> Store:
    """The store behind a proxy: what is remembered must not change with the context."""
    while isinstance(store, LocalProxyStore):
        store = store.get_current_object()
    return store
