"""Runs other packages' own tests on the modules that stand in for them: `make peers`, or `python tests/peers/run.py`.

Each package's source distribution is fetched and unpacked into a temporary folder, where pytest runs its tests with the
package's names leading to ours. What cannot pass is left out by name, and README.md says why.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Loaded into pytest before it collects anything.
ALIASES = '''
import importlib
import importlib.util
import pkgutil
import sys

import pytest

package = importlib.import_module({module!r})
sys.modules[{name!r}] = package
for found in pkgutil.walk_packages(package.__path__, {module!r} + "."):
    sys.modules[{name!r} + found.name.removeprefix({module!r})] = importlib.import_module(found.name)
for stem, path in {own!r}.items():
    spec = importlib.util.spec_from_file_location({name!r} + "." + stem, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    setattr(package, stem, module)
    spec.loader.exec_module(module)


@pytest.fixture
def benchmark():
    """What pytest-benchmark times is called once."""
    return lambda function, *arguments: function(*arguments)
'''


@dataclass(frozen=True)
class Peer:
    """A package and its tests."""

    name: str
    version: str
    # What stands in for it.
    module: str
    # The tests in the source distribution.
    tests: tuple[str, ...]
    # Its modules that tests import and that are none of its interface.
    own: tuple[str, ...] = ()
    # Empty files that tests open, and read nothing of in those that are run.
    empty: tuple[str, ...] = ()
    # Tests that cannot pass, by a part of their names: see README.md.
    left_out: tuple[str, ...] = ()


PEERS = (
    Peer(
        "sacrebleu",
        "2.6.0",
        "seqloss_rs.compat.sacrebleu",
        tuple(
            f"test/test_{name}.py" for name in ("bleu", "chrf", "sentence_bleu", "significance", "ter", "tokenizer_ter")
        ),
    ),
    Peer("jiwer", "4.0.0", "seqloss_rs.compat.jiwer", ("tests/test_*.py",)),
    Peer(
        "rouge_score",
        "0.1.2",
        "seqloss_rs.compat.rouge_score",
        tuple(f"rouge_score/{name}_test.py" for name in ("rouge_scorer", "scoring", "tokenize", "tokenizers")),
        own=("rouge_score/test_util.py",),
        empty=tuple(
            f"rouge_score/testdata/{name}.txt" for name in ("target", "prediction", "target_large", "prediction_large")
        ),
        left_out=(
            "AgainstRouge155",
            "testRougeLsumLarge",
            "testMultipleRougeTypes and BootstrapAggregatorTest",
            "testLcsTable",
            "testUnionLcs",
            "testSummaryLevelLcs",
            "testRougeLSumSentenceSplitting",
        ),
    ),
)


def fetch(peer: Peer, folder: Path) -> Path:
    """Unpack the source distribution, and return where it is."""
    requirement = f"{peer.name}=={peer.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", peer.name, requirement]
    subprocess.run(command, cwd=folder, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def run(peer: Peer) -> int:
    """Run its tests, and return pytest's code."""
    with tempfile.TemporaryDirectory() as name:
        source = fetch(peer, Path(name))
        for path in peer.empty:
            (source / path).parent.mkdir(exist_ok=True)
            (source / path).touch()
        own = {Path(path).stem: str(source / path) for path in peer.own}
        plugin = ALIASES.format(module=peer.module, name=peer.name, own=own)
        (Path(name) / "peer_aliases.py").write_text(plugin, encoding="utf-8")
        (Path(name) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        tests = sorted({str(path) for pattern in peer.tests for path in source.glob(pattern)})
        command = [sys.executable, "-m", "pytest", "-q", "-c", str(Path(name) / "pytest.ini"), "-p", "no:cacheprovider"]
        command += ["-p", "peer_aliases", "--import-mode=importlib"]
        command += ["-k", " and ".join(f"not ({part})" for part in peer.left_out)] if peer.left_out else []
        paths = [name, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        print(f"{peer.name} {peer.version}, on {peer.module}:", flush=True)
        return subprocess.run([*command, *tests], cwd=source, env=environment, check=False).returncode


def main() -> int:
    """Run the packages that were named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="package", help="which ones; all, where none is named")
    names = parser.parse_args().names
    unknown = set(names) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"{min(unknown)} is none of {', '.join(peer.name for peer in PEERS)}")
    return max(run(peer) for peer in PEERS if not names or peer.name in names)


if __name__ == "__main__":
    raise SystemExit(main())
