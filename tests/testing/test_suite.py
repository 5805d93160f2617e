"""The contract as a class of tests: pytest is run on files as users write them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from sqlalchemy_imageattach.testing import Capabilities
from sqlalchemy_imageattach.testing.contract import all_rules

HEAD = """
    from __future__ import annotations
    import pytest
    from sqlalchemy_imageattach.stores.fs import FileSystemStore
    from sqlalchemy_imageattach.stores.memory import MemoryStore
    from sqlalchemy_imageattach.testing import Capabilities, StoreContract
"""


def _run(tmp_path: Path, tests: str) -> tuple[int, str]:
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(HEAD) + textwrap.dedent(tests))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rsf", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_ADDOPTS": "", "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_each_rule_is_a_test_of_its_own(tmp_path: Path) -> None:
    code, output = _run(
        tmp_path,
        """
        class TestMine(StoreContract):
            large = 400_000
            capabilities = Capabilities(never_overwrites=True, tells_deletions=True, lists=True, pickles=True)

            @pytest.fixture
            def store(self, tmp_path):
                return FileSystemStore(tmp_path, "https://images.example.com/", fsync=False)
        """,
    )
    assert code == 0, output
    # the others are about what is not said
    said = {"never_overwrites", "tells_deletions", "lists", "pickles", "revisions", None}
    assert f"{sum(rule.needs in said for rule in all_rules())} passed" in output


def test_a_broken_rule_fails_its_test_with_the_violation(tmp_path: Path) -> None:
    code, output = _run(
        tmp_path,
        """
        class Broken(MemoryStore):
            def get_url(self, *args, **kwargs):
                return "the same for all"

        class TestMine(StoreContract):
            large = 400_000

            @pytest.fixture
            def store(self):
                return Broken()
        """,
    )
    assert code == 1
    assert "2 failed" in output
    assert "ContractError: Broken.get_url: gives different blobs different URLs: expected a URL for each" in output


def test_a_fixture_of_several_stores_makes_a_test_of_each_rule_for_each(tmp_path: Path) -> None:
    code, output = _run(
        tmp_path,
        """
        @pytest.fixture(params=[MemoryStore, MemoryStore])
        def store(request):
            return request.param()

        class TestMine(StoreContract):
            large = 400_000

            def test_of_my_own(self, store):
                assert store
        """,
    )
    assert code == 0, output
    rules = [rule for rule in all_rules() if rule.applies_to(Capabilities())]
    assert f"collected {2 * (len(rules) + 1)} items" in output


def test_it_can_be_imported_without_pytest() -> None:
    script = "import sys; sys.modules['pytest'] = None; from sqlalchemy_imageattach.testing import StoreContract"
    subprocess.run([sys.executable, "-c", script], check=True)
