"""Children that decode: what they cost, how they end, and that they leave nothing behind, wherever they are started."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.errors import (
    EngineUnavailableError,
    InvalidTypeError,
    InvalidValueError,
    PolicyViolationError,
    RejectedImageError,
    TooCostlyError,
    UnreadableImageError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from sqlalchemy_imageattach.imaging.isolation import pool
from sqlalchemy_imageattach.imaging.isolation.messages import Task
from tests.imaging.test_engine import python
from tests.pictures import encode, texture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="children are limited by POSIX")

APART = ImagePolicy(isolate=True)
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="1000">'
#: Each costs minutes, as long as nobody ends it.
COSTLY = {
    "dashes": "".join(f'<path d="M0 {y}H1000" stroke="red" stroke-dasharray="0.001 0.001"/>' for y in range(50)),
    "layers": '<rect width="1000" height="1000" opacity=".5"/>' * 20_000,
}


def costly_svg(content: str) -> io.BytesIO:
    return io.BytesIO(f"{HEAD}{content}</svg>".encode())


def costly_pdf() -> io.BytesIO:
    """A page of forms within forms: each draws the next ten times."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    objects.append(
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R"
        b" /Resources << /XObject << /F 5 0 R >> >> >>"
    )
    draw = b"/F Do " * 10
    objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(draw), draw))
    for number in range(9):
        inner = draw if number < 8 else b"0 0 100 100 re f"
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 200 100] /Length %d /Resources << /XObject << /F %d 0 R >> >>"
            b" >> stream\n%s\nendstream" % (len(inner), number + 6, inner)
        )
    content = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (i, o) for i, o in enumerate(objects, 1))
    return io.BytesIO(content + b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n0\n%%%%EOF\n" % (len(objects) + 1))


def children() -> list[int]:
    """The process ids of those that wait or work."""
    found = [*pool._pool._busy, *(child for waiting in pool._pool._idle.values() for child in waiting)]
    return [child._process.pid for child in found]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Whether it ends, without a limit of time: what hangs is ended by who runs the tests."""
    while is_alive(pid):
        time.sleep(0.02)
    return True


# --- the work -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_a_child_makes_the_same_pictures(form: str) -> None:
    file = encode(texture(300, 200), form)
    renditions = [Rendition(width=100), Rendition(width=30, height=30, fit="fill", format="webp"), Rendition(ratio=1)]
    here, there = render(file, renditions, ImagePolicy()), render(file, renditions, APART)
    assert [made.blob for made in here] == [made.blob for made in there]
    assert file.tell() == 0


def test_a_picture_is_verified_in_a_child_too() -> None:
    whole = encode(texture(100, 80), "PNG").getvalue()
    policy = ImagePolicy(isolate=True, verify="decode")
    assert probe(io.BytesIO(whole), policy).width == 100
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 255
    with pytest.raises(UnreadableImageError) as caught:
        probe(io.BytesIO(broken), policy)
    assert caught.value.__cause__ is not None, "what the library said"
    assert str(caught.value.__cause__).partition(":")[2] not in str(caught.value)


def test_what_the_source_raises_is_raised_as_it_is() -> None:
    class Broken(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            if self.reads > 20:
                raise OSError("the disk is gone")
            return super().read(min(size or 0, 1024) if size else size)

    with pytest.raises(OSError, match="the disk is gone"):
        render(Broken(encode(texture(200, 200), "PNG").getvalue()), [Rendition(width=10)], APART)


def test_a_policy_holds_in_a_child_too() -> None:
    with pytest.raises(PolicyViolationError):
        render(encode(texture(100, 80), "PNG"), [Rendition(width=10)], ImagePolicy(isolate=True, max_pixels=7999))


def test_a_child_serves_again_and_again() -> None:
    file = encode(texture(40, 30), "PNG")
    render(file, [Rendition(width=10)], APART)
    before = children()
    for _ in range(5):
        render(file, [Rendition(width=10)], APART)
        with pytest.raises(UnreadableImageError):
            render(io.BytesIO(file.getvalue()[:-30] + file.getvalue()[-12:]), [Rendition(width=10)], APART)
    assert children() == before


def test_a_child_is_replaced_before_its_leaks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MOST_TASKS", 2)
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    file = encode(texture(40, 30), "PNG")
    seen = set()
    for _ in range(4):
        render(file, [Rendition(width=10)], APART)
        seen.update(children())
    assert len(seen) == 2
    pool._pool.close()


# --- what takes too much --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", COSTLY.values(), ids=COSTLY)
def test_an_svg_that_takes_too_long_is_ended(content: str) -> None:
    policy = ImagePolicy(max_seconds=0.2).allowing("image/svg+xml")
    assert probe(costly_svg(content), policy).width == 1000
    with pytest.raises(TooCostlyError, match=r"0\.2 seconds|more elements"):
        render(costly_svg(content), [Rendition(width=1000)], policy)


def test_a_pdf_that_takes_too_long_is_ended() -> None:
    policy = ImagePolicy(max_seconds=0.2).allowing("application/pdf")
    with pytest.raises(TooCostlyError):
        render(costly_pdf(), [Rendition(width=1000)], policy)


def test_verifying_is_limited_as_well() -> None:
    policy = ImagePolicy(max_seconds=0.2, verify="decode").allowing("image/svg+xml")
    with pytest.raises(TooCostlyError):
        probe(costly_svg(COSTLY["dashes"]), policy)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_a_picture_that_takes_too_much_memory_is_ended_and_the_next_one_is_made(form: str) -> None:
    large, small = encode(Image.new("RGB", (3000, 2500), "red"), form), encode(texture(60, 40), form)
    policy = ImagePolicy(max_memory=9 * 2**20)
    with pytest.raises(TooCostlyError, match="memory|MiB"):
        render(large, [Rendition(ratio=1, format="jpeg")], policy)
    assert render(small, [Rendition(width=30)], policy)[0].width == 30


def test_a_child_that_does_nothing_at_all_is_ended_as_well() -> None:
    file = encode(texture(60, 40), "PNG")
    policy = ImagePolicy(max_seconds=0.05)
    render(file, [Rendition(width=30)], policy)
    for pid in children():
        os.kill(pid, signal.SIGSTOP)
    stopped = children()
    with pytest.raises(TooCostlyError):
        render(file, [Rendition(width=30)], policy)
    assert any(not is_alive(pid) for pid in stopped)
    for pid in children():
        os.kill(pid, signal.SIGCONT)
    assert render(file, [Rendition(width=30)], policy)[0].width == 30


def test_a_child_that_was_killed_while_it_waited_is_replaced() -> None:
    file = encode(texture(60, 40), "PNG")
    render(file, [Rendition(width=30)], APART)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
        assert ends(pid)
    assert render(file, [Rendition(width=30)], APART)[0].width == 30


def test_what_another_thread_opens_while_a_child_is_ended_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    obituary = pool._obituary

    def open_some(status: int, task: Task) -> RejectedImageError:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(5))  # by the numbers that are free now
        return obituary(status, task)

    monkeypatch.setattr(pool, "_obituary", open_some)
    policy = ImagePolicy(max_seconds=0.2).allowing("image/svg+xml")
    with pytest.raises(TooCostlyError):
        render(costly_svg(COSTLY["dashes"]), [Rendition(width=1000)], policy)
    assert len(opened) == 5
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_while_a_child_starts_leaves_none(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    started: list[pool._Child] = []

    def interrupt(child: pool._Child, engine: str) -> None:
        started.append(child)
        raise error

    monkeypatch.setattr(pool._Child, "_greet", interrupt)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        pool._Child("pillow", ())
    assert not is_alive(started[0]._process.pid)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_ended_harms_nobody_elses_picture() -> None:
    files = [encode(texture(200 + n, 150), "JPEG") for n in range(12)]
    expected = [render(file, [Rendition(width=50)])[0].blob for file in files]
    costly = ImagePolicy(max_seconds=0.2).allowing("image/svg+xml")

    def make(number: int) -> bytes | str:
        try:
            if number % 4 == 3:
                return render(costly_svg(COSTLY["dashes"]), [Rendition(width=500)], costly)[0].blob
            return render(files[number], [Rendition(width=50)], APART)[0].blob
        except TooCostlyError:
            return "ended"

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(make, range(12)))
    assert made == ["ended" if n % 4 == 3 else expected[n] for n in range(12)]


def test_a_child_that_says_what_no_child_says_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encode(texture(60, 40), "PNG")
    monkeypatch.setattr(pool._pool, "run", lambda task, descriptor: [b"<html>"])
    with pytest.raises(UnreadableImageError, match="no image/png"):
        render(file, [Rendition(width=30)], APART)


# --- where it runs --------------------------------------------------------------------------------------------------

WORK = """
import io, os, sys
from PIL import Image
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.isolation import pool
from sqlalchemy_imageattach.imaging.isolation.messages import Task
def work(width=10):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "PNG")
    return render(file, [Rendition(width=width)], ImagePolicy(isolate=True))[0].width
