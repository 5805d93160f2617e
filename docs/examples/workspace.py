"""What the pages of the guide find when they run: some pictures in the working directory, a database and a store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from models import Base, Post, User
from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.stores.memory import MemoryStore

PICTURES = {"portrait.jpg": (1200, 1600), "holiday.jpg": (1600, 1200), "new.jpg": (1200, 1600), "logo.png": (400, 400)}
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><circle cx="60" cy="40" r="30"/></svg>'


class Workspace:
    """A directory of its own for each page; the working directory is there until :meth:`close`."""

    def __init__(self) -> None:
        self._former = Path.cwd()
        self._directory = tempfile.TemporaryDirectory(prefix="imageattach-guide-")
        os.chdir(self._directory.name)
        for name, size in PICTURES.items():
            draw(name, size)
        Path("drawing.svg").write_text(DRAWING, encoding="utf-8")
        self.statements: list[str] = []
        # a file, since a database in memory has one connection, which threads of queues cannot share
        self._database = tempfile.TemporaryDirectory(prefix="imageattach-guide-")
        self.engine = create_engine(f"sqlite:///{self._database.name}/guide.sqlite")
        event.listen(self.engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode = WAL"))
        event.listen(self.engine, "before_cursor_execute", lambda *args: self.statements.append(args[2]))
        Base.metadata.create_all(self.engine)
        self.store = MemoryStore("https://images.example.com/")
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, info={SESSION_STORE_KEY: self.store})
        with self.sessions() as session:
            session.add_all([User(id=1, name="Ada"), User(id=2, name="Grace"), Post(id=1)])
            session.commit()

    def close(self) -> None:
        """Afterwards the working directory is the former one, and nothing is left."""
        self.engine.dispose()
        os.chdir(self._former)
        self._directory.cleanup()
        self._database.cleanup()


def draw(name: str, size: tuple[int, int]) -> None:
    """A picture whose size and colours can be told apart from others."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="orange")
    image.save(name)
