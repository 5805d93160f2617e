"""Stores that are broken one method at a time, by the rule that they break."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from sqlalchemy_imageattach.blobpart import BlobPart, BlobStat
from sqlalchemy_imageattach.errors import BlobExistsError, BlobNotFoundError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.testing import Capabilities
from sqlalchemy_imageattach.uploadtarget import UploadTarget
from tests.onex import FourMethodStore

__all__ = ["BREAKS"]

# typed as Any, so that what breaks it need not be typed rightly
Sound: Any = MemoryStore

BREAKS: list[tuple[str, type[Store], Capabilities]] = []


def breaks(rule: str, **said: Any) -> Callable[[type[Store]], type[Store]]:
    """The class breaks ``rule``, which shows if the store is said to be so."""

    def note(cls: type[Store]) -> type[Store]:
        BREAKS.append((rule, cls, Capabilities(**said)))
        return cls

    return note


def key_of_parts(parts: Any, revision: Any) -> ImageKey:
    object_type, object_id, width, height, mimetype = parts[:5]
    return ImageKey(object_type, object_id, width, height, mimetype, revision)


class Busy:
    """Cannot be used by two threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            msg = "two threads at once"
            raise RuntimeError(msg)
        time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


# --- put_file --------------------------------------------------------------------------------------------------------


@breaks("put_file: stores a blob")
class PutsNothing(Sound):
    def put_file(self, file, *args, **kwargs):
        file.read()


@breaks("put_file: stores a blob")
class PutsNothingOfOld(FourMethodStore):
    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible):
        file.read()


@breaks("put_file: stores a blob")
class CannotPut(Sound):
    def put_file(self, file, *args, **kwargs):
        return self.put_fiel(file, *args, **kwargs)


@breaks("put_file: stores a blob without any bytes")
class PutsNoEmptyBlobs(Sound):
    def put_file(self, file, *args, **kwargs):
        if content := file.read():
            super().put_file(io.BytesIO(content), *args, **kwargs)


@breaks("put_file: stores a large blob whole")
class PutsTheFirstPartAlone(Sound):
    def put_file(self, file, *args, **kwargs):
        super().put_file(io.BytesIO(file.read()[:350_000]), *args, **kwargs)


@breaks("put_file: stores blobs that can be made again")
class PutsNoThumbnails(Sound):
    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible, **kwargs):
        if not reproducible:
            super().put_file(file, object_type, object_id, width, height, mimetype, reproducible, **kwargs)


@breaks("put_file: reads the file from its current position")
class Rewinds(Sound):
    def put_file(self, file, *args, **kwargs):
        if hasattr(file, "seek"):
            file.seek(0)
        super().put_file(file, *args, **kwargs)


@breaks("put_file: leaves the file open")
class ClosesTheFile(Sound):
    def put_file(self, file, *args, **kwargs):
        super().put_file(file, *args, **kwargs)
        if hasattr(file, "close"):
            file.close()


@breaks("put_file: reads files that have no more than read(), and give less than they are asked for")
class ReadsOnce(Sound):
    def put_file(self, file, *args, **kwargs):
        super().put_file(io.BytesIO(file.read(1 << 30)), *args, **kwargs)


@breaks("put_file: reads files that have no more than read(), and give less than they are asked for")
class AsksForTheLength(Sound):
    def put_file(self, file, *args, **kwargs):
        file.tell()
        super().put_file(file, *args, **kwargs)


@breaks("put_file: raises the error of a file that fails")
class SwallowsErrors(Sound):
    def put_file(self, file, *args, **kwargs):
        try:
            content = file.read()
        except Exception:
            return
        super().put_file(io.BytesIO(content), *args, **kwargs)


@breaks("put_file: raises the error of a file that fails")
class RaisesAnotherError(Sound):
    def put_file(self, file, *args, **kwargs):
        failed = False
        try:
            content = file.read()
        except Exception:
            failed = True
        if failed:
            raise OSError
        super().put_file(io.BytesIO(content), *args, **kwargs)


@breaks("put_file: stores nothing when the file fails")
class PutsHalves(Sound):
    def put_file(self, file, *args, **kwargs):
        content = bytearray()
        try:
            while part := file.read(1000):
                content += part
        finally:
            super().put_file(io.BytesIO(content), *args, **kwargs)


