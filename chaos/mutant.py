"""A mutant: a deliberate slip of one or two lines, kept as a patch, and the broken checkout it makes.

Above the diff stand lines of ``name: text``; a line that begins with blanks goes on with the one above it.

breaks      what the patch breaks
violates    the invariants this should violate
seed, cell  what catches it soonest: ``seed: 7``, ``cell: S1 ledger.post.after kill`` (any number of lines)
test        the test that catches it where schedules cannot, as pytest names it
survives    why no schedule can catch it: which second line of defence holds
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = Path(__file__).resolve().parent / "mutants"
NEEDED: Final = ("agent", "app", "chaos", "deploy", "migrations", "sandbox", "tests", "pyproject.toml")
"""What a broken checkout is made of."""
NAMES: Final = ("breaks", "violates", "seed", "cell", "test", "survives")
_LINE: Final = re.compile(r"([a-z]+): +(.+)")


class MutantError(Exception):
    """A patch that cannot be read or no longer applies."""


@dataclass(frozen=True)
class Mutant:
    """One patch. ``trials`` are its hints as chaos.trying takes them."""

    name: str
    path: Path
    breaks: str
    violates: tuple[str, ...]
    trials: tuple[str, ...]
    test: str = ""
    survives: str = ""


def read_mutant(path: Path) -> Mutant:
    """Read a patch's own lines. Raises MutantError."""
    head, found, _ = path.read_text(encoding="utf-8").partition("diff --git ")
    if not found:
        raise MutantError(f"{path.name} holds no diff")
    told: list[tuple[str, str]] = []
    for line in filter(str.strip, head.splitlines()):
        matched = _LINE.fullmatch(line)
        if matched is not None and matched[1] in NAMES:
            told.append((matched[1], matched[2]))
        elif line.startswith(" ") and told:
            told[-1] = (told[-1][0], f"{told[-1][1]} {line.strip()}")
        else:
            raise MutantError(f"{path.name}: {line!r} is none of {', '.join(NAMES)}")
    words = dict(told)
    if not words.get("breaks") or not words.get("violates"):
        raise MutantError(f"{path.name} does not say what it breaks and violates")
    return Mutant(
        name=path.stem,
        path=path,
        breaks=words["breaks"],
        violates=tuple(words["violates"].split()),
        trials=tuple(f"{name} {text}" for name, text in told if name in ("seed", "cell")),
        test=words.get("test", ""),
        survives=words.get("survives", ""),
    )


def all_mutants() -> list[Mutant]:
    """Every mutant there is, by name. Raises MutantError."""
    return [read_mutant(path) for path in sorted(FOLDER.glob("*.patch"))]


def check_applies(mutant: Mutant, checkout: Path = ROOT) -> None:
    """Raises MutantError where the patch does not fit the checkout as it stands."""
    _apply(mutant, checkout, "--check")


@contextmanager
def broken_checkout(mutant: Mutant | None) -> Iterator[Path]:
    """A copy of this checkout with the patch applied, None: without one; gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        checkout = Path(folder).resolve()
        for name in NEEDED:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "vendor")
                )
            else:
                shutil.copy(ROOT / name, checkout / name)
        if mutant is not None:
            _apply(mutant, checkout)
        yield checkout


def _apply(mutant: Mutant, checkout: Path, *options: str) -> None:
    done = subprocess.run(
        ["git", "apply", *options, str(mutant.path)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MutantError(f"{mutant.name} does not apply: {done.stderr.strip()}")
