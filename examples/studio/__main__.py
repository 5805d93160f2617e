"""Start SeaweedFS and the studio beside it; ``scripts/studio --help`` tells the options."""

from __future__ import annotations

import argparse
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.serving.signing import Signer
from sqlalchemy_imageattach.uploads import SESSION_UPLOADS_KEY, Uploads

from .bucket import allow_pages, bucket
from .models import Base
from .site import Studio, make_site

_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run until it is told to end."""
    options = _options()
    directory: Path = options.directory
    with bucket(directory / "bucket") as store, socket.socket() as listening:
        listening.bind(("127.0.0.1", options.port))
        listening.listen()  # whoever is told of it can come, and waits
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        allow_pages(store, [origin])
        secret = _secret(directory / "secret")
        uploads = Uploads(secret, store)
        engine = create_engine(f"sqlite:///{directory / 'studio.sqlite'}")
        Base.metadata.create_all(engine)
        sessions = sessionmaker(engine, info={SESSION_STORE_KEY: store, SESSION_UPLOADS_KEY: uploads})
        logins = Signer(secret, purpose="login")
        site = make_site(
            Studio(sessions, uploads, logins, store.client.meta.endpoint_url, not options.no_script), secret
        )
        sys.stdout.write(f"The studio is {origin}/   (Ctrl-C ends it)\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):  # being told to end is no failure
            uvicorn.Server(uvicorn.Config(site, log_level="warning")).run(sockets=[listening])
        engine.dispose()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/studio", description="Photographs straight to a bucket.")
    parser.add_argument("--port", type=int, default=0, help="where to serve the pages; a free one by default")
    parser.add_argument("--no-script", action="store_true", help="serve pages without the script")
    parser.add_argument(
        "--directory",
        type=lambda name: Path(name).absolute(),
        default=_ROOT / "var" / "studio",
        help="where to keep database and bucket; var/studio by default",
    )
    return parser.parse_args()


def _secret(path: Path) -> str:
    """One that stays the same, so that tokens outlive a restart."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


if __name__ == "__main__":
    sys.exit(main())