@breaks("put_file: stores nothing when the file fails")
class PutsLongHalves(Sound):
    def put_file(self, file, *args, **kwargs):
        content = bytearray()
        try:
            while part := file.read(1000):
                content += part
        except BaseException:
            if len(content) > 100_000:
                super().put_file(io.BytesIO(content), *args, **kwargs)
            raise
        super().put_file(io.BytesIO(content), *args, **kwargs)


@breaks("put_file: stores nothing when the file fails")
class LeavesRemains(Sound):
    def put_file(self, file, object_type, object_id, width, *args, **kwargs):
        try:
            super().put_file(file, object_type, object_id, width, *args, **kwargs)
        except Exception as error:
            if not isinstance(error, BlobExistsError):
                super().put_file(io.BytesIO(b"remains"), object_type, object_id, width + 1, *args, **kwargs)
            raise


@breaks("put_file: leaves the former blob as it was when a replacement fails")
class DeletesBeforeItReplaces(Sound):
    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible, *, revision=None):
        if revision is None:
            self.delete_file(object_type, object_id, width, height, mimetype)
        super().put_file(file, object_type, object_id, width, height, mimetype, reproducible, revision=revision)


@breaks("put_file: leaves the former blob as it was when a replacement fails")
class DeletesBeforeItReplacesOfOld(FourMethodStore):
    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible):
        self.delete_file(object_type, object_id, width, height, mimetype)
        super().put_file(file, object_type, object_id, width, height, mimetype, reproducible)


@breaks("put_file: replaces the former blob if there is no revision")
class ReplacesNothing(Sound):
    def put_file(self, file, *args, revision=None):
        if key_of_parts(args, revision) not in self:
            super().put_file(file, *args, revision=revision)


@breaks("put_file: keeps two revisions side by side")
class ForgetsTheRevision(Sound):
    def put_file(self, file, *args, revision=None):
        super().put_file(file, *args)

    def get_file(self, *args, revision=None):
        return super().get_file(*args)

    def delete_file(self, *args, revision=None):
        return super().delete_file(*args)


@breaks("put_file: keeps blobs of different owners, types and sizes apart")
class ForgetsTheType(Sound):
    def put_file(self, file, *args, revision=None):
        super().put_file(file, *args[:4], "image/jpeg", args[5], revision=revision)

    def get_file(self, *args, revision=None):
        return super().get_file(*args[:4], "image/jpeg", revision=revision)

    def delete_file(self, *args, revision=None):
        return super().delete_file(*args[:4], "image/jpeg", revision=revision)


@breaks("put_file: keeps blobs of different owners, types and sizes apart")
class KnowsSmallIdentifiersOnly(Sound):
    def put_file(self, file, object_type, object_id, *args, **kwargs):
        super().put_file(file, object_type, object_id % 2**32, *args, **kwargs)

    def get_file(self, object_type, object_id, *args, **kwargs):
        return super().get_file(object_type, object_id % 2**32, *args, **kwargs)

    def delete_file(self, object_type, object_id, *args, **kwargs):
        return super().delete_file(object_type, object_id % 2**32, *args, **kwargs)


@breaks("put_file: never overwrites a blob that has a revision", never_overwrites=True)
class Overwrites(Sound):
    def put_file(self, file, *args, revision=None):
        content = file.read()
        self.delete_file(*args[:5], revision=revision)
        super().put_file(io.BytesIO(content), *args, revision=revision)


@breaks("put_file: never overwrites a blob that has a revision")
class RefusesByAnotherError(Sound):
    def put_file(self, file, *args, **kwargs):
        try:
            super().put_file(file, *args, **kwargs)
        except BlobExistsError as error:
            raise RuntimeError from error


@breaks("put_file: never overwrites a blob that has a revision")
class OverwritesAndRefuses(Sound):
    def put_file(self, file, *args, revision=None):
        content = file.read()
        existed = key_of_parts(args, revision) in self
        self.delete_file(*args[:5], revision=revision)
        super().put_file(io.BytesIO(content), *args, revision=revision)
        if existed and revision is not None:
            raise BlobExistsError


@breaks("put_file: stores a blob anew that was deleted")
class KeepsTombstones(Sound):
    def put_file(self, file, *args, revision=None):
        key = key_of_parts(args, revision)
        if key in self.__dict__.setdefault("buried", set()):
            return
        super().put_file(file, *args, revision=revision)
        self.buried.add(key)


