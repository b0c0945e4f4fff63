"""What the documents show is run: every example of every docstring, and every block of Python in the README."""

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import seqloss_rs

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
README = Path(__file__).parents[1] / "README.md"


def modules() -> Iterator[Any]:
    """The package and all of its modules that can be imported without doing anything."""
    yield seqloss_rs
    for found in pkgutil.walk_packages(seqloss_rs.__path__, "seqloss_rs."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def examples() -> list[Any]:
    """Every docstring with an example in it, the native ones too."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for module in modules():
        for test in finder.find(module, module.__name__):
            if test.examples:
                found[test.name] = test
    return [pytest.param(test, id=name) for name, test in sorted(found.items())]


@pytest.mark.parametrize("test", examples())
def test_docstring(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(test)


def run(test: doctest.DocTest) -> None:
    """Run the examples, and show what came instead where it is something else."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def blocks() -> list[tuple[int, str]]:
    """The Python blocks of the README, with the line on which each starts."""
    text = README.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(1)) + 1, match.group(1))
        for match in re.finditer(r"^```(?:python|pycon)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other, in one namespace, as a reader types them."""
    found = blocks()
    assert found
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    for line, source in found:
        if source.lstrip().startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(source, names, f"README line {line}", str(README), line - 1)
            run(test)
            names.update(test.globs)
        else:
            exec(compile("\n" * (line - 1) + source, str(README), "exec"), names)


def test_the_readme_has_an_example_of_every_loss() -> None:
    code = "\n".join(source for _, source in blocks())
    missing = [name for name in seqloss_rs.__all__ if name.endswith("_loss") and f"{name}(" not in code]
    assert missing == []