def pids():
    children = [child for waiting in pool._pool._idle.values() for child in waiting]
    return [child._process.pid for child in children]
"""


#: How a parent may end.
ENDINGS = ["", "sys.exit(3)", "raise ValueError", "os._exit(1)", "os.kill(os.getpid(), 9)"]


def test_no_child_outlives_its_parent() -> None:
    # one parent for each ending, forked so that the libraries are imported once
    code = f"""{WORK}
ENDINGS = {ENDINGS!r}
parents = []
for ending in ENDINGS:
    parents.append(os.fork())
    if not parents[-1]:
        break
else:
    for parent in parents:
        os.waitpid(parent, 0)
    os._exit(0)
work()
print(*pids(), flush=True)
exec(ending)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == len(ENDINGS), done.stderr
    assert all(ends(pid) for pid in pids)


def test_a_child_that_works_ends_with_its_parent_too() -> None:
    code = f"""{WORK}
import threading
svg = io.BytesIO({costly_svg(COSTLY["dashes"]).getvalue()!r})
threading.Thread(target=render, args=(svg, [Rendition(width=900)]), daemon=True).start()
while not pool._pool._busy:
    pass
print(*[child._process.pid for child in pool._pool._busy], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert all(ends(int(pid)) for pid in done.stdout.split())


def test_a_fork_has_children_of_its_own_and_leaves_those_of_its_parent_alone() -> None:
    code = f"""{WORK}