@breaks("put_file: shows a blob to nobody before it is whole")
class ShowsHalves(Sound):
    def put_file(self, file, *args, revision=None):
        key = key_of_parts(args, revision)
        if revision is not None and key in self:
            raise BlobExistsError
        content = b""
        try:
            while part := file.read(100_003):
                content += part
                self.delete_file(*args[:5], revision=revision)
                super().put_file(io.BytesIO(content), *args, revision=revision)
        except BaseException:
            self.delete_file(*args[:5], revision=revision)
            raise


@breaks("put_file: lets one win of many who store the same blob")
class LooksFirst(Sound):
    def put_file(self, file, *args, revision=None):
        key = key_of_parts(args, revision)
        if revision is not None and key in self:
            raise BlobExistsError
        content = file.read()
        time.sleep(0.05)
        with self._lock:
            self._blobs[key] = content
            self._modified[key] = datetime.now().astimezone()


@breaks("put_file: can be called by many threads at once")
class PutsOneAtATime(Sound):
    def put_file(self, file, *args, **kwargs):
        with self.__dict__.setdefault("busy", Busy()):
            super().put_file(file, *args, **kwargs)


@breaks("put_file: replaces a blob at once: others see the former, the new one, or, on their way, an error")
class ReplacesInTwoSteps(Sound):
    def put_file(self, file, *args, revision=None):
        content = file.read()
        if revision is None:
            self.delete_file(*args[:5])
            time.sleep(0.01)
        super().put_file(io.BytesIO(content), *args, revision=revision)


# --- get_file --------------------------------------------------------------------------------------------------------


@breaks("get_file: says by an OSError that there is no such blob")
class RaisesKeyErrors(Sound):
    def get_file(self, *args, **kwargs):
        try:
            return super().get_file(*args, **kwargs)
        except BlobNotFoundError:
            raise KeyError from None


@breaks("get_file: says by an OSError that there is no such blob")
class GivesEmptyFiles(FourMethodStore):
    def get_file(self, object_type, object_id, width, height, mimetype):
        return io.BytesIO(self.blobs.get(ImageKey(object_type, object_id, width, height, mimetype), b""))


@breaks("get_file: gives what was stored")
class GivesTheBeginning(Sound):
    def get_file(self, *args, **kwargs):
        return io.BytesIO(super().get_file(*args, **kwargs).read()[:5])


@breaks("get_file: gives what was stored")
class GivesSomethingElseTheSecondTime(FourMethodStore):
    def get_file(self, *args):
        file = super().get_file(*args)
        self.turn = not self.__dict__.get("turn", False)
        return file if self.turn else io.BytesIO(file.read()[::-1])


@breaks("get_file: gives what was stored")
class CannotGet(Sound):
    def get_file(self, *args, **kwargs):
        super().get_file(*args, **kwargs)
        return self.get_fiel()


@breaks("get_file: gives what was stored")
class GivesTextInPlaceOfBytes(Sound):
    def get_file(self, *args, **kwargs):
        return io.StringIO(super().get_file(*args, **kwargs).read().decode("latin-1"))


@breaks("get_file: gives a file that can be read in pieces of any size")
class GivesMoreThanAsked(Sound):
    class File(io.BytesIO):
        def read(self, size=-1):
            return super().read(size * 2 if size and size > 0 else size)

    def get_file(self, *args, **kwargs):
        return self.File(super().get_file(*args, **kwargs).read())


@breaks("get_file: gives a file that can be read in pieces of any size")
class GivesTheStartAgainAndAgain(Sound):
    class File(io.BytesIO):
        def read(self, size=-1):
            if size and 1000 < size < 100_000:
                self.seek(min(self.tell() + 1, len(self.getvalue())))
            return super().read(size)

    def get_file(self, *args, **kwargs):
        return self.File(super().get_file(*args, **kwargs).read())


@breaks("get_file: gives a file that can be read by lines")
class StripsLines(Sound):
    class File(io.BytesIO):
        def readline(self, size=-1):
            return super().readline(size).rstrip(b"\n")

    def get_file(self, *args, **kwargs):
        return self.File(super().get_file(*args, **kwargs).read())


