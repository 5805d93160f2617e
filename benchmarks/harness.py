"""What the benchmarks share: test pictures, peers installed on demand, interleaved timing, and ratios.

Only ratios within one run mean anything: machines differ, and so do moments.  Candidates are therefore run in turns,
each turn in a random order, and compared by the median of their turns.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from PIL import Image

PHOTOS = Path(__file__).parent.parent / "tests" / "images"
CACHE = Path(__file__).parent.parent / "var" / "photographs"


def require(**packages: str) -> None:
    """Install what is not importable yet: ``require(depot="filedepot>=0.12,<0.13")``."""
    missing = [requirement for module, requirement in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        install(*missing)


def install(*requirements: str) -> None:
    """Install these into the environment of the benchmarks."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *requirements], check=True)
    importlib.invalidate_caches()


def try_require(**packages: str) -> bool:
    """The same for a peer that may not be to be had here: whether it is there."""
    try:
        require(**packages)
    except subprocess.CalledProcessError:
        print(f"not here: {', '.join(packages.values())}")
        return False
    return True


def peak_memory() -> float:
    """The peak memory of this process so far, in MiB.  Not ru_maxrss: a child inherits that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def photograph(width: int, height: int, quality: int = 90) -> bytes:
    """A JPEG with the detail and the weight of a camera's, made from a real photograph and some grain."""
    source = min((path for path in PHOTOS.glob("*.jp*g")), key=lambda path: path.name)
    with Image.open(source) as picture:
        large = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    grain = Image.effect_noise((width, height), 24).convert("RGB")
    target = io.BytesIO()
    Image.blend(large, grain, 0.12).save(target, "JPEG", quality=quality)
    return target.getvalue()


#: Packages of Debian's, and where in them photographs are: their other pictures are drawn.
PACKAGES = {
    "lomiri-wallpapers-16.04": "*.jpg",
    "lomiri-wallpapers-20.04": "*.jpg",
    "mate-backgrounds": "nature/*.jpg",
    "plasma-workspace-wallpapers": "2560x1600.jpg",
}
DRAWINGS = {"Painting-Colors", "Infinite-Sea", "Fossa", "analogpattern", "Picture_0B", "Picture_1A"}
DRAWINGS |= {"DarkestHour", "Grey", "summer_1am"}


def photographs() -> dict[str, bytes]:
    """Real photographs as people take them, of 1.3 to 20 megapixels, by their names; from packages of Debian's.

    Where these cannot be had, the small ones of the tests stand in.
    """
    found: dict[str, Path] = {}
    for package, pattern in PACKAGES.items():
        directory = CACHE / package
        if not directory.is_dir() and shutil.which("apt-get"):
            directory.mkdir(parents=True)
            command = f"apt-get download -qq {package} && dpkg-deb -x {package}_*.deb . && rm {package}_*.deb"
            subprocess.run(command, shell=True, cwd=directory, capture_output=True)
        for path in sorted(directory.rglob(pattern)):
            named = path.parents[2] if path.stem[0].isdigit() else path
            found[named.stem.partition("_by_")[0]] = path
    if not found:
        print("Debian's photographs cannot be had here: those of the tests stand in")
        found = {path.stem: path for path in sorted(PHOTOS.glob("*.jpg"))}
    return {name: path.read_bytes() for name, path in found.items() if name not in DRAWINGS}


class Figure(NamedTuple):
    """What a candidate took in the median of its turns.

    :param wall: seconds by the clock
    :param cpu: seconds of all processors
    :param spread: half of the turns are within so much of the median CPU time, as a fraction of it
    :param turns: how many there were
    """

    wall: float
    cpu: float
    spread: float = 0.0
    turns: int = 0


def race(candidates: Mapping[str, Callable[[], object]], turns: int = 15) -> dict[str, Figure]:
    """The figures of each candidate, after one turn to warm up."""
    figures: dict[str, list[Figure]] = {name: [] for name in candidates}
    for turn in range(turns + 1):
        for name in random.sample(sorted(candidates), len(candidates)):
            gc.collect()
            figures[name].append(once(candidates[name]))
        if not turn:
            for measured in figures.values():
                measured.clear()
    return {name: median(measured) for name, measured in figures.items()}


def median(measured: Sequence[Figure]) -> Figure:
    """What is in the middle of several turns."""
    cpu = statistics.median(each.cpu for each in measured)
    spread = statistics.median(abs(each.cpu - cpu) for each in measured) / cpu if cpu else 0.0
    return Figure(statistics.median(each.wall for each in measured), cpu, spread, len(measured))


def once(work: Callable[[], object]) -> Figure:
    """What it takes where it takes too long, or changes too much, to be done in turns."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Figure(time.perf_counter() - wall, time.process_time() - cpu, turns=1)


def report(title: str, figures: Mapping[str, Figure], baseline: str, *, by: str = "cpu") -> None:
    """Print a table in which ``baseline`` is 1, and keep it for the one table of all jobs.

    That compares them by the CPU time; ``by="wall"`` where another process, or a disk, does most of it.
    """
    print(f"\n{title}")
    print(f"{'':44}{'wall ms':>9}{'CPU ms':>9}{'±':>6}{'wall ratio':>12}{'CPU ratio':>11}")
    for name, figure in figures.items():
        wall, cpu = (ratio(figure, figures[baseline], column) for column in ("wall", "cpu"))
        print(f"{name:44}{figure.wall * 1e3:9.2f}{figure.cpu * 1e3:9.2f}{figure.spread:6.0%}{wall:12.2f}{cpu:11.2f}")
    rows = {name: figure._asdict() for name, figure in figures.items()}
    _keep({"job": title, "baseline": baseline, "by": by, "candidates": rows})


def ratio(figure: Figure, baseline: Figure, column: str) -> float:
    """One column in times of the other's; 0 where that is too short to be measured."""
    least: float = getattr(baseline, column)
    return float(getattr(figure, column)) / least if least else 0.0


def verdict(claim: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> bool:
    """Print whether ``value`` bears out ``claim``."""
    value = float(value)  # numpy's are no JSON
    holds = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bound = f"at most {at_most}" if at_most is not None else f"at least {at_least}"
    print(f"{'holds' if holds else 'FAILS'}: {claim}: {value:.2f} ({bound})")
    _keep({"claim": claim, "value": value, "at_most": at_most, "at_least": at_least, "holds": holds})
    return holds


def _fails(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Jobs may be missing from the table: it says why."""
    _keep({"failed": Path(sys.argv[0]).stem})
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _fails


def _keep(record: Mapping[str, object]) -> None:
    """For :mod:`summary`, where ``scripts/bench`` has asked for it."""
    path = os.environ.get("BENCH_RESULTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"benchmark": Path(sys.argv[0]).stem, **record}, ensure_ascii=False) + "\n")
