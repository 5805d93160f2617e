"""One table of all jobs that were measured, from what :mod:`harness` has kept, and the same for programs.

``scripts/bench`` runs it last: ``summary.py RESULTS [JSON]``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: What the figures depend on.
PACKAGES = (
    "SQLAlchemy-ImageAttach",
    "SQLAlchemy",
    "Pillow",
    "cykooz.resizer",
    "pyvips",
    "pyvips-binary",
    "Wand",
    "filedepot",
    "sqlalchemy-file",
    "advanced-alchemy",
    "sorl-thumbnail",
    "easy-thumbnails",
    "obstore",
    "numpy",
    "ssimulacra2",
)


def versions() -> dict[str, str]:
    """Those of the packages that are installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What it was measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "load": load,
    }


def table(jobs: Sequence[Mapping[str, Any]]) -> str:
    """One line for each candidate of each job."""
    lines = [f"{'':46}{'wall ms':>10}{'CPU ms':>10}{'±':>6}{'turns':>7}{'ratio':>8}"]
    for job in jobs:
        by, baseline = job["by"], job["candidates"][job["baseline"]]
        clock = ", by the clock" if by == "wall" else ""
        lines += ["", f"{job['job']}  [{job['benchmark'].removeprefix('bench_')}{clock}]"]
        for name, row in sorted(job["candidates"].items(), key=lambda item: item[1][by]):
            ratio = row[by] / baseline[by] if baseline[by] else 0.0
            lines.append(
                f"  {name:44}{row['wall'] * 1e3:10.2f}{row['cpu'] * 1e3:10.2f}{row['spread']:6.0%}{row['turns']:7}"
                f"{ratio:8.2f}"
            )
    return "\n".join(lines)


def main(results: str, target: str | None = None) -> int:
    """Print the table, the bounds that were missed and the benchmarks that failed; 1 if there are any."""
    records = [json.loads(line) for line in Path(results).read_text(encoding="utf-8").splitlines()]
    jobs = [record for record in records if "job" in record]
    claims = [record for record in records if "claim" in record]
    here = machine()
    print(f"\n{here['system']}, {here['cores']} cores, Python {here['python']}; load {here['load']}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print("Medians of interleaved turns; ± is the median distance from them; ratios are of CPU time, or as is said.\n")
    print(table(jobs))
    missed = [claim for claim in claims if not claim["holds"]]
    failed = [record["failed"] for record in records if "failed" in record]
    print(f"\n{len(claims) - len(missed)} of {len(claims)} bounds hold")
    for claim in missed:
        bound = f"at most {claim['at_most']}" if claim["at_most"] is not None else f"at least {claim['at_least']}"
        print(f"FAILS: {claim['claim']}: {claim['value']:.2f} ({bound})  [{claim['benchmark']}]")
    for benchmark in failed:
        print(f"FAILS: {benchmark} ended with an error, so that jobs of its may be missing")
    if target:
        document = {"machine": here, "versions": versions(), "jobs": jobs, "bounds": claims, "failed": failed}
        Path(target).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
