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

from functools import partial
from typing import Any

__all__ = [
    "BlobExistsError",
    "BlobNotFoundError",
    "ConcurrentReplacementError",
    "ContextError",
    "DatasetError",
    "DirectUploadNotSupportedError",
    "DuplicateImageError",
    "EmptyIndexError",
    "EngineUnavailableError",
    "ExpiredTokenError",
    "ImageAttachError",
    "ImageIdentityError",
    "InvalidTokenError",
    "InvalidTypeError",
    "InvalidValueError",
    "ListingNotSupportedError",
    "MissingExtraError",
    "MissingIndexError",
    "NoEndpointError",
    "NoFileError",
    "NoOriginalError",
    "OutdatedIndexError",
    "PolicyViolationError",
    "QueueClosedError",
    "RejectedImageError",
    "RemoteAddressError",
    "RemoteAnswerError",
    "RemoteError",
    "RemoteStatusError",
    "RemoteTimeoutError",
    "RemoteTooLongError",
    "StoreAccessDeniedError",
    "StoreError",
    "TemporaryFileError",
    "TooCostlyError",
    "TryAgainError",
    "UnknownHostError",
    "UnknownJobError",
    "UnknownTokenError",
    "UnknownVariantError",
    "UnreadableImageError",
    "UnsavedImageError",
    "UnsupportedLayoutError",
    "UploadError",
    "VariantConflictError",
    "VectorDimensionError",
    "VectorSearchUnavailableError",
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
    (``__notes__``), which tracebacks show and ``str()`` does not.
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


class UploadError(RejectedImageError):
    """An upload cannot be used: it has not arrived, was used already, is too old, somebody else's or for another class.

    Like others of its kind it speaks to the visitor, and its ``code`` says which of these it is.
    """

    code = "upload"


class EngineUnavailableError(ImageAttachError, RuntimeError):
    """No installed imaging engine can do what was asked; the message names the extra to install."""


# --- what others name by a URL ---------------------------------------------------------------------------------------


class RemoteError(ImageAttachError, OSError):
    """What a URL names could not be had.  Nothing has been attached and nothing of it is kept.

    Its text can be shown to a visitor: it tells nothing of names and addresses inside.  What happened is its
    ``__cause__``, for the log.

    :ivar code: what went wrong, in a word that stays the same
    :ivar params: what belongs to it, by name, such as ``status``.
    """

    code = "remote"
    _message = "the picture could not be fetched"

    def __init__(self, message: str | None = None, /, **params: object) -> None:
        super().__init__(self._message.format_map(params) if message is None else message)
        self.params = params

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), **self.params), self.args, self.__dict__


class RemoteAddressError(RemoteError):
    """The URL names nothing that may be asked, or nobody answers there; which of these, it does not tell.

    :ivar may_be_tried_again: whether it was the connection that failed; not for visitors.
    """

    code = "address"
    may_be_tried_again = False
    _message = (
        "no picture can be fetched from there: expected the http: or https: URL of a public server, without a user name"
        " and a password"
    )


class RemoteTimeoutError(RemoteError, TimeoutError):
    """The download took longer than its :class:`~sqlalchemy_imageattach.remote.FetchPolicy` allows."""

    code = "timeout"
    _message = "the picture could not be fetched in time: try again later, or upload the file itself"


class RemoteTooLongError(RemoteError):
    """There are more bytes than the ``limit`` of the :class:`~sqlalchemy_imageattach.remote.FetchPolicy`."""

    code = "too-long"
    _message = "expected a file of at most {limit} bytes at that URL, got a longer one"


class RemoteStatusError(RemoteError):
    """The server answered, but not with what the URL names: by another ``status``, and perhaps ``retry_after``."""

    code = "status"
    _message = "the server of that URL has no picture there (it answered {status})"


class RemoteAnswerError(RemoteError):
    """The answer is broken, ends in the middle, is compressed though nobody asked for it, or redirects too often."""

    code = "answer"
    _message = "the server of that URL did not answer as it should ({reason})"


# --- stores ----------------------------------------------------------------------------------------------------------


class ContextError(ImageAttachError, LookupError):
    """A store is needed, and none was passed, entered as a context, bound to the session or set as the default."""


class StoreError(ImageAttachError, OSError):
    """A store could not do what it was asked to do."""


class BlobNotFoundError(StoreError, FileNotFoundError):
    """The store has no blob under the given key."""


class ListingNotSupportedError(StoreError, NotImplementedError):
    """The store cannot tell what it has: its class does not implement ``list_blobs()``."""


class BlobExistsError(StoreError, FileExistsError):
    """The store has another blob under the given key already, and blobs with a revision are never overwritten."""


class DirectUploadNotSupportedError(StoreError, NotImplementedError):
    """Nobody but this process can write to the store, or not in the way that was asked for."""


class StoreAccessDeniedError(StoreError, PermissionError):
    """The store refuses access to the blob or to itself."""


class TemporaryFileError(ImageAttachError, OSError):
    """The temporary directory is full or cannot be written to.  Nothing is left there of what did not fit."""


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
    """A stored image was given another size, type or revision than that of its blob, or an image has no owner."""


class ConcurrentReplacementError(ImageAttachError, RuntimeError):
    """Another transaction replaced or removed the original while this one made something from it.  Try again."""


# --- datasets --------------------------------------------------------------------------------------------------------


class DatasetError(ImageAttachError, ValueError):
    """A source of pictures, or a dataset, is not as it has to be; nothing half-written is left."""


# --- finding by likeness ---------------------------------------------------------------------------------------------


class VectorDimensionError(InvalidValueError):
    """A vector has another number of dimensions than the column, or the extractor, that it is meant for."""


class EmptyIndexError(ImageAttachError, LookupError):
    """There is nothing to compare with: no picture of the class is indexed by the extractor yet."""


class OutdatedIndexError(ImageAttachError, RuntimeError):
    """Vectors of another version of the extractor are in the index; distances to them would mean nothing."""


class MissingIndexError(ImageAttachError, LookupError):
    """The class is not registered for search, or the database does not have the table of its vectors."""


class VectorSearchUnavailableError(ImageAttachError, RuntimeError):
    """The database cannot compare vectors as the column wants it; the message says what to install or to alter."""


class DuplicateImageError(RejectedImageError):
    """A picture that looks the same is stored already, and the class refuses such ones."""


class UnknownVariantError(ImageAttachError, LookupError):
    """The image class declares no variant of this name in its ``image_variants``."""


class VariantConflictError(InvalidValueError):
    """The table has room for one picture of this size (and type), and another one is there.

    Tables of 1.x do not tell two crops of one size apart, nor an original from what is made of it in its own size.
    """


# --- serving ---------------------------------------------------------------------------------------------------------


class InvalidTokenError(ImageAttachError, ValueError):
    """A token in a URL or a form was not signed here for this purpose, or was altered since."""


class ExpiredTokenError(InvalidTokenError):
    """A token was signed here, and its time is over."""


class NoEndpointError(ImageAttachError, LookupError):
    """A URL on demand is needed, and no endpoint makes pictures of that class."""


class UnknownTokenError(InvalidTokenError):
    """A token was signed here, and what it names is not known here, or not any more."""


# --- jobs ------------------------------------------------------------------------------------------------------------


class TryAgainError(ImageAttachError, RuntimeError):
    """A job failed by what may pass, which is its cause; queues try it again by their own means."""


class UnknownJobError(ImageAttachError, LookupError):
    """A job names a kind, an image class or a store that is not known where it was to be done."""


class QueueClosedError(ImageAttachError, RuntimeError):
    """A job came to a queue that takes none any more."""
