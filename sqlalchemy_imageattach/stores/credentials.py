"""Credentials of the stores of URLs, when one program needs several: in the environment, under a name of one's own.

``s3://archive?credentials=ARCHIVE`` takes the keys from ``ARCHIVE_AWS_ACCESS_KEY_ID`` and so on.  So the URL, which
ends up in logs and in the list of processes, has a name and no secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TypeAlias

from ..errors import InvalidValueError

__all__ = ["AZURE", "GOOGLE", "S3", "Ways", "credentials_of"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Ways: TypeAlias = tuple[tuple[Mapping[str, str], Mapping[str, str]], ...]

# Each a set of variables by the parameters that they are for; those of the first are needed, and the second's may be.
S3: Ways = (
    (
        {"access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY"},
        {"session_token": "AWS_SESSION_TOKEN"},
    ),
)
GOOGLE: Ways = (
    ({"application_credentials": "GOOGLE_APPLICATION_CREDENTIALS"}, {}),
    ({"service_account": "GOOGLE_SERVICE_ACCOUNT"}, {}),
    ({"service_account_key": "GOOGLE_SERVICE_ACCOUNT_KEY"}, {}),
)
AZURE: Ways = (
    ({"account_key": "AZURE_STORAGE_ACCOUNT_KEY"}, {}),
    ({"sas_key": "AZURE_STORAGE_SAS_TOKEN"}, {}),
    (
        {"client_id": "AZURE_CLIENT_ID", "client_secret": "AZURE_CLIENT_SECRET", "tenant_id": "AZURE_TENANT_ID"},
        {},
    ),
)


def credentials_of(scheme: str, name: str, ways: Ways) -> dict[str, str]:
    """The parameters for the first of the ways whose variables are all there, each with ``name`` and ``_`` in front.

    :raises InvalidValueError: it is no name, or the environment has none of them whole; no value is told
    """
    if not _NAME.fullmatch(name):
        msg = f"{scheme}: option credentials: expected the beginning of names in the environment, such as ARCHIVE"
        raise InvalidValueError(msg)
    for needed, optional in ways:
        if all(f"{name}_{variable}" in os.environ for variable in needed.values()):
            found = {**needed, **optional}.items()
            return {key: value for key, var in found if (value := os.environ.get(f"{name}_{var}")) is not None}
    expected = ", or ".join(" and ".join(f"{name}_{variable}" for variable in needed.values()) for needed, _ in ways)
    msg = f"{scheme}: option credentials: expected {expected} in the environment, which has none; set and export them"
    raise InvalidValueError(msg)
