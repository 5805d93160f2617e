"""A piece of work as a value, which can wait in any queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from sqlalchemy import inspect

from ..arguments import shown, wrong_type, wrong_value
from .keys import KeyValue, encode_key

__all__ = ["Job", "name_of_class"]


def name_of_class(cls: type[Any]) -> str:
    """What jobs call a class: ``"module:qualified name"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, and to which picture.  It is a value, and consists of what JSON can say.

    The picture is named by the row of its original *and* by the revision of its blob.  So a job that is done twice, too
    early or too late finds another revision, or none, and ends without having touched anything.

        >>> job = Job("variants", "shop.models:ProductPhoto", (7, 800, 600, "image/jpeg"), "Xk3v9QpLm2w")
        >>> Job.from_json(job.to_json()) == job
        True

    :param kind: the name of its handler (see :func:`~sqlalchemy_imageattach.jobs.handles`)
    :param image_class: the class of the image as ``"module:qualified name"``; empty if it concerns no image
    :param identity: the primary key of the image, as :func:`~sqlalchemy_imageattach.jobs.encode_key` gives it
    :param revision: the revision that the image has
    :param params: whatever else the handler needs; a copy is kept
    :raises InvalidTypeError: a value is of another type, or of one that JSON has not
    """

    kind: str
    image_class: str = ""
    identity: tuple[KeyValue, ...] = ()
    revision: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("kind", "image_class"):
            if not isinstance(value := getattr(self, name), str):
                raise wrong_type(name, value, "str")
        if self.revision is not None and not isinstance(self.revision, str):
            raise wrong_type("revision", self.revision, "str or None")
        if not isinstance(self.params, Mapping):
            raise wrong_type("params", self.params, "a mapping of names to what JSON can say")
        try:
            params = json.loads(json.dumps(dict(self.params), allow_nan=False))
            identity = json.loads(json.dumps(list(self.identity), allow_nan=False))
        except (TypeError, ValueError) as error:
            msg = f"a job consists of what JSON can say: {error}"
            raise wrong_type("job", self.params, msg, got=shown((self.identity, self.params))) from None
        object.__setattr__(self, "params", MappingProxyType(params))
        object.__setattr__(self, "identity", tuple(tuple(v) if isinstance(v, list) else v for v in identity))

    @classmethod
    def of(cls, kind: str, image: Any, **params: Any) -> Self:
        """The job to do ``kind`` with the picture of which ``image`` is the original.

        :param image: an image that has been flushed: its row has its primary key and its revision
        :raises InvalidValueError: it has not
        """
        state = inspect(image)
        if state.identity is None:
            raise wrong_value("image", image, "one that has been flushed", "flush its session first")
        identity = tuple(encode_key(value) for value in state.identity)
        return cls(kind, name_of_class(type(image)), identity, getattr(image, "revision", None), params)

    def to_json(self) -> dict[str, Any]:
        """What JSON can say, to be put into a message."""
        return {
            "kind": self.kind,
            "image_class": self.image_class,
            "identity": [list(value) if isinstance(value, tuple) else value for value in self.identity],
            "revision": self.revision,
            "params": dict(self.params),
        }

    @classmethod
    def from_json(cls, message: object) -> Self:
        """The job of which ``message`` is the :meth:`to_json`.

        :raises InvalidValueError: it is none; names that are not known, as those of a later version, are refused too
        :raises InvalidTypeError: a part of it is of the wrong type
        """
        names = {"kind", "image_class", "identity", "revision", "params"}
        if not isinstance(message, Mapping) or "kind" not in message or not message.keys() <= names:
            raise wrong_value("job", message, f"a mapping with the names {', '.join(sorted(names))}")
        values = dict(message)
        if not isinstance(identity := values.get("identity", ()), list | tuple):
            raise wrong_type("identity", identity, "a list")
        return cls(**{**values, "identity": tuple(identity)})

    def __str__(self) -> str:
        picture = f" of {self.image_class} {list(self.identity)}, revision {self.revision}" if self.image_class else ""
        params = f" {dict(self.params)}" if self.params else ""
        return f"job {self.kind!r}{picture}{params}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_json, (self.to_json(),)
