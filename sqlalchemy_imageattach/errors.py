"""Every error that this package raises on purpose.

All of them derive from :exc:`ImageAttachError`, and each is also the builtin that a caller who has never heard of this
package would catch: a missing blob is an :exc:`OSError`, a wrong value a :exc:`ValueError`, a wrong type
a :exc:`TypeError`.  A message says what was expected, what came, and what to do about it::

    try:
        user.picture.from_file(upload)
    except RejectedImageError as error:
        return {"error": error.code, "message": str(error)} | error.params, 422
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BlobExistsError",
    "BlobNotFoundError",
    "ConcurrentReplacementError",
    "ContextError",
    "EngineUnavailableError",
    "ImageAttachError",
    "ImageIdentityError",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingExtraError",
    "NoFileError",
    "NoOriginalError",
    "PolicyViolationError",
    "RejectedImageError",
    "StoreAccessDeniedError",
    "StoreError",
    "TooCostlyError",
    "UnknownHostError",
    "UnreadableImageError",
    "UnsavedImageError",
    "UnsupportedLayoutError",
]


class ImageAttachError(Exception):
    """The base of all errors of this package."""


# --- arguments -------------------------------------------------------------------------------------------------------


class InvalidValueError(ImageAttachError, ValueError):
    """An argument has the right type but a value that cannot be used, e.g. ``width=0`` or ``ratio=nan``."""


class InvalidTypeError(ImageAttachError, TypeError):
    """An argument has a type that cannot be used, e.g. a file opened in text mode or a store that is no store."""


# --- installation ----------------------------------------------------------------------------------------------------


class MissingExtraError(ImageAttachError, ImportError):
    """A library is needed that is not installed; the message names the extra of this package that brings it."""


# --- images ----------------------------------------------------------------------------------------------------------


class RejectedImageError(ImageAttachError, ValueError):
    """The bytes given are not accepted as an image.  Nothing has been attached and nothing has been written.

    Catch this one around uploads: it covers unreadable files and policy violations alike.  Its message speaks to the
    visitor who sent the file, in English; an application that speaks another language says it itself, by
    :attr:`code` and :attr:`params`.  What the programmer could do about it is a note of the exception
    (:attr:`__notes__`), which tracebacks show and ``str()`` does not.
    """

    #: What kind of refusal it is: one of the words in the table of the guide's page about security.  They stay.
    code: str = "rejected"

    def __init__(self, message: object = "", /, *, code: str | None = None, advice: str = "", **params: Any) -> None:
        """Say it to the visitor; ``advice`` is for the programmer, and ``params`` are the values in the message.

        >>> error = RejectedImageError("expected at most 5 bytes, got 6", code="too_many_bytes", limit=5, found=6)
        >>> error.code, error.params
        ('too_many_bytes', {'limit': 5, 'found': 6})
        """
        super().__init__(message)
        if code is not None:
            self.code = code
        #: The values in the message, by the names in that table.
        self.params: dict[str, Any] = params
        if advice:
            self.add_note(advice)


class UnreadableImageError(RejectedImageError):
    """The bytes are empty, truncated, damaged, or of no image type known here."""

    code = "unreadable"


class UnsupportedLayoutError(UnreadableImageError):
    """The file may be intact, but it is of a rare kind that no imaging engine installed reads."""

    code = "unsupported"


class PolicyViolationError(RejectedImageError):
    """The image can be read, but its :class:`~sqlalchemy_imageattach.imaging.ImagePolicy` refuses it.

    It has too many bytes, pixels or frames, too short or too unequal sides, or a type that the policy does not allow.
    """

    code = "refused"


class TooCostlyError(RejectedImageError):
    """Looking at the image, or decoding it, would take more time or memory than it may.

    What looked at it stopped, and what decoded it has been ended; nothing else has been harmed.
    """

    code = "too_costly"


class EngineUnavailableError(ImageAttachError, RuntimeError):
    """No installed imaging engine can do what was asked; the message names the extra to install."""


# --- stores ----------------------------------------------------------------------------------------------------------


class ContextError(ImageAttachError, LookupError):
    """A store is needed, and none was passed, entered as a context, bound to the session or set as the default."""


class StoreError(ImageAttachError, OSError):
    """A store could not do what it was asked to do."""


class BlobNotFoundError(StoreError, FileNotFoundError):
    """The store has no blob under the given key."""


class BlobExistsError(StoreError, FileExistsError):
    """The store has another blob under the given key already, and blobs with a revision are never overwritten."""


class StoreAccessDeniedError(StoreError, PermissionError):
    """The store refuses access to the blob or to itself."""


class UnknownHostError(ImageAttachError, RuntimeError):
    """A URL is needed, and neither the store's options nor a running request tell which host serves it."""


# --- entities --------------------------------------------------------------------------------------------------------


class NoOriginalError(ImageAttachError, OSError):
    """The image set has no original image, and the operation needs one."""


class NoFileError(ImageAttachError, ValueError):
    """An image row was about to be stored, but no file was attached to it: it would have named a blob that is not."""


class UnsavedImageError(ImageAttachError, ValueError):
    """The image has no blob in any store yet: flush or commit its session first."""


class ImageIdentityError(ImageAttachError, ValueError):
    """A stored image was given another size, type or revision than that of its blob."""


class ConcurrentReplacementError(ImageAttachError, RuntimeError):
    """Another transaction replaced or removed the original while this one made something from it.  Try again."""
