"""The version of this package, and that of the SQLAlchemy it needs."""

from __future__ import annotations

#: The version numbers, e.g. ``(2, 0, 0)``.
VERSION_INFO: tuple[int, int, int] = (2, 0, 0)

#: The version as a string, e.g. ``'2.0.0'``.
VERSION: str = "{}.{}.{}.dev0".format(*VERSION_INFO)

#: The version numbers of the oldest SQLAlchemy that works.
SQLA_COMPAT_VERSION_INFO: tuple[int, int, int] = (2, 0, 30)

#: The oldest SQLAlchemy that works, as a string.
SQLA_COMPAT_VERSION: str = ".".join(map(str, SQLA_COMPAT_VERSION_INFO))

if __name__ == "__main__":
    print(VERSION)  # noqa: T201
