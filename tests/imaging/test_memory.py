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

from .worst import BOUNDS

SIDE = 1400
#: The peak of a process is reset before each picture.  Memory that is given back goes back to the kernel at once.
CODE = """
import io, json, sys
from pathlib import Path
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.imaging.worst import pictures
policy = ImagePolicy(engines=("pillow",))
def work(content):
    info = probe(io.BytesIO(content), policy)
    # point sampling has a JPEG decoded in its whole size
    render(io.BytesIO(content), [Rendition(width=20, filter="point", format="png", animated=info.frames > 1)], policy)
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
found = {}
for (name, content), small in zip(pictures(SIDE, SIDE).items(), pictures(30, 30).values()):
    work(small)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    work(content)
    found[name] = (peak() - before) / SIDE**2
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and resets, the peak of a process")
def test_each_pixel_takes_no_more_memory_than_the_guide_says() -> None:
    code = CODE.replace("SIDE", str(SIDE))
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name.partition(",")[0] for name in found} == set(BOUNDS)
    # a pixel of a film counts once for each of its frames, of which few are there at once
    assert all(each > 1 for name, each in found.items() if "animated" not in name), found
    assert not {name: each for name, each in found.items() if each > BOUNDS[name.partition(",")[0]]}


def test_the_photograph_of_a_telephone_of_108_megapixels_passes_by_default() -> None:
    photo = encode(Image.new("L", (12_000, 9_000), 100), "JPEG", quality=20)
    assert probe(photo).width == 12_000
    (made,) = render(photo, [Rendition(width=300)])
    assert Image.open(io.BytesIO(made.blob)).size == (300, 225)
