"""What rendering asks of the kernel, as ``strace`` sees it: nothing is opened but libraries and named fonts, nothing is
called, nothing is started.  First without walls, so that it is the renderer's own doing, and then within them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.needs import unavailable

ROOT = Path(__file__).parents[3]
CALLS = "open,openat,openat2,creat,socket,connect,bind,execve,execveat,fork,vfork,unlink,unlinkat,rename,symlink,mkdir"

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><style>@font-face { font-family: x }</style>
<filter id="f"><feTurbulence baseFrequency=".1"/></filter><rect width="50" height="50" filter="url(#f)"/>
<text y="50" font-family="Arial, x">Hello</text><image width="9" height="9" href="#none"/></svg>"""
PDF = b"""%PDF-1.4
1 0 obj
<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /URI /URI (http://127.0.0.1:9/) >> >>
endobj
2 0 obj
<< /Type /Pages /Kids [3 0 R] /Count 1 >>
endobj
3 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R /AA << /O << /S /Launch /F (/bin/true) >> >>
/Resources << /Font << /F 5 0 R /G 6 0 R >> /XObject << /X 7 0 R >> >> >>
endobj
4 0 obj
<< /Length 93 >> stream
BT /F 20 Tf 10 40 Td (Hello) Tj ET BT /G 20 Tf 10 70 Td (World) Tj ET /X Do 0 0 10 10 re f    
endstream
endobj
5 0 obj
<< /Type /Font /Subtype /TrueType /BaseFont /DejaVuSans >>
endobj
6 0 obj
<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>
endobj
7 0 obj
<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /F (/etc/passwd) /Length 0 >> stream
endstream
endobj
trailer << /Root 1 0 R /Size 8 >>
startxref
0
%%EOF
"""  # noqa: W291  # the length of the stream counts


#: The kernel's own files of this process and machine, which say nothing of others.
HARMLESS = r"/proc/(self/(statm|maps|cgroup|mountinfo|stat|task)|cpuinfo|meminfo|sys/vm)|/sys/(devices|fs)"


def is_library_or_font(path: str) -> bool:
    paths = sysconfig.get_paths()
    allowed = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], sys.base_prefix]
    allowed += ["/usr/lib", "/lib", "/etc/ld.so.cache", "/etc/ImageMagick", "/usr/share/ImageMagick"]
    allowed += [str(ROOT / "sqlalchemy_imageattach")]
    return path.startswith(tuple(allowed)) or re.match(HARMLESS, path) is not None


MARKS = "begins", "ends"
NAMES = ["drawing.svg", "page.pdf", "photo.heic", "photo-by-wand.heic"]
CODE = """
import io, os, sys
from pathlib import Path
from sqlalchemy_imageattach.errors import EngineUnavailableError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.isolation import pool
def mark(path):
    try:
        os.unlink(path)
    except OSError:
        pass
for path in sys.argv[2:]:
    name = os.path.basename(path)
    file = io.BytesIO(Path(path).read_bytes())
    engines = ("wand",) if "wand" in name else ImagePolicy().engines
    policy = ImagePolicy(isolate={"None": None, "False": False}[sys.argv[1]], engines=engines)
    before = len(pool._pool._idle)
    try:
        # whatever is imported and read once is
        render(io.BytesIO(file.getvalue()), [Rendition(width=20, format="png")], policy)
    except EngineUnavailableError:
        continue
    mark("/begins/" + name)
    render(file, [Rendition(width=100, format="png")], policy)
    mark("/ends/" + name)
    print(name, len(pool._pool._idle) - before)
"""


def traced(isolate: bool | None, directory: Path) -> dict[str, tuple[bool, list[str]]]:
    """Of each picture, whether a child has worked, and what was asked of the kernel while it was rendered."""
    program = shutil.which("strace")
    if program is None:
        unavailable("no strace: apt-get install strace")
    heic = (ROOT / "tests" / "images" / "quadrants.heic").read_bytes()
    for name in NAMES:
        content = {"svg": SVG.encode(), "pdf": PDF, "heic": heic}[name.rpartition(".")[2]]
        (directory / name).write_bytes(content)
    trace = directory / "trace"
    # the filter is faster, but does not show what the walls of a child refuse
    options = ["--seccomp-bpf"] if isolate is False else []
    command = [
        program,
        "-f",
        "-qq",
        *options,
        "-o",
        str(trace),
        "-e",
        f"trace={CALLS}",
        sys.executable,
        "-P",
        "-c",
        CODE,
    ]
    command += [str(isolate), *(str(directory / name) for name in NAMES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    found = {}
    for name, children in (line.split() for line in done.stdout.splitlines()):
        (begin,), (end,) = ([n for n, line in enumerate(lines) if f'"/{mark}/{name}"' in line] for mark in MARKS)
        found[name] = int(children) > 0, lines[begin + 1 : end]
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, list[str]]]:
    return traced(False, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, list[str]]]:
    return traced(None, tmp_path_factory.mktemp("apart"))


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
@pytest.mark.parametrize("place", ["here", "apart"])
@pytest.mark.parametrize("name", NAMES)
def test_rendering_opens_nothing_but_libraries_and_fonts_and_starts_nothing(
    name: str, place: str, request: pytest.FixtureRequest
) -> None:
    if "wand" in name:
        request.getfixturevalue("wand")
    has_child, within = request.getfixturevalue(place)[name]
    assert has_child == (place == "apart")
    assert [line for line in within if re.search(r" (socket|connect|bind|exec\w+|v?fork)\(", line)] == []
    opened = [match[1] for line in within if (match := re.search(r' (?:open\w*|creat)\([^"]*"([^"]*)"', line))]
    assert [path for path in opened if not is_library_or_font(path)] == []
    assert [line for line in within if re.search(r"O_(WRONLY|RDWR|CREAT)| (unlink|rename|symlink|mkdir)", line)] == []
    if name == "drawing.svg":
        assert any("NotoSans" in path for path in opened), "the trace sees what is opened"
