"""Where a browser sends a file to by itself: what a store, or an endpoint of ours, takes it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["UploadTarget"]


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """One request by which one file is taken, for a while.

    :param url: where to
    :param method: ``"POST"`` for a form (``multipart/form-data``), ``"PUT"`` for the bare bytes
    :param fields: of the form, all of which have to stand *before* the file; empty for ``"PUT"``
    :param file_field: what the form calls the file
    :param headers: those that the request has to have
    :param limits_size: whether who takes it refuses what is longer than agreed; otherwise that is found out later
    :param limits_type: whether it refuses what is declared to be of another type than agreed; what the bytes are is
        found out later in any case

    >>> target = UploadTarget("https://pictures.example.com/", "POST", {"key": "inbox/1"})
    >>> target.to_json()["fields"]
    {'key': 'inbox/1'}
    """

    url: str
    method: str = "POST"
    fields: Mapping[str, str] = field(default_factory=dict)
    file_field: str = "file"
    headers: Mapping[str, str] = field(default_factory=dict)
    limits_size: bool = False
    limits_type: bool = False

    def to_json(self) -> dict[str, Any]:
        """What a script needs to make the request."""
        return {
            "url": self.url,
            "method": self.method,
            "fields": dict(self.fields),
            "fileField": self.file_field,
            "headers": dict(self.headers),
        }
