# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

import results

LOG = """\
     Running unittests src/lib.rs (target/quick/deps/tritongw_config-0a1b)

running 3 tests
test text::tests::reads_lists ... ok
test text::tests::rejects_tabs - should panic ... FAILED
test text::tests::is_slow ... ignored, takes an hour

     Running tests/golden.rs (target/quick/deps/golden-2c3d)
test canonical_json ... ok
     Running unittests src/lib.rs (target/quick/deps/stranger-4e5f)
test not_ours ... ok
   Doc-tests tritongw_config
test src/lib.rs - parse (line 3) ... ok
"""

BINARIES = {
    "tritongw_config-0a1b": results.Binary("tritongw-config", "tritongw_config", is_unit=True),
    "golden-2c3d": results.Binary("tritongw-config", "golden", is_unit=False),
}

JUNIT = """\
<testsuites><testsuite name="pytest">
<testcase classname="tests.a.test_x" name="test_one" file="tests/a/test_x.py" line="3"/>
<testcase classname="tests.a.test_x.TestY" name="test_two" file="tests/a/test_x.py" line="5">
<failure message="no">trace</failure></testcase>
<testcase classname="tests.a.test_x" name="test_p[http]" file="tests/a/test_x.py" line="9"/>
<testcase classname="tests.a.test_x" name="test_p[grpc]" file="tests/a/test_x.py" line="9">
<skipped message="no grpc"/></testcase>
</testsuite></testsuites>
"""


def test_rust_outcomes_are_named_by_package_and_path() -> None:
    assert results.rust_outcomes(LOG.splitlines(), BINARIES) == {
        "rust:tritongw-config::text::tests::reads_lists": "passed",
        "rust:tritongw-config::text::tests::rejects_tabs": "failed",
        "rust:tritongw-config::text::tests::is_slow": "skipped",
        "rust:tritongw-config::golden::canonical_json": "passed",
    }


def test_binaries_come_from_cargos_messages(tmp_path: Path) -> None:
    manifest = tmp_path / "Cargo.toml"
    manifest.write_text('[package]\nname = "tritongw-config"\n', encoding="utf-8")

    def artifact(kind: str, executable: str | None) -> str:
        return json.dumps(
            {
                "reason": "compiler-artifact",
                "manifest_path": str(manifest),
                "target": {"name": "golden", "kind": [kind]},
                "profile": {"test": True},
                "executable": executable,
            }
        )

    messages = [
        artifact("test", "target/quick/deps/golden-2c3d"),
        artifact("lib", None),
        json.dumps({"reason": "build-finished", "success": True}),
    ]
    binary = results.Binary("tritongw-config", "golden", is_unit=False)
    assert results.test_binaries(messages) == {"golden-2c3d": binary}


def test_python_outcomes_are_named_as_pytest_names_them() -> None:
    assert results.python_outcomes(JUNIT) == {
        "py:tests/a/test_x.py::test_one": "passed",
        "py:tests/a/test_x.py::TestY::test_two": "failed",
        "py:tests/a/test_x.py::test_p[http]": "passed",
        "py:tests/a/test_x.py::test_p[grpc]": "skipped",
        "py:tests/a/test_x.py::test_p": "passed",
    }


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["skipped", "passed"], "passed"),
        (["passed", "failed", "passed"], "failed"),
        (["skipped", "skipped"], "skipped"),
    ],
)
def test_the_worst_part_decides(parts: list[results.Outcome], whole: results.Outcome) -> None:
    outcomes: results.Outcomes = {}
    for part in parts:
        results.note(outcomes, "test", part)
    assert outcomes == {"test": whole}
