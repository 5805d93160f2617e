"""What a decoder takes for each pixel is what the guide says, and what follows from it passes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sqlalchemy_imageattach.imaging import Rendition, probe, render
from tests.pictures import encode

from .worst import BOUNDS, WORST

SIDE = 1400
MEBI = 2**20
ROOT = Path(__file__).parents[2]
#: What both programs begin with.  A peak is reset before it is measured.
START = """
import contextlib, io, json, os, sys
from pathlib import Path
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.imaging.worst import WORST, pictures
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
def taken(work, content):
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    work(content)
    return peak() - before
found = {}
"""
LOOK = """
policy = ImagePolicy().allowing("image/svg+xml", "application/pdf", "image/vnd.microsoft.icon")
def work(content):
    with contextlib.suppress(RejectedImageError):
        probe(io.BytesIO(content), policy)
for small in pictures(30, 30).values():
    work(small)
for name, made in WORST.items():
    content = made()
    # each in a process of its own, so that none works with what another one has left
    if not os.fork():
        said = taken(work, content) - (len(content) if name.startswith("pdf") else 0)
        print(json.dumps([name, said]), flush=True)
        os._exit(0)
    os.wait()
"""
DECODE = """
policy = ImagePolicy(engines=("pillow",))
def work(content):
    info = probe(io.BytesIO(content), policy)
    # point sampling has a JPEG decoded in its whole size
    render(io.BytesIO(content), [Rendition(width=20, filter="point", format="png", animated=info.frames > 1)], policy)
for (name, content), small in zip(pictures(SIDE, SIDE).items(), pictures(30, 30).values()):
    work(small)
    print(json.dumps([name, taken(work, content) / SIDE**2]))
"""
only_on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells, and resets, the peak of a process"
)


def measured(program: str) -> dict[str, float]:
    # memory that is given back goes back to the kernel at once
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    code = START + program.replace("SIDE", str(SIDE))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@only_on_linux
def test_the_worst_file_of_each_kind_is_looked_at_in_little_memory() -> None:
    found = measured(LOOK)
    assert found.keys() == WORST.keys()
    assert max(found.values()) > MEBI, "it is measured"
    assert not {name: taken for name, taken in found.items() if taken > 16 * MEBI}


@only_on_linux
def test_each_pixel_takes_no_more_memory_than_the_guide_says() -> None:
    found = measured(DECODE)
    assert {name.partition(",")[0] for name in found} == set(BOUNDS)
    # a pixel of a film counts once for each of its frames, of which few are there at once
    assert all(each > 1 for name, each in found.items() if "animated" not in name), found
    assert not {name: each for name, each in found.items() if each > BOUNDS[name.partition(",")[0]]}


def test_the_photograph_of_a_telephone_of_108_megapixels_passes_by_default() -> None:
    photo = encode(Image.new("L", (12_000, 9_000), 100), "JPEG", quality=20)
    assert probe(photo).width == 12_000
    (made,) = render(photo, [Rendition(width=300)])
    assert Image.open(io.BytesIO(made.blob)).size == (300, 225)
