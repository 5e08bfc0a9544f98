# SPDX-License-Identifier: Apache-2.0
from pathlib import PurePosixPath

import pytest

import tidy

LICENCE = "// SPDX-License-Identifier: Apache-2.0\n"


def texts(path: str, text: str) -> list[str]:
    return [finding.text for finding in tidy.findings(tidy.File(PurePosixPath(path), text))]


def test_a_clean_file_has_no_findings() -> None:
    assert texts("rust/types/src/lib.rs", LICENCE + "//! Owns the words.\n\npub mod shape;\n") == []


@pytest.mark.parametrize(
    "path", ["rust/http/src/route.rs", "python/tritongw/x.py", "protos/a.proto"]
)
def test_source_without_a_licence_line_is_reported(path: str) -> None:
    assert texts(path, "x\n") == ["expected 'SPDX-License-Identifier: Apache-2.0' first"]


def test_a_script_has_its_licence_after_the_interpreter() -> None:
    script = "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\n"
    assert texts(".ci/run", script) == []
    assert texts(".ci/run", "#!/usr/bin/env bash\n") == [
        "expected 'SPDX-License-Identifier: Apache-2.0' first"
    ]


def test_a_crate_without_a_head_is_reported() -> None:
    assert texts("rust/http/src/lib.rs", LICENCE + "pub mod route;\n") == [
        "expected a '//!' head: what the crate owns"
    ]
    assert texts("rust/http/src/route.rs", LICENCE + "pub mod x;\n") == []


@pytest.mark.parametrize(
    ("path", "line", "word", "name"),
    [
        ("rust/engine/src/a.rs", "pub struct JobQueue;", "job", "JobQueue"),
        ("rust/engine/src/a.rs", "    pub async fn next_job() {}", "job", "next_job"),
        ("python/tritongw/a.py", "class ModelRunner:", "runner", "ModelRunner"),
    ],
)
def test_banned_words_in_public_names_are_reported(
    path: str, line: str, word: str, name: str
) -> None:
    text = f"# {tidy.LICENCE}\n{line}\n"
    assert texts(path, text) == [f"'{word}' in the public name '{name}'"]


@pytest.mark.parametrize("line", ["fn job() {}", "pub struct Jobless;", "pub fn f(job: u8) {}"])
def test_private_names_and_longer_words_pass(line: str) -> None:
    assert texts("rust/engine/src/a.rs", f"{LICENCE}{line}\n") == []


def test_a_long_file_is_a_warning_and_its_tests_do_not_count() -> None:
    code = LICENCE + "fn f() {}\n" * 351
    (finding,) = tidy.findings(tidy.File(PurePosixPath("rust/http/src/a.rs"), code))
    assert finding == tidy.Finding(1, "351 lines of code, more than 350", is_warning=True)
    tests = "#[cfg(test)]\nmod tests {\n" + "    fn f() {}\n" * 351 + "}\n"
    assert texts("rust/http/src/a.rs", LICENCE + tests) == []


@pytest.mark.parametrize("use", ["std::fs::read", "std::time::Instant", "std::thread::spawn"])
def test_pure_crates_may_not_reach_out(use: str) -> None:
    text = f"{LICENCE}use {use};\n"
    (finding,) = texts("rust/scheduler/src/a.rs", text)
    assert finding.endswith("in a crate that must stay pure")
    assert texts("rust/engine/src/a.rs", text) == []
    assert texts("rust/scheduler/src/a/tests.rs", text) == []
    assert texts("rust/scheduler/src/a.rs", f"{LICENCE}// not {use}\n") == []


@pytest.mark.parametrize("place", ["work/main", "root/x", "home/ada/x", "Users/ada/x"])
def test_paths_of_one_machine_are_reported(place: str) -> None:
    assert texts("docs/a.md", f"# A\n\nsee /{place}\n") == ["a path of one machine"]


@pytest.mark.parametrize(
    "text", ["target/work/x", "~/work/x", "${ROOT}/work/x", "https://a.b/work/"]
)
def test_paths_below_something_else_pass(text: str) -> None:
    assert texts("docs/a.md", f"# A\n\n{text}\n") == []


def test_addresses_of_registries_are_reported() -> None:
    assert texts("docs/a.md", "# A\n\nhttps:/" + "/pypi.org/simple/x\n") == [
        "the address of a package registry"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "expected one newline at the end"),
        ("a\n\n", "expected one newline at the end"),
        ("a \n", "blanks at the end of the line"),
    ],
)
def test_the_form_of_text_is_checked(text: str, expected: str) -> None:
    assert texts("a.toml", text) == [expected]


def test_a_note_names_its_issue() -> None:
    note = "// TO" + "DO"
    assert texts("rust/http/src/a.rs", f"{LICENCE}{note}(#12): x\n") == []
    assert texts("rust/http/src/a.rs", f"{LICENCE}{note}: x\n") == [
        "expected the number of an issue behind this note"
    ]


def test_markdown_has_a_title_short_lines_and_links_that_lead_somewhere() -> None:
    long = "word " * 21 + "end"
    assert texts("docs/a.md", f"# A\n\n{long}\n") == ["longer than 100 columns"]
    assert texts("docs/a.md", f"# A\n\n```\n{long}\n```\n\n| {long} |\n") == []
    assert texts("docs/a.md", "text\n") == ["expected a title"]
    assert texts("docs/a.md", "# A\n\n[x](../README.md) [y](https://a.b/c) [z](#a)\n") == []
    assert texts("docs/a.md", "# A\n\n[x](missing.md)\n") == ["no such file: 'missing.md'"]


def test_generated_files_are_left_alone() -> None:
    assert texts("rust/protocol/src/generated/inference.rs", "pub struct Job;  ") == []
