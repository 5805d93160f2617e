"""Uploads that do not pass through the application, and those that outlive the form that they came with.

A browser asks the application for a :class:`Permit`, sends the file straight to the store by what that says, and comes
back with its token, which the application turns into a picture::

    uploads = Uploads(secret, S3Store("pictures"))
    set_default_uploads(uploads)

    permit = uploads.direct_upload(UserPicture, user=user.id)
    ...
    user.picture.from_upload(token, user=user.id)
    session.commit()

What is sent lies in quarantine: below a name of its own in the store, and nobody's picture.  It is looked at as every
upload is, copied to where the row says in the transaction that attaches it, and deleted after the commit.  A token is
for one picture of one class, by one user, and once; it stays good if the transaction is rolled back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .issuing import SESSION_UPLOADS_KEY, Permit, Uploads, find_uploads, set_default_uploads

if TYPE_CHECKING:
    from .endpoint import UploadEndpoint

__all__ = [
    "SESSION_UPLOADS_KEY",
    "Permit",
    "UploadEndpoint",
    "Uploads",
    "find_uploads",
    "set_default_uploads",
]


def __getattr__(name: str) -> Any:
    # the only one that needs a web library, which a program that maps pictures may never use
    if name == "UploadEndpoint":
        from .endpoint import UploadEndpoint

        return UploadEndpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
