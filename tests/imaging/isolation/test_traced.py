"""What rendering asks of the kernel, as ``strace`` sees it: nothing is opened but libraries and named fonts, nothing is
called, nothing is started.  First without walls, so that it is the renderer's own doing, and then within them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CI = os.environ.get("CI", "").lower() in {"1", "true"}
CALLS = (
    "stat,newfstatat,open,openat,openat2,creat,socket,connect,bind,execve,execveat,fork,vfork,"
    "unlink,unlinkat,rename,symlink,mkdir"
)

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


@pytest.fixture
def strace() -> str:
    program = shutil.which("strace")
    if program is None and CI:
        pytest.fail("strace is not installed")
    if program is None:
        pytest.skip("strace is not installed")
    return program


#: The kernel's own files of this process and machine, which say nothing of others.
HARMLESS = r"/proc/(self/(statm|maps|cgroup|mountinfo|stat|task)|cpuinfo|meminfo|sys/vm)|/sys/(devices|fs)"


def is_library_or_font(path: str) -> bool:
    paths = sysconfig.get_paths()
    allowed = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], sys.base_prefix]
    allowed += ["/usr/lib", "/lib", "/etc/ld.so.cache", "/etc/ImageMagick", "/usr/share/ImageMagick"]
    allowed += [str(ROOT / "sqlalchemy_imageattach")]
    return path.startswith(tuple(allowed)) or re.match(HARMLESS, path) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
@pytest.mark.parametrize("isolate", [False, None], ids=["here", "apart"])
@pytest.mark.parametrize("name", ["drawing.svg", "page.pdf", "photo.heic", "photo-by-wand.heic"])
def test_rendering_opens_nothing_but_libraries_and_fonts_and_starts_nothing(
    name: str, isolate: bool | None, strace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "wand" in name:
        request.getfixturevalue("wand")
    source = tmp_path / name
    heic = (ROOT / "tests" / "images" / "quadrants.heic").read_bytes()
    source.write_bytes({"svg": SVG.encode(), "pdf": PDF, "heic": heic}[name.rpartition(".")[2]])
    code = f"""
import io, os, sys
from pathlib import Path
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.isolation import pool
file = io.BytesIO(Path(sys.argv[1]).read_bytes())
engines = ("wand",) if "wand" in sys.argv[1] else ImagePolicy().engines
policy = ImagePolicy(isolate={isolate}, engines=engines)
# whatever is imported and read once is
render(io.BytesIO(file.getvalue()), [Rendition(width=20, format="png")], policy)
print(*[child._process.pid for waiting in pool._pool._idle.values() for child in waiting])
try:
    os.stat("/the-picture-begins")
except OSError:
    pass
render(file, [Rendition(width=100, format="png")], policy)
try:
    os.stat("/the-picture-ends")
except OSError:
    pass
"""
    trace = tmp_path / "trace"
    done = subprocess.run(
        [strace, "-f", "-qq", "-o", trace, "-e", f"trace={CALLS}", sys.executable, "-P", "-c", code, source],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout.strip()) == (isolate is None), "a child has worked"
    lines = trace.read_text(errors="replace").splitlines()
    marks = [n for n, line in enumerate(lines) if "the-picture-" in line]
    within = [line for line in lines[marks[0] + 1 : marks[1]] if "stat(" not in line and "fstatat(" not in line]
    assert [line for line in within if re.search(r" (socket|connect|bind|exec\w+|v?fork)\(", line)] == []
    opened = [match[1] for line in within if (match := re.search(r' (?:open\w*|creat)\([^"]*"([^"]*)"', line))]
    assert [path for path in opened if not is_library_or_font(path)] == []
    assert [line for line in within if re.search(r"O_(WRONLY|RDWR|CREAT)| (unlink|rename|symlink|mkdir)", line)] == []
    if name == "drawing.svg":
        assert any("NotoSans" in path for path in opened), "the trace sees what is opened"
