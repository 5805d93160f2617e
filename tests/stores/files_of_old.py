"""A store as users wrote them for 1.x."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy_imageattach.store import Store


class OldFileStore(Store):
    """Files in a flat directory.  It knows nothing of revisions, and raises what the system raises."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def get_path(self, object_type, object_id, width, height, mimetype):
        parts = object_type.replace("/", "_"), object_id, width, height, mimetype.replace("/", "_")
        return os.path.join(self.directory, "-".join(map(str, parts)))

    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible):
        path = self.get_path(object_type, object_id, width, height, mimetype)
        try:
            with open(path + ".tmp", "wb") as target:
                shutil.copyfileobj(file, target)
            os.rename(path + ".tmp", path)
        except BaseException:
            os.unlink(path + ".tmp")
            raise

    def get_file(self, *args):
        return open(self.get_path(*args), "rb")

    def get_url(self, *args):
        return "http://old.example.com/" + os.path.basename(self.get_path(*args))

    def delete_file(self, *args):
        if os.path.exists(self.get_path(*args)):
            os.unlink(self.get_path(*args))
