# SPDX-License-Identifier: Apache-2.0
"""Checks that no compiler or linter makes: licence lines, crate heads, names, pure crates, prose.

Errors fail; the size of a file only makes a warning, a question for its reader.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
LICENCE = "SPDX-License-Identifier: Apache-2.0"
WIDTH = 100

SOURCE = {".rs", ".py", ".pyi", ".proto", ".c", ".h", ".sh"}
TEXT = SOURCE | {".md", ".toml", ".txt", ".pbtxt", ".yml", ".yaml", ""}
GENERATED = re.compile(r"(^|/)(generated|testdata)/|Cargo\.lock$|^LICENSE$")

# Inputs of fuzz targets: any bytes, and no file is better for a licence line.
SEEDS = "testdata/fuzz/"

# Lines of code above which a reader asks why.
SIZE_LIMITS = {".rs": 350, ".py": 500}

BANNED_WORDS = {"job", "runner"}
RUST_PUBLIC = re.compile(
    r"\s*pub (?:(?:unsafe|async|const|extern \"C\") )*"
    r"(?:fn|struct|enum|trait|type|mod|const|static) (\w+)"
)
PYTHON_PUBLIC = re.compile(r"(?:    )?(?:async )?(?:def|class) ([A-Za-z]\w*)")
PUBLIC = {".rs": RUST_PUBLIC, ".py": PYTHON_PUBLIC, ".pyi": PYTHON_PUBLIC}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# Crates that are functions of their arguments: no clock, no files, no threads, no network.
PURE = re.compile(r"rust/(types|config|scheduler)/src/")
IMPURE = re.compile(r"std::(fs|net|thread|process|env|time::(Instant|SystemTime))\b|parking_lot::")

# A path of one machine, or the address of a package registry, in a file for all machines. These
# patterns are put together so that they do not match themselves.
HOMES = "|".join(["work", "farm", "root", r"home/\w+", r"Users/\w+"])
MACHINE_PATH = re.compile(rf"(?:^|[^\w./~$}}>-])/(?:{HOMES})/")
REGISTRIES = "|".join([r"pythonhosted\.org", r"pypi\.org/simple", r"(static|index)\.crates\.io"])
REGISTRY = re.compile(f"//[a-z.]*({REGISTRIES})")

NOTE = re.compile("TO" + r"DO(?!\(#\d+\))")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


class Finding(NamedTuple):
    """Something to mend, at a line of a file; a warning does not fail."""

    line: int
    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class File:
    """A text file of the tree; its path is relative to the root."""

    path: PurePosixPath
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.splitlines()

    @property
    def is_generated(self) -> bool:
        """Whether a tool wrote it, or its bytes are test data."""
        return bool(GENERATED.search(str(self.path)))

    @property
    def is_test(self) -> bool:
        """Whether it is test code."""
        return "tests" in self.path.parts or self.path.name == "tests.rs"

    def code_before_tests(self) -> list[str]:
        """Return the lines up to the inline test module, if there is one."""
        return self.text.partition("#[cfg(test)]\nmod ")[0].splitlines()


def licence_line(file: File) -> Iterator[Finding]:
    """Find source files that do not begin with their licence, after the interpreter line."""
    is_source = file.path.suffix in SOURCE or file.text.startswith("#!")
    if is_source and file.text and not any(LICENCE in line for line in file.lines[:2]):
        yield Finding(1, f"expected '{LICENCE}' first")


def crate_head(file: File) -> Iterator[Finding]:
    """Find crates that do not say what they own before their first item."""
    if file.path.name not in {"lib.rs", "main.rs"} or "src" not in file.path.parts:
        return
    first = next((line for line in file.lines if line and not line.startswith("// ")), "")
    if first and not first.startswith("//!"):
        yield Finding(1, "expected a '//!' head: what the crate owns")


def public_names(file: File) -> Iterator[Finding]:
    """Find public names that do not use the project's words for things."""
    pattern = {".rs": RUST_PUBLIC, ".py": PYTHON_PUBLIC, ".pyi": PYTHON_PUBLIC}.get(
        file.path.suffix
    )
    if pattern is None or file.is_test:
        return
    for number, line in enumerate(file.lines, 1):
        if found := pattern.match(line):
            words = {word.lower() for word in WORD.findall(found[1])}
            for word in words & BANNED_WORDS:
                yield Finding(number, f"'{word}' in the public name '{found[1]}'")


