"""Where in an application its endpoint for uploads is."""

from __future__ import annotations

from ..arguments import wrong_value
from ..uploads import Uploads

__all__ = ["path_of"]


def path_of(uploads: Uploads, path: str | None = None) -> str:
    """The path of the endpoint of ``uploads`` within the application, without a slash at its end.

    :param path: the path, if the endpoint is a whole URL, or another one as seen from outside
    :raises InvalidValueError: it is no path
    """
    found = path or uploads.endpoint
    if found is None or not found.startswith("/"):
        raise wrong_value("uploads", found, "uploads whose endpoint is a path of the application, such as '/uploads'")
    return f"/{found.strip('/')}"
