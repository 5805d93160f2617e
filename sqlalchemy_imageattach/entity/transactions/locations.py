"""Where blobs are, as far as one session knows.

Rows do not say which store has their blobs.  A session knows the one that is bound to it, and those that it has written
to; an image loaded by it refers to what the session knows, and so can be located when it has left it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import instance_state

from ...context import SESSION_STORE_KEY
from ...key import ImageKey
from ...store import Store

__all__ = ["Locations", "note_loaded"]

_KEY = "sqlalchemy_imageattach.locations"

#: How many blobs a session remembers the stores of: those it has written last.
REMEMBERED = 10_000


class Locations:
    """What one session knows of stores.  It outlives the session, and does not keep it alive."""

    __slots__ = ("_session_key", "_written", "bound")

    def __init__(self, session: Session) -> None:
        self._session_key = session.hash_key
        self._written: dict[ImageKey, Store] = {}
        #: The store that is bound to the session, if one is.
        self.bound: Any = None

    @classmethod
    def of(cls, session: Session) -> Locations:
        """What ``session`` knows; made when there is nothing yet."""
        info = session.info
        known: Locations | None = info.get(_KEY)
        if known is None or known._session_key != session.hash_key:  # Session(info=other.info) copies it all
            known = info[_KEY] = cls(session)
        known.bound = info.get(SESSION_STORE_KEY)
        return known

    @classmethod
    def find(cls, image: Any) -> Locations | None:
        """What the session knows that ``image`` is in, or was loaded or stored by."""
        state = instance_state(image)
        session = state.session
        if session is not None:
            return cls.of(session)
        return getattr(state, "_imageattach_locations", None)

    @classmethod
    def bound_to(cls, image: Any) -> Any:
        """The store that is bound to the session of ``image``, or to the one that it was loaded or stored by."""
        known = cls.find(image)
        if known is None or known.bound is None:  # it has come from another session to one that has no store
            known = getattr(instance_state(image), "_imageattach_locations", None)
        return None if known is None else known.bound

    def accompany(self, state: InstanceState[Any]) -> None:
        """From now on the image of ``state`` refers to this, also when it has left the session."""
        state._imageattach_locations = self  # type: ignore[attr-defined]

    @property
    def remembers_any(self) -> bool:
        """Whether the session has written anything: if not, there is no need to ask for a key."""
        return bool(self._written)

    def store_of(self, key: ImageKey) -> Store | None:
        """The store that the session has written the blob to, if it remembers."""
        return self._written.get(key)

    def remember(self, key: ImageKey, store: Store | None) -> Store | None:
        """The blob is in ``store`` from now on, or unknown; gives what was known before."""
        former = self._written.pop(key, None)
        if store is not None:
            self._written[key] = store
            if len(self._written) > REMEMBERED:
                del self._written[next(iter(self._written))]
        return former


def note_loaded(state: InstanceState[Any], context: Any) -> None:
    """Of an image that is loaded.  Called for each row: it has to be quick."""
    session: Any = state.session if context is None else context.session  # there is none when it is merged
    info = session.info
    if SESSION_STORE_KEY in info or _KEY in info:
        state._imageattach_locations = Locations.of(session)  # type: ignore[attr-defined]