def file_size(file: File) -> Iterator[Finding]:
    """Find long files."""
    limit = SIZE_LIMITS.get(file.path.suffix)
    if limit is None or file.is_test:
        return
    comments = ("//", "#")
    code = [line for line in file.code_before_tests() if line.strip()]
    n_lines = sum(not line.lstrip().startswith(comments) for line in code)
    if n_lines > limit:
        yield Finding(1, f"{n_lines} lines of code, more than {limit}", is_warning=True)


def purity(file: File) -> Iterator[Finding]:
    """Find what the crates that only think must take as arguments: time, files, threads."""
    if not PURE.match(str(file.path)) or file.is_test or file.path.suffix != ".rs":
        return
    for number, line in enumerate(file.code_before_tests(), 1):
        if not line.lstrip().startswith("//") and (found := IMPURE.search(line)):
            yield Finding(number, f"'{found[0]}' in a crate that must stay pure")


def one_machine(file: File) -> Iterator[Finding]:
    """Find what holds on one machine only."""
    for number, line in enumerate(file.lines, 1):
        if MACHINE_PATH.search(line):
            yield Finding(number, "a path of one machine")
        if REGISTRY.search(line):
            yield Finding(number, "the address of a package registry")


def text_form(file: File) -> Iterator[Finding]:
    """Find blanks at the ends of lines and files, and notes that name no issue."""
    if file.text and (not file.text.endswith("\n") or file.text.endswith("\n\n")):
        yield Finding(len(file.lines), "expected one newline at the end")
    for number, line in enumerate(file.lines, 1):
        if line != line.rstrip():
            yield Finding(number, "blanks at the end of the line")
        if file.path.suffix in SOURCE and NOTE.search(line):
            yield Finding(number, "expected the number of an issue behind this note")


def markdown(file: File) -> Iterator[Finding]:
    """Find pages without a title, long lines of prose and links that lead nowhere."""
    if file.path.suffix != ".md":
        return
    if not file.text.startswith("# "):
        yield Finding(1, "expected a title")
    is_code = False
    for number, line in enumerate(file.lines, 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        if is_code:
            continue
        if len(line) > WIDTH and not line.lstrip().startswith("|") and "](" not in line:
            yield Finding(number, f"longer than {WIDTH} columns")
        for target in LINK.findall(line):
            if not (ROOT / file.path.parent / target).exists():
                yield Finding(number, f"no such file: '{target}'")


CHECKS: list[Callable[[File], Iterator[Finding]]] = [
    licence_line,
    crate_head,
    public_names,
    file_size,
    purity,
    one_machine,
    text_form,
    markdown,
]


def findings(file: File) -> list[Finding]:
    """Return what all checks say of a file, in the order of its lines."""
    if file.is_generated:
        return []
    return sorted(finding for check in CHECKS for finding in check(file))


def tree() -> Iterator[File]:
    """Yield the text files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    for name in sorted(filter(None, listing.stdout.split("\0"))):
        path = ROOT / name
        if path.suffix in TEXT and SEEDS not in name and path.is_file():
            yield File(PurePosixPath(name), path.read_text(encoding="utf-8"))


def main() -> int:
    """Print the findings of the whole tree and return the exit status."""
    n_errors = 0
    for file in tree():
        for finding in findings(file):
            kind = "warning" if finding.is_warning else "error"
            print(f"{file.path}:{finding.line}: {kind}: {finding.text}", file=sys.stderr)
            n_errors += not finding.is_warning
    return 1 if n_errors else 0


if __name__ == "__main__":
    sys.exit(main())
