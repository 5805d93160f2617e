"""``python -m sqlalchemy_imageattach``: the same as the command ``imageattach``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line, and give its exit code."""
    try:
        import click  # noqa: F401
    except ImportError:
        sys.stderr.write(
            "imageattach: the command line needs click: pip install 'SQLAlchemy-ImageAttach[cli]'\n",
        )
        return 3
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