@breaks("get_file: gives a file that can be positioned if use_seek asks for it")
class OnlyRewinds(Sound):
    class File(io.BytesIO):
        def seek(self, offset, whence=0):
            return super().seek(0)

    def get_file(self, *args, **kwargs):
        return self.File(super().get_file(*args, **kwargs).read())


@breaks("get_file: gives a file that is closed after its with block")
class StaysOpen(Sound):
    class File(io.BytesIO):
        def __exit__(self, *_):
            pass

    def get_file(self, *args, **kwargs):
        return self.File(super().get_file(*args, **kwargs).read())


@breaks("get_file: gives each reader a file of its own")
class SharesFiles(Sound):
    def get_file(self, *args, **kwargs):
        files = self.__dict__.setdefault("files", {})
        key = (args, *kwargs.values())
        fresh = super().get_file(*args, **kwargs)
        if key not in files or files[key].closed:
            files[key] = fresh
        return files[key]


@breaks("get_file: gives a file by which the blob cannot be changed")
class WritesThrough(Sound):
    class File(io.BytesIO):
        save: Any = None

        def __exit__(self, *_):
            self.save(self.getvalue())
            self.close()

    def get_file(self, *args, revision=None):
        file = self.File(super().get_file(*args, revision=revision).read())
        file.save = lambda content: self._blobs.__setitem__(key_of_parts(args, revision), content)
        return file


