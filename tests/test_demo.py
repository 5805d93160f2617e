"""The demonstration: its tour, its gallery over HTTP, and its gallery in a browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from socket import SHUT_WR
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from .browser import Browser

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = ROOT / "tests" / "images"
EXTENSIONS = {"image/jpeg": ".jpe", "image/webp": ".webp", "image/avif": ".avif", "image/png": ".png"}


def run(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """The demonstration as a process of its own, with every warning an error."""
    program = ["-c", f"{code}; import runpy; runpy.run_module('catalogue', run_name='__main__', alter_sys=True)"]
    return subprocess.run(
        [sys.executable, "-W", "error", "-P", *(program if code else ["-m", "catalogue"]), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "examples"), "PYTHONIOENCODING": "utf-8"}


@dataclass(frozen=True)
class Catalogue:
    """The directory of a catalogue, looked at without the library."""

    path: Path

    @property
    def titles(self) -> list[str]:
        """Those of the entries, the newest first."""
        return [title for (title,) in self._rows("SELECT title FROM entry ORDER BY id DESC")]

    @property
    def files(self) -> set[str]:
        images = self.path / "images"
        return {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}

    @property
    def named(self) -> set[str]:
        """The files that the rows name."""
        return self._named_by("SELECT entry_id, width, height, revision, mimetype FROM entry_photo")

    @property
    def made(self) -> set[str]:
        """Those that the library has made."""
        return self._named_by("SELECT entry_id, width, height, revision, mimetype FROM entry_photo WHERE NOT original")

    def files_of(self, entry: int, count: int) -> set[str]:
        """Those of one entry, when a thread has made the last of ``count``."""
        while len(found := {name for name in self.named if name.startswith(f"entry-photo/{entry}/")}) < count:
            time.sleep(0.05)
        assert found <= self.files
        return found

    def _named_by(self, statement: str) -> set[str]:
        rows = self._rows(statement)
        return {
            f"entry-photo/{number % 1000}/{number // 1000}/{number}.{width}x{height}.{revision}{EXTENSIONS[mimetype]}"
            for number, width, height, revision, mimetype in rows
        }

    def state(self) -> tuple[list[str], set[str], set[str]]:
        return self.titles, self.named, self.files

    def _rows(self, statement: str) -> list[tuple]:
        connection = sqlite3.connect(self.path / "catalogue.sqlite")
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def toured(tmp_path_factory) -> tuple[Catalogue, str]:
    """A catalogue that the tour has just made, and what it said."""
    directory = tmp_path_factory.mktemp("demo") / "catalogue"
    done = run("--once", "--directory", directory)
    assert (done.returncode, done.stderr) == (0, "")
    return Catalogue(directory), done.stdout


@pytest.fixture
def catalogue(toured, tmp_path) -> Catalogue:
    """A copy of it, to be changed."""
    return copy(toured[0], tmp_path / "catalogue")


@pytest.fixture
def address(catalogue) -> Iterator[str]:
    """The URL of the gallery of ``catalogue``."""
    with gallery(catalogue) as found:
        yield found


@pytest.fixture(scope="module")
def shared(toured, tmp_path_factory) -> Iterator[tuple[str, Catalogue]]:
    """The URL of the gallery of a copy, for tests that change nothing, and the copy."""
    catalogue = copy(toured[0], tmp_path_factory.mktemp("demo") / "catalogue")
    with gallery(catalogue) as found:
        yield found, catalogue


@pytest.fixture
def unchanged(shared) -> Iterator[str]:
    """The URL of a gallery whose catalogue the test has to leave as it is."""
    address, catalogue = shared
    before = catalogue.state()
    yield address
    assert catalogue.state() == before


def copy(catalogue: Catalogue, path: Path) -> Catalogue:
    shutil.copytree(catalogue.path, path)
    return Catalogue(path)


@contextmanager
def gallery(catalogue: Catalogue) -> Iterator[str]:
    """Its URL.  It is served by a process that has to end cleanly upon Ctrl-C."""
    # when a browser hangs up early, Werkzeug's server forgets to close the file that it was sending
    strict = ["-W", "error", "-W", "ignore::ResourceWarning"]
    server = subprocess.Popen(
        [sys.executable, *strict, "-P", "-m", "catalogue", "--directory", str(catalogue.path)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+/", line)))
    finally:
        server.send_signal(signal.SIGINT)
        out, errors = server.communicate()
    assert (server.returncode, out.strip(), errors) == (0, "Ended.", "")


# --- the tour --------------------------------------------------------------------------------------------------------


def test_the_tour_leaves_a_file_for_each_row_and_no_other(toured):
    catalogue, _ = toured
    assert catalogue.titles == ["Eileen Collins", "Chelsea", "Espresso", "Falcon 9"]
    assert len(catalogue.files) == 18  # of two photographs a card shows all there is, and is what a click shows
    assert catalogue.files == catalogue.named


def test_the_tour_tells_each_step_and_where_everything_is(toured):
    catalogue, said = toured
    for number, verb in enumerate(["Attach", "List", "Replace", "Attach", "Offer", "Delete", "Compare"], start=1):
        assert f"\n{number}. {verb} " in said
    assert "4 entries" not in said, "one of them is deleted later only"
    assert "5 entries, 20 images: 2 statements." in said
    assert "UnreadableImageError: " in said
    assert said.count("these are gone:\n      entry-photo/") == 3
    assert str(catalogue.path / "catalogue.sqlite") in said
    assert str(catalogue.path / "images") in said


def test_the_thumbnails_of_a_picture_that_lies_on_its_side_are_upright(toured):
    catalogue, said = toured
    assert "chelsea-orientation6-gps.jpg  451 × 300" in said
    assert {name.split(".")[1] for name in catalogue.named if name.startswith("entry-photo/3/")} == {
        "300x200",
        "450x300",
        "451x300",
    }


def test_a_second_run_takes_the_catalogue_as_it_is(catalogue):
    before = catalogue.state()
    done = run("--once", "--directory", catalogue.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "It was there already" in done.stdout
    assert catalogue.state() == before


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    done = run("--once", "--directory", tmp_path)
    assert done.returncode == 2
    assert "name another directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_a_port_that_is_none_is_refused_at_once(tmp_path):
    done = run("--port", "65536", "--directory", tmp_path / "new")
    assert done.returncode == 2
    assert "expected a number below 65536, got '65536'" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "sabotage",
    [
        pytest.param("Store._delete = lambda self, key: True", id="blobs are never deleted"),
        pytest.param(
            "put = Store._put; Store._put = lambda self, key, *rest:"
            " (put(self, key, *rest), open(self.path_of(key) + '.orphan', 'w').close())",
            id="each blob leaves another file behind",
        ),
    ],
)
def test_the_tour_fails_when_a_promise_is_broken(tmp_path, sabotage):
    code = f"from sqlalchemy_imageattach.stores.fs import BaseFileSystemStore as Store; {sabotage}"
    done = run("--once", "--directory", tmp_path / "new", code=code)
    assert done.returncode == 1
    assert "The promise was broken that " in done.stderr


def test_the_script_runs_from_any_directory_and_takes_a_fresh_one_each_time(tmp_path):
    # the environment that runs the tests stands for the one that the script would make
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    mark = f'. "{ROOT}/scripts/_env"; _fingerprint > "{tmp_path}/venv/.installed-core"'
    subprocess.run(["bash", "-c", mark], check=True)

    command = [str(ROOT / "scripts" / "demo"), "--once", "--directory", "pictures"]
    settings = {**os.environ, "venv": str(tmp_path / "venv")}
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Catalogue(tmp_path / "pictures").files == Catalogue(tmp_path / "pictures").named != set()


# --- the gallery over HTTP -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def problem(self) -> str:
        match = re.search(r'role="alert">(.*?)</p>', self.body)
        return "" if match is None else match[1]


def ask(address: str, method: str, path: str, form: dict | None = None, **headers: str) -> Answer:
    connection = HTTPConnection(urlsplit(address).netloc)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b""
    if form is not None:
        boundary, body = encode_multipart(form)
        sent["Content-Type"] = f"multipart/form-data; boundary={boundary}"
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


def picture(name: str = "coffee.jpg") -> FileStorage:
    return FileStorage(BytesIO((PHOTOGRAPHS / name).read_bytes()), name)


def form(**values: object) -> dict:
    return {"photo": picture(), "title": "New", "description": "", "focus": "top"} | values


def test_the_gallery_lists_the_entries_with_all_sizes(shared):
    address, catalogue = shared
    answer = ask(address, "GET", "/")
    assert answer.status == 200
    assert re.findall(r"<h2>(.*?)</h2>", answer.body) == catalogue.titles
    named = re.findall(rf"{address}images/(\S+?)[\" ]", answer.body)
    assert set(named) == catalogue.made, "and no original, which says where it was taken"
    assert len(catalogue.made) == len(catalogue.files) - 4
    assert "<script" not in answer.body


def test_pictures_are_served_as_what_they_are(shared):
    address, catalogue = shared
    for name in catalogue.files:
        with urlopen(f"{address}images/{name}") as response:
            assert EXTENSIONS[response.headers["Content-Type"]] == Path(name).suffix
            assert response.read() == (catalogue.path / "images" / name).read_bytes()


def test_a_photograph_is_added_replaced_and_deleted(address, catalogue):
    answer = ask(address, "POST", "/entries", form())
    assert (answer.status, answer.headers["Location"]) == (303, "/?done=added#entry-5")
    added = catalogue.files_of(5, 4)
    assert len(added) == 4
    assert catalogue.titles[0] == "New"

    answer = ask(address, "POST", "/entries/5/photo", {"photo": picture("rocket.webp")})
    assert (answer.status, answer.headers["Location"]) == (303, "/?done=replaced#entry-5")
    assert not added & catalogue.files
    assert not added & catalogue.files_of(5, 5)
    assert catalogue.files == catalogue.named

    assert ask(address, "POST", "/entries/5/delete").status == 303
    assert not {name for name in catalogue.files if name.startswith("entry-photo/5/")}
    assert catalogue.files == catalogue.named


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"<!doctype html><script>alert(1)</script>", "no known image type", id="HTML"),
        pytest.param(b"", "empty", id="nothing"),
        pytest.param((PHOTOGRAPHS / "coffee.jpg").read_bytes()[:20_000], "nothing was changed", id="half a JPEG"),
        pytest.param((PHOTOGRAPHS / "quadrants.svg").read_bytes(), "image/svg+xml", id="SVG"),
        pytest.param(b"\xff\xd8\xff" + bytes(17 << 20), "16,777,216", id="17 MiB"),
    ],
)
@pytest.mark.parametrize("path", ["/entries", "/entries/1/photo"])
def test_what_is_no_picture_is_refused_kindly_and_changes_nothing(unchanged, path, content, said):
    answer = ask(unchanged, "POST", path, form(photo=FileStorage(BytesIO(content), "holiday.jpg")))
    assert answer.status == 422
    assert said in answer.problem


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"photo": ""}, "No picture was chosen"),
        ({"title": "  "}, "needs a title"),
        ({"title": "x" * 81}, "81 characters, and there is room for 80"),
        ({"description": "x" * 301}, "301 characters, and there is room for 300"),
    ],
)
def test_a_form_that_lacks_something_is_shown_again_as_it_was_filled_in(unchanged, values, said):
    answer = ask(unchanged, "POST", "/entries", form(description='A "cup"') | values)
    assert answer.status == 422
    assert said in answer.problem
    if "description" not in values:
        assert 'name="description" maxlength="300" value="A &#34;cup&#34;"' in answer.body
    assert '<option value="top" selected>' in answer.body


def test_markup_in_what_was_typed_is_shown_and_not_obeyed(address):
    assert ask(address, "POST", "/entries", form(title="<img src=x>", description="\"'><b>&amp;")).status == 303
    body = ask(address, "GET", "/").body
    assert "<img src=x>" not in body
    assert "<h2>&lt;img src=x&gt;</h2>" in body
    alternatives = [html.unescape(quoted) for quoted in re.findall(r'<img [^>]*alt="([^"<>]*)"', body)]
    assert alternatives[0] == "\"'><b>&amp;"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://elsewhere.example"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/entries", "/entries/1/photo", "/entries/1/delete"])
def test_forms_of_other_pages_do_nothing(unchanged, path, headers):
    answer = ask(unchanged, "POST", path, form(), **headers)
    assert answer.status == 403
    assert "sent by another page" in answer.problem


def test_forms_of_its_own_pages_are_taken(address, catalogue):
    headers = {"Sec_Fetch_Site": "same-origin", "Origin": address.rstrip("/")}
    assert ask(address, "POST", "/entries/1/delete", **headers).status == 303
    assert "Falcon 9" not in catalogue.titles


def test_another_host_name_that_leads_here_gets_nothing(unchanged):
    # what a page of elsewhere.example sees after its name was made to lead to 127.0.0.1
    port = urlsplit(unchanged).port
    answer = ask(unchanged, "GET", "/", Host=f"elsewhere.example:{port}")
    assert answer.status == 400
    assert "entry-1" not in answer.body
    assert ask(unchanged, "GET", "/", Host=f"localhost:{port}").status == 200


def test_a_request_that_is_far_too_large_is_refused_before_it_is_read(unchanged):
    connection = HTTPConnection(urlsplit(unchanged).netloc)
    connection.putrequest("POST", "/entries")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    connection.sock.shutdown(SHUT_WR)  # nothing follows, so that who reads on reads to the end
    response = connection.getresponse()
    assert response.status == 413
    assert "a picture may have 16 MiB" in response.read().decode()
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/entries/5/delete", 404),
        ("POST", "/entries/9223372036854775807/delete", 404),
        ("POST", "/entries/9223372036854775808/delete", 404),
        ("GET", "/images/../catalogue.sqlite", 404),
        ("GET", "/images/%2e%2e/catalogue.sqlite", 404),
        ("GET", "/entries", 405),
        ("DELETE", "/", 405),
    ],
)
def test_what_is_not_there_is_not_there(unchanged, method, path, status):
    assert ask(unchanged, method, path).status == status


def titles(answer: Answer) -> list[str]:
    return [html.unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", answer.body)]


def test_a_picture_finds_those_that_look_like_it_the_nearest_first(unchanged):
    answer = ask(unchanged, "POST", "/search", {"photo": picture("coffee-cmyk.jpg")})
    assert answer.status == 200
    assert titles(answer)[0] == "Espresso"
    assert sorted(titles(answer)) == ["Chelsea", "Eileen Collins", "Espresso", "Falcon 9"]
    assert titles(ask(unchanged, "POST", "/search", {"photo": picture("rocket.webp")}))[0] == "Falcon 9"


def test_a_photograph_leads_to_the_others_and_not_to_itself(unchanged):
    answer = ask(unchanged, "GET", "/entries/2/like")
    assert answer.status == 200
    assert sorted(titles(answer)) == ["Chelsea", "Eileen Collins", "Falcon 9"]
    assert ask(unchanged, "GET", "/entries/99/like").status == 404


def test_a_search_by_what_is_no_picture_is_refused_kindly(unchanged):
    answer = ask(unchanged, "POST", "/search", {"photo": FileStorage(BytesIO(b"<html>"), "holiday.jpg")})
    assert (answer.status, "no known image type" in answer.problem) == (422, True)
    assert ask(unchanged, "POST", "/search", {"photo": ""}).status == 422
    assert ask(unchanged, "POST", "/search", {"photo": picture()}, Origin="https://elsewhere.example").status == 403


def test_where_nothing_is_left_nothing_is_found(address):
    for number in (1, 2, 3, 4):
        assert ask(address, "POST", f"/entries/{number}/delete").status == 303
    answer = ask(address, "POST", "/search", {"photo": picture()})
    assert (answer.status, answer.problem) == (404, "There is no photograph to compare it with yet.")


@pytest.mark.parametrize("path", ["/", "/nothing", "/gallery.css"])
def test_every_answer_forbids_scripts_and_frames(unchanged, path):
    policy = ask(unchanged, "GET", path).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


# --- the gallery in a browser ----------------------------------------------------------------------------------------


LOOK = """
const images = [...document.images];
images.forEach(image => image.loading = "eager");
return Promise.all(images.map(image => image.decode())).then(() => images.map(image => ({
    alt: image.alt,
    file: image.currentSrc,
    natural: image.naturalWidth,
    ratio: image.naturalWidth / image.naturalHeight,
    shown: image.getBoundingClientRect().width,
    sideways: document.documentElement.scrollWidth > document.documentElement.clientWidth,
})));
"""


def look(window: Browser) -> list[dict]:
    """What the browser makes of the pictures, each of which must have been decoded."""
    images: list[dict] = window.run(LOOK)
    for image in images:
        assert image["natural"] > 0
        assert image["ratio"] == pytest.approx(1.5, abs=0.01)
        assert not image["sideways"], "the page is wider than the window"
    return images


def width_of(image: dict) -> int:
    """The width in pixels of the file that the browser has chosen."""
    match = re.search(r"\.(\d+)x\d+\.", image["file"])
    assert match is not None
    return int(match[1])


def test_in_a_browser_photographs_are_seen_added_replaced_and_deleted(window, address, catalogue):
    window.open(address)
    first = look(window)
    assert [image["alt"] for image in first][1] == "The face of a tabby cat who looks past the camera"
    assert len(first) == 4

    window.find(".add summary").click()
    window.find(".add [name=photo]").type(str(PHOTOGRAPHS / "chelsea-orientation6-gps.jpg"))
    window.find(".add [name=title]").type("Chelsea again")
    window.find(".add [name=description]").type("A cat")
    window.find(".add button").submit()
    assert window.find("[role=status]").text.startswith("Added")
    added = look(window)
    assert len(added) == 5
    assert added[0]["alt"] == "A cat"
    assert catalogue.titles[0] == "Chelsea again"

    window.find(".card summary").click()
    window.find(".card [name=photo]").type(str(PHOTOGRAPHS / "rocket.webp"))
    window.find(".card form button").submit()
    assert window.find("[role=status]").text.startswith("Replaced")
    replaced = look(window)
    assert replaced[0]["alt"] == "A cat"
    assert replaced[0]["file"] != added[0]["file"]
    assert [image["file"] for image in replaced[1:]] == [image["file"] for image in first]
    assert len(catalogue.files_of(5, 5)) == 5

    window.find(".card summary").click()
    window.find(".card .danger").submit()
    assert window.find("[role=status]").text.startswith("Deleted")
    assert [image["file"] for image in look(window)] == [image["file"] for image in first]
    assert catalogue.files == catalogue.named

    window.find(".add summary").click()
    window.find(".add [name=photo]").type(str(ROOT / "README.rst"))
    window.find(".add [name=title]").type("Not a picture")
    window.find(".add button").submit()
    assert "nothing was changed" in window.find("[role=alert]").text
    assert len(look(window)) == 4


def test_in_a_browser_a_picture_finds_its_like(window, unchanged):
    window.open(unchanged)
    window.find(".find summary").click()
    window.find(".find [name=photo]").type(str(PHOTOGRAPHS / "coffee.jpg"))
    window.find(".find button").submit()
    assert window.find(".count").text.startswith("Most like your picture")
    assert window.find(".card h2").text == "Espresso"
    assert len(look(window)) == 4
    window.find(".card a[href$=like]").submit()
    assert "Most like “Espresso”" in window.find(".count").text
    assert len(look(window)) == 3


def test_a_browser_chooses_the_file_by_the_size_on_its_screen(window, address):
    chosen = {}
    # the smallest first: a browser that has a larger one already takes that
    for width, scale in [(320, 1), (1280, 1), (390, 2), (1280, 2)]:
        window.resize(width, 900, scale)
        window.open(address)
        rocket = look(window)[-1]
        chosen[width, scale] = width_of(rocket)
        assert chosen[width, scale] >= min(rocket["shown"] * scale * 0.95, 640), "it would be blurred"
    assert chosen == {(320, 1): 300, (1280, 1): 450, (390, 2): 640, (1280, 2): 640}