work()
mine = pids()
pid = os.fork()
if pid == 0:
    assert pids() == [] and work() == 10 and pids() != mine
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert work(20) == 20 and pids() == mine
print("both")
"""
    assert python(code) == "both"


def test_daemons_that_may_have_no_children_of_multiprocessing_can_work(tmp_path: Path) -> None:
    # so are the workers of Celery's prefork pool
    script = tmp_path / "script.py"
    script.write_text(
        f"{WORK}\nimport multiprocessing\ndef target(queue):\n    queue.put(work())\n"
        "if __name__ == '__main__':\n    for method in 'fork', 'spawn', 'forkserver':\n"
        "        context = multiprocessing.get_context(method)\n        queue = context.Queue()\n"
        "        process = context.Process(target=target, args=(queue,), daemon=True)\n"
        "        process.start()\n        print(method, queue.get())\n        process.join()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "fork 10\nspawn 10\nforkserver 10\n", done.stderr


def test_below_gevent_others_go_on_while_a_child_works() -> None:
    code = f"""
from gevent import monkey
monkey.patch_all()
import gevent
{WORK}
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1
gevent.spawn(tick)
jobs = [gevent.spawn(work, n) for n in range(5, 11)]
gevent.joinall(jobs, raise_error=True)
print([job.value for job in jobs], ticks > 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[5, 6, 7, 8, 9, 10] True\n", done.stderr


def test_below_asyncio_the_loop_goes_on_while_a_child_works() -> None:
    file = encode(texture(300, 200), "JPEG").getvalue()

    async def main() -> list[int]:
        made = await asyncio.gather(
            *(asyncio.to_thread(render, io.BytesIO(file), [Rendition(width=n)], APART) for n in range(5, 11))
        )
        return [pictures[0].width for pictures in made]

    assert asyncio.run(main()) == [5, 6, 7, 8, 9, 10]


def test_a_thread_that_ends_takes_no_child_with_it() -> None:
    # a signal on the death of a parent would: it is sent when the thread ends that started the child
    file = encode(texture(60, 40), "PNG")
    thread = threading.Thread(target=render, args=(file, [Rendition(width=30)], APART))
    thread.start()
    thread.join()
    before = children()
    assert render(file, [Rendition(width=30)], APART)[0].width == 30
    assert children() == before


def test_the_directory_and_the_path_of_the_program_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not the one of Python')")
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{WORK}\nos.chdir('/'); print(work())"],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.stdout == "10\n", done.stderr


def test_where_no_child_can_be_started_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr(pool, "_python", lambda: "/nowhere/python")
    with pytest.raises(EngineUnavailableError, match="no child process"):
        render(encode(texture(60, 40), "PNG"), [Rendition(width=30)], APART)
    monkeypatch.setattr(pool, "_python", lambda: "/bin/true")
    with pytest.raises(EngineUnavailableError, match="does not start"):
        render(encode(texture(60, 40), "PNG"), [Rendition(width=30)], APART)


# --- the policy -----------------------------------------------------------------------------------------------------


def test_pictures_of_the_web_need_no_child_and_one_parameter_gives_them_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(task: Task, source: object) -> list[bytes]:
        started.append(task.engine)
        return [b""]

    monkeypatch.setattr("sqlalchemy_imageattach.imaging.isolation.run", run)
    file = encode(texture(60, 40), "PNG")
    svg = costly_svg("")
    render(file, [Rendition(width=30)])
    assert started == []
    for limited in (ImagePolicy(max_seconds=5), ImagePolicy(max_memory=10**9), ImagePolicy(isolate=True)):
        render(file, [Rendition(width=30)], limited)
    assert started == ["pillow"] * 3
    render(svg, [Rendition(width=30)])
    assert started[3:] == ["resvg"]
    render(svg, [Rendition(width=30)], ImagePolicy(isolate=False))
    assert len(started) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_seconds": 0}, InvalidValueError, "max_seconds"),
        ({"max_seconds": float("nan")}, InvalidValueError, "max_seconds"),
        ({"max_seconds": float("inf")}, InvalidValueError, "max_seconds"),
        ({"max_seconds": "5"}, InvalidTypeError, "max_seconds"),
        ({"max_seconds": True}, InvalidTypeError, "max_seconds"),
        ({"max_memory": 0}, InvalidValueError, "max_memory"),
        ({"max_memory": 1.5}, InvalidTypeError, "max_memory"),
        ({"isolate": "yes"}, InvalidTypeError, "isolate"),
        ({"isolate": False, "max_seconds": 5}, InvalidValueError, "isolate"),
        ({"fonts": "/usr/share/fonts"}, InvalidTypeError, "tuple"),
    ],
)
def test_limits_that_make_no_sense_are_refused(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ImagePolicy(**arguments)


def test_too_much_is_a_refusal_like_others() -> None:
    assert issubclass(TooCostlyError, RejectedImageError)