class LazyFile(io.RawIOBase):
    """Looks at what the store has when it is read."""

    def __init__(self, blobs: dict[ImageKey, bytes], key: ImageKey) -> None:
        self._blobs, self._key, self._position = blobs, key, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._blobs.get(self._key, b"")[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


@breaks("get_file: gives a file that ends whole, or by an error, when the blob is deleted meanwhile")
@breaks("get_file: gives a file that ends whole, or by an error, when the blob is replaced meanwhile")
class ReadsLazily(Sound):
    def get_file(self, *args, revision=None):
        super().get_file(*args, revision=revision)
        return LazyFile(self._blobs, key_of_parts(args, revision))


@breaks("get_file: can be called by many threads at once")
class GetsOneAtATime(Sound):
    def get_file(self, *args, **kwargs):
        with self.__dict__.setdefault("busy", Busy()):
            return super().get_file(*args, **kwargs)


# --- get_url ---------------------------------------------------------------------------------------------------------


@breaks("get_url: gives a URL whether or not there is a blob")
class LooksWhetherThereIsABlob(Sound):
    def get_url(self, *args, **kwargs):
        self.get_file(*args, **kwargs)
        return super().get_url(*args, **kwargs)


@breaks("get_url: gives a URL that can stand in a page as it is")
class QuotesNothing(Sound):
    def get_url(self, *args, **kwargs):
        return super().get_url(*args, **kwargs) + " (a picture)"


@breaks("get_url: gives a URL that can stand in a page as it is")
class GivesNoUrl(Sound):
    def get_url(self, *args, **kwargs):
        return None


@breaks("get_url: gives different blobs different URLs")
class GivesUrlsWithoutRevision(Sound):
    def get_url(self, *args, revision=None):
        return super().get_url(*args)


@breaks("get_url: gives different blobs different URLs")
class GivesUrlsWithoutSize(FourMethodStore):
    def get_url(self, object_type, object_id, width, height, mimetype):
        return f"http://old.example.com/{object_type}/{object_id}"


@breaks("get_url: gives a blob the same URL each time")
class GivesNewUrls(Sound):
    def get_url(self, *args, **kwargs):
        return f"{super().get_url(*args, **kwargs)}/{time.perf_counter_ns()}"


@breaks("get_url: gives a URL from which the blob can be fetched", fetchable=True)
class ServesNothing(Sound):
    pass


# --- delete_file -----------------------------------------------------------------------------------------------------


@breaks("delete_file: deletes a blob")
class DeletesNothing(Sound):
    def delete_file(self, *args, **kwargs):
        return None


@breaks("delete_file: deletes a blob")
class CannotDelete(Sound):
    def delete_file(self, *args, **kwargs):
        raise RuntimeError


@breaks("delete_file: deletes a blob")
class DeletesNothingOfOld(FourMethodStore):
    def delete_file(self, object_type, object_id, width, height, mimetype):
        pass


@breaks("delete_file: finds nothing wrong with a blob that is not there")
class MissesTheMissing(Sound):
    def delete_file(self, *args, **kwargs):
        if not super().delete_file(*args, **kwargs):
            raise BlobNotFoundError
        return True


@breaks("delete_file: leaves all other blobs alone")
class DeletesAllSizes(Sound):
    def delete_file(self, object_type, object_id, *args, revision=None):
        with self._lock:
            for key in [each for each in self._blobs if (each.object_type, each.object_id) == (object_type, object_id)]:
                del self._blobs[key]


@breaks("delete_file: leaves all other blobs alone")
class DeletesAllRevisions(Sound):
    def delete_file(self, *args, revision=None):
        with self._lock:
            for key in [each for each in self._blobs if replace(each, revision=None) == ImageKey(*args)]:
                del self._blobs[key]


@breaks("delete_file: tells whether there was a blob, or None if it does not know")
class AlwaysSaysYes(Sound):
    def delete_file(self, *args, **kwargs):
        super().delete_file(*args, **kwargs)
        return True


@breaks("delete_file: tells whether there was a blob, or None if it does not know")
class AlwaysSaysNo(Sound):
    def delete_file(self, *args, **kwargs):
        super().delete_file(*args, **kwargs)
        return False


@breaks("delete_file: tells whether there was a blob, or None if it does not know", tells_deletions=True)
class NeverTells(Sound):
    def delete_file(self, *args, **kwargs):
        super().delete_file(*args, **kwargs)


@breaks("delete_file: can be called by many at once for the same blob")
class DeletesOneAtATime(Sound):
    def delete_file(self, *args, **kwargs):
        if key_of_parts(args, kwargs.get("revision")) in self:
            time.sleep(0.05)
            if not super().delete_file(*args, **kwargs):
                raise RuntimeError
            return True
        return False


@breaks("delete_file: can be called by many at once for the same blob", tells_deletions=True)
class SaysYesToMany(Sound):
    def delete_file(self, *args, revision=None):
        existed = key_of_parts(args, revision) in self
        time.sleep(0.05 if existed else 0)
        super().delete_file(*args, revision=revision)
        return existed


@breaks("has_key: tells by has_key() whether there is a blob")
class HasEverything(Sound):
    def has_key(self, key):
        return True


@breaks("has_key: tells by has_key() whether there is a blob")
class CannotTell(Sound):
    def has_key(self, key):
        raise RuntimeError


@breaks("is_same_place: knows the stores in which it keeps its blobs, and others that stand for them")
class StandsForAnother(Sound):
    def __init__(self):
        super().__init__()
        self.behind = MemoryStore()

    def put_file(self, file, *args, **kwargs):
        content = file.read()
        super().put_file(io.BytesIO(content), *args, **kwargs)
        self.behind.put_file(io.BytesIO(content), *args, **kwargs)

    def delete_file(self, *args, **kwargs):
        self.behind.delete_file(*args, **kwargs)
        return super().delete_file(*args, **kwargs)


# --- list_blobs ------------------------------------------------------------------------------------------------------


@breaks("list_blobs: lists what is in the store")
class ListsNothing(Sound):
    def list_blobs(self, prefix=""):
        return iter(())


@breaks("list_blobs: lists what is in the store")
class ListsTwice(Sound):
    def list_blobs(self, prefix=""):
        yield from super().list_blobs(prefix)
        yield from super().list_blobs(prefix)


@breaks("list_blobs: lists what is in the store")
class ListsNames(Sound):
    def list_blobs(self, prefix=""):
        return (blob.name for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsNoKeys(Sound):
    def list_blobs(self, prefix=""):
        return (replace(blob, key=None) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsNoSizes(Sound):
    def list_blobs(self, prefix=""):
        return (replace(blob, byte_size=0) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsTimesWithoutZone(Sound):
    def list_blobs(self, prefix=""):
        return (replace(blob, modified_at=datetime.now()) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsOldTimes(Sound):
    def list_blobs(self, prefix=""):
        old = datetime(1970, 1, 1).astimezone()
        return (replace(blob, modified_at=old) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsAllAsTemporary(Sound):
    def list_blobs(self, prefix=""):
        return (replace(blob, is_temporary=True) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store")
class ListsAllByOneName(Sound):
    def list_blobs(self, prefix=""):
        return (replace(blob, name=prefix) for blob in super().list_blobs(prefix))


@breaks("list_blobs: lists what is in the store", lists=True)
class CannotListAsSaid(FourMethodStore):
    pass


@breaks("list_blobs: lists what is in the store")
class CannotList(Sound):
    def list_blobs(self, prefix=""):
        return self.list_blosb()


@breaks("list_blobs: lists only what has a name that starts with the prefix")
class ForgetsThePrefix(Sound):
    def list_blobs(self, prefix=""):
        return super().list_blobs()


@breaks("list_blobs: lists only what has a name that starts with the prefix")
class TakesThePrefixForADirectory(Sound):
    def list_blobs(self, prefix=""):
        return super().list_blobs(prefix if prefix.endswith("/") or not prefix else f"{prefix}/")


@breaks("list_blobs: does not list what was deleted")
class ListsTheDeleted(Sound):
    def delete_file(self, *args, revision=None):
        key = key_of_parts(args, revision)
        with self._lock:
            self.__dict__.setdefault("gone", set()).add(key)
        return key in self

    def get_file(self, *args, revision=None):
        if key_of_parts(args, revision) in self.__dict__.get("gone", ()):
            raise BlobNotFoundError
        return super().get_file(*args, revision=revision)


@breaks("list_blobs: lists what stays exactly once while other blobs come and go")
class ListsByNumber(Sound):
    def list_blobs(self, prefix=""):
        number = 0
        while number < len(found := list(super().list_blobs(prefix))):
            yield found[number]
            number += 1


@breaks("list_blobs: says by a ListingNotSupportedError that it cannot list")
class SaysSoByAnotherError(FourMethodStore):
    def list_blobs(self, prefix=""):
        raise AttributeError


@breaks("discard_temporary: refuses to discard what is no unfinished write")
class DiscardsAnything(Sound):
    def discard_temporary(self, blob):
        return self.delete_key(blob.key)


@breaks("discard_temporary: refuses to discard what is no unfinished write")
class DiscardsBeforeItLooks(Sound):
    def discard_temporary(self, blob):
        self.delete_key(blob.key)
        raise ValueError


# --- uploads by others -----------------------------------------------------------------------------------------------


@breaks("put_once: stores a blob where none is, and leaves one that is there as it is")
class PutsOverWhatIsThere(Sound):
    def put_once(self, key, file):
        self.put(replace(key, revision=None), file, reproducible=False)


@breaks("put_once: stores a blob where none is, and leaves one that is there as it is")
class PutsNeverOnce(Sound):
    def put_once(self, key, file):
        raise BlobExistsError


@breaks("put_once: lets one of many at once store it", exclusive=True)
class LooksBeforeItPuts(FourMethodStore):
    def put_once(self, key, file):
        if self.has_key(key):
            raise BlobExistsError
        time.sleep(0.02)
        self.put(key, file, reproducible=False)


class Copying(Sound):
    """Copies whatever there is."""

    def copy_from(self, other, source, target, *, checksum, reproducible):
        with other.get(source) as file:
            self.put(target, file, reproducible=reproducible)
        return True


@breaks("copy_from: copies what was read, or says that it does not")
class SaysThatItCopied(Copying):
    def copy_from(self, *args, **kwargs):
        return True


@breaks("copy_from: copies what was read, or says that it does not")
class CopiesAndDeniesIt(Copying):
    def copy_from(self, *args, **kwargs):
        super().copy_from(*args, **kwargs)
        return False


breaks("copy_from: copies nothing that has changed since it was read")(Copying)


@breaks("copy_from: copies nothing that has changed since it was read")
class ComparesByMD5(Copying):
    """As one that goes by the ETags of S3."""

    def __init__(self) -> None:
        super().__init__()
        self._tags: dict[str, bytes] = {}

    def put_file(self, file, *args, **kwargs):
        content = file.read()
        if isinstance(content, bytes):
            self._tags[hashlib.sha256(content).hexdigest()] = hashlib.md5(content).digest()
        super().put_file(io.BytesIO(content), *args, **kwargs)

    def copy_from(self, other, source, target, *, checksum, reproducible):
        with other.get(source) as file:
            if hashlib.md5(file.read()).digest() != self._tags[checksum]:
                return False
        return super().copy_from(other, source, target, checksum=checksum, reproducible=reproducible)


@breaks("copy_from: copies what was read, or says that it does not", copies=True)
class SaidToCopy(MemoryStore):
    """It is said to, and does not."""


@breaks("presign_upload: gives a request that stores a blob", uploadable=True)
class NamesNobody(Sound):
    def presign_upload(self, key, **options):
        return UploadTarget("http://127.0.0.1:9/", "PUT")


@breaks("presign_upload: gives a request that is refused where it is not kept", uploadable=True)
class TakesAnything(Sound):
    def presign_upload(self, key, *, max_bytes, lifetime, mimetype=None, redirect=None):
        put = self.put

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                put(key, io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))), reproducible=False)
                self.send_response(204)
                self.end_headers()
                threading.Thread(target=self.server.shutdown).start()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)

        def serve() -> None:
            with server:
                server.serve_forever()

        threading.Thread(target=serve, daemon=True).start()
        return UploadTarget(f"http://127.0.0.1:{server.server_port}/?signature=none", "PUT")


# --- the store as a whole --------------------------------------------------------------------------------------------


@breaks("accepts_revision: tells whether the store takes revisions", revisions=True)
class TakesNoRevision(FourMethodStore):
    pass


@breaks("accepts_revision: tells whether the store takes revisions")
class DoesNotKnow(Sound):
    accepts_revision = "perhaps"


@breaks("__bool__: is true, even when the store is empty")
class IsFalseWhenEmpty(Sound):
    def __bool__(self) -> bool:
        return len(self) > 0


@breaks("__hash__: can be compared and be the key of a dictionary")
class CannotBeHashed(Sound):
    def __eq__(self, other: object) -> bool:
        return self is other


@breaks("__hash__: can be compared and be the key of a dictionary")
class HasAnotherHashEachTime(Sound):
    def __init__(self) -> None:
        super().__init__()
        self._hashes = itertools.count()

    def __hash__(self) -> int:
        return next(self._hashes)


@breaks("__reduce__: gives a copy of the store, by pickling, that stands for the same place", pickles=True)
class CannotBePickled(Sound):
    pass


@breaks("__reduce__: gives a copy of the store, by pickling, that stands for the same place", pickles=True)
class IsPickledWithItsBlobs(FourMethodStore):
    pass


@breaks("get_part: gives the bytes that were asked for, and no others")
class GivesAllOfIt(Sound):
    def get_part(self, key, start=0, length=None):
        return super().get_part(key)


@breaks("get_part: gives the bytes that were asked for, and no others")
class CountsFromOne(Sound):
    def get_part(self, key, start=0, length=None):
        return super().get_part(key, max(start - 1, 0), length)


@breaks("get_part: gives what there is where more is asked for")
class WantsToKnowTheEnd(Sound):
    def get_part(self, key, start=0, length=None):
        if start >= super().stat_key(key).byte_size:
            raise OSError("invalid range")
        return super().get_part(key, start, length)


@breaks("get_part: says of the whole blob how long it is, if it says so")
class TellsTheLengthOfThePart(Sound):
    def get_part(self, key, start=0, length=None):
        part = super().get_part(key, start, length)
        return replace(part, stat=replace(part.stat, byte_size=part.stat.byte_size - start))


@breaks("stat_key: says how long the blob is, and when it was written, if it says so")
class TellsNoTimeZone(Sound):
    def stat_key(self, key):
        return replace(super().stat_key(key), modified_at=datetime.now())


@breaks("stat_key: says how long the blob is, and when it was written, if it says so")
class TellsKilobytes(Sound):
    def stat_key(self, key):
        stat = super().stat_key(key)
        return replace(stat, byte_size=stat.byte_size // 1024)


@breaks("get_part: says by an OSError that there is no such blob")
class HasEmptyParts(Sound):
    def get_part(self, key, start=0, length=None):
        return super().get_part(key, start, length) if key in self else BlobPart(io.BytesIO(), BlobStat(0))


@breaks("stat_key: says by an OSError that there is no such blob")
class TellsNothing(Sound):
    def stat_key(self, key):
        return super().stat_key(key) if key in self else BlobStat()


@breaks("targets: names the stores that are written, where it stands for others")
class HidesAnFourMethodStore(MirrorStore):
    def __init__(self) -> None:
        super().__init__(MemoryStore(), FourMethodStore())

    def targets(self):
        return ()


@breaks("targets: names the stores that are written, where it stands for others")
class NamesAnother(Sound):
    def targets(self):
        return (MemoryStore(),)
