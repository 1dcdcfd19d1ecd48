"""Deliberate slips (chaos/mutants): each still fits the code, and chaos catches what one of them breaks."""

from pathlib import Path

import pytest

from chaos.mutant import ROOT, Mutant, MutantError, all_mutants, check_applies, read_mutant
from chaos.mutating import judge, text_of
from chaos.running import CRASH, try_one
from chaos.simulation.cells import UNREACHED
from chaos.simulation.invariants import INVARIANTS
from chaos.simulation.workshop import Workshop
from chaos.trying import cell_of, violations_of

QUICK = "lost-reply-new-number"
UNREADABLE = """\
breaks: nothing, no Python can read it
violates: I1
seed: 7

diff --git a/chaos/__init__.py b/chaos/__init__.py
--- a/chaos/__init__.py
+++ b/chaos/__init__.py
@@ -1 +1,2 @@
 {line}
+(
"""
PATCH = """\
breaks: the second line
  is no longer there
violates: I1 I2
seed: 7
cell: S1 ledger.post.after kill

diff --git a/README.md b/README.md
--- a/README.md
+++ b/README.md
@@ -1,3 +1,2 @@
 a line that is not there
-another
 a third
"""


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda one: one.name)
def test_each_mutant_still_fits(mutant: Mutant) -> None:
    check_applies(mutant)
    assert set(mutant.violates) <= {*INVARIANTS, CRASH}
    assert mutant.trials or mutant.survives, "which seed or cell catches it, or why can none?"
    for trial in mutant.trials:
        kind, _, words = trial.partition(" ")
        assert words.isdecimal() if kind == "seed" else cell_of(words)


def test_schedules_and_cells_are_to_catch_at_least_twenty() -> None:
    caught = [mutant for mutant in all_mutants() if mutant.trials]
    assert len(caught) >= 20
    assert [mutant.name for mutant in caught if mutant.survives] == []


def test_a_slip_is_caught_by_what_the_code_as_it_is_passes(workshop: Workshop) -> None:
    mutant = next(one for one in all_mutants() if one.name.endswith(QUICK))
    [trial] = mutant.trials
    verdict = judge(mutant, schedules=0)
    assert verdict.caught_by == trial, text_of(verdict)
    assert verdict.invariant in mutant.violates
    assert violations_of(workshop, trial) == []


def test_a_point_that_is_passed_no_more_is_no_catch(workshop: Workshop) -> None:
    cell = "S6 bank.pay.after kill"
    assert [name for name, _ in try_one(workshop, cell_of(cell)).violations] == [UNREACHED]
    assert violations_of(workshop, f"cell {cell}") == []


def test_one_that_does_not_even_start_catches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "99-unreadable.patch"
    path.write_text(UNREADABLE.format(line=(ROOT / "chaos/__init__.py").read_text().rstrip()))
    with pytest.raises(MutantError, match="does not start"):
        judge(read_mutant(path), schedules=0)


def test_a_test_that_does_not_pass_without_it_catches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "99-another.patch"
    readable = UNREADABLE.replace("+(\n", "+1\n").replace("seed: 7", "test: tests/test_that_is_not_there.py")
    path.write_text(readable.format(line=(ROOT / "chaos/__init__.py").read_text().rstrip()))
    with pytest.raises(MutantError, match="fails without it"):
        judge(read_mutant(path), schedules=0)


def test_a_patch_says_what_it_breaks(tmp_path: Path) -> None:
    path = tmp_path / "99-made-up.patch"
    path.write_text(PATCH)
    mutant = read_mutant(path)
    assert mutant.breaks == "the second line is no longer there"
    assert mutant.violates == ("I1", "I2")
    assert mutant.trials == ("seed 7", "cell S1 ledger.post.after kill")
    with pytest.raises(MutantError, match="does not apply"):
        check_applies(mutant)


@pytest.mark.parametrize("wrong", ["no word of it\n", "breaks: something\n", "violates: I1\n"])
def test_one_that_does_not_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "99-made-up.patch"
    path.write_text(wrong + "\ndiff --git a/README.md b/README.md\n")
    with pytest.raises(MutantError):
        read_mutant(path)
