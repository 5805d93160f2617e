"""What the benchmarks share: test pictures, peers installed on demand, interleaved timing, and ratios.

Only ratios within one run mean anything: machines differ, and so do moments.  Candidates are therefore run in turns,
each turn in a random order, and compared by the median of their turns.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

PHOTOS = Path(__file__).parent.parent / "tests" / "images"


def require(**packages: str) -> None:
    """Install what is not importable yet: ``require(depot="filedepot>=0.12,<0.13")``."""
    missing = [requirement for module, requirement in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        install(*missing)


def install(*requirements: str) -> None:
    """Install these into the environment of the benchmarks."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *requirements], check=True)
    importlib.invalidate_caches()


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


def race(candidates: Mapping[str, Callable[[], object]], turns: int = 15) -> dict[str, tuple[float, float]]:
    """The median wall time and CPU time of each candidate, in seconds, after one turn to warm up."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for turn in range(turns + 1):
        for name in random.sample(sorted(candidates), len(candidates)):
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            candidates[name]()
            figures[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        if not turn:
            for measured in figures.values():
                measured.clear()
    return {
        name: (statistics.median(wall for wall, _ in measured), statistics.median(cpu for _, cpu in measured))
        for name, measured in figures.items()
    }


def report(title: str, figures: Mapping[str, tuple[float, float]], baseline: str) -> None:
    """Print a table in which ``baseline`` is 1."""
    print(f"\n{title}")
    print(f"{'':44}{'wall ms':>9}{'CPU ms':>9}{'wall ratio':>12}{'CPU ratio':>11}")
    for name, (wall, cpu) in figures.items():
        ratios = wall / figures[baseline][0], cpu / figures[baseline][1]
        print(f"{name:44}{wall * 1e3:9.2f}{cpu * 1e3:9.2f}{ratios[0]:12.2f}{ratios[1]:11.2f}")


def verdict(claim: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> bool:
    """Print whether ``value`` bears out ``claim``."""
    holds = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bound = f"at most {at_most}" if at_most is not None else f"at least {at_least}"
    print(f"{'holds' if holds else 'FAILS'}: {claim}: {value:.2f} ({bound})")
    return holds
