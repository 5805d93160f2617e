"""Looking at an image without decoding it."""

from __future__ import annotations

from typing import BinaryIO

from ..arguments import wrong_type
from . import isolation
from .info import ImageInfo
from .looking import look, type_of
from .policy import ImagePolicy
from .reader import Guarded, Reader, rewound

__all__ = ["check_policy", "identify", "probe"]

_DEFAULT = ImagePolicy()


def probe(source: BinaryIO, policy: ImagePolicy = _DEFAULT) -> ImageInfo:
    """What the image is, and that the policy accepts it; the source is left where it stood.

    Only headers are read, and what tells a whole file from one that is cut off; no pixel is decoded unless the policy
    says ``verify="decode"``.  Memory does not grow with the file (but a PDF is read as a whole).

    :param source: a binary file that can seek, looked at from its start to its end
    :param policy: what is accepted
    :raises UnreadableImageError: the source is empty, cut off, damaged, or of no type known here
    :raises PolicyViolationError: it has too many bytes, pixels or frames, is too small or too thin, or of a type that
        the policy does not allow
    :raises TooCostlyError: decoding it would take too long: it is a JPEG of too many scans
    :raises EngineUnavailableError: ``verify="decode"``, and no engine installed reads the type
    :raises InvalidTypeError: the source is no binary file that can seek
    :raises InvalidValueError: the source is closed
    :raises OSError: the source itself cannot be read; its error passes as it is

    >>> import io
    >>> probe(io.BytesIO(b"Dear Sir or Madam"))
    Traceback (most recent call last):
      ...
    sqlalchemy_imageattach.errors.UnreadableImageError: expected an image, got bytes of no known image type; ...
    """
    check_policy(policy)
    with rewound(source):
        reader = Reader(source, policy.check_pixels)
        policy.check_bytes(reader.size)
        mimetype = type_of(reader, policy.allowed_types)
        policy.check_type(mimetype)
        info = look(reader, mimetype)
        policy.check_sides(info.width, info.height)
        policy.check_cost(info)
        if policy.verify == "decode":
            isolation.verify(Guarded(source), info, policy)
    return info


def identify(source: BinaryIO) -> ImageInfo:
    """What the image is, whether or not a policy accepts it: for what is stored already.  Otherwise like :func:`probe`.

    :raises UnreadableImageError: the source is empty, cut off, damaged, or of no type known here
    :raises OSError: the source itself cannot be read; its error passes as it is
    """
    with rewound(source):
        reader = Reader(source)
        return look(reader, type_of(reader))


def check_policy(policy: object) -> None:
    """Accept a policy.

    :raises InvalidTypeError: it is none
    """
    if not isinstance(policy, ImagePolicy):
        raise wrong_type("policy", policy, "an ImagePolicy")
