"""``python -m sqlalchemy_imageattach``: the same as the command ``imageattach``."""

from __future__ import annotations

import sys

from .errors import MissingExtraError

__all__ = ["main"]


def main() -> int:
    """Run the command line, and give its exit code."""
    try:
        from .cli import main as run
    except MissingExtraError as error:
        sys.stderr.write(f"imageattach: {error}\n")
        return 3
    return run()


if __name__ == "__main__":
    sys.exit(main())
