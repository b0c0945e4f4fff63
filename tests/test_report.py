"""The page that `seqloss report` makes: what is on it, and what never gets on it."""

import csv
import html.parser
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from seqloss_rs.cli import main
from seqloss_rs.cli.svg import heat_map, histogram, round_ticks, scatter, short

Program = Callable[..., tuple[int, str]]

VOID = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)><a href=javascript:alert(3)>&lt;\x1b[31m\u202e"


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    """The program, in this process: its exit status and what it says of an error."""

    def run(*arguments: object) -> tuple[int, str]:
        status = main([str(argument) for argument in arguments])
        return status, capfd.readouterr().err

    return run


class Page(html.parser.HTMLParser):
    """A page, read strictly: every element that opens closes in its turn."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(path.read_text("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice"
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def has(self, *words: str) -> None:
        for word in words:
            assert word in self.text, f"{word!r} is not on the page"


ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "footer", "div", "figure"),
    *("figcaption", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "mark", "del", "ins"),
    *("svg", "rect", "circle", "line", "text"),
}


def check_page(path: Path) -> Page:
    """Read a page and check what holds for every one: it is whole, runs nothing and refers to nothing."""
    page = Page(path)
    assert set(page.tags) <= ALLOWED
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), f"{tag} has {name}"
        assert name not in ("href", "src", "srcset", "action", "style", "xlink:href"), f"{tag} has {name}"
        assert "url(" not in value
        assert "://" not in value or tag == "text"
    styles = "".join(page.styles)
    assert "url(" not in styles
    assert "@import" not in styles
    assert "prefers-color-scheme: dark" in styles
    content = path.read_text("utf-8")
    assert content.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in content
    assert all(letter.isprintable() or letter == "\n" for letter in content)
    assert page.tags.count("title") >= 1
    headers = [tag for tag in page.tags if tag == "th"]
    scopes = [value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")]
    assert len(headers) == len(scopes)
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == page.tags.count("svg")
    assert all(labels)
    return page


CLASSES = ["", "a", "b", "c", " "]
PATHS = [[1, 0, 2, 2, 0, 2], [3, 3, 4, 1], [0, 1], [2, 0, 1, 1, 0, 3, 0, 2]]
LABELS = [[1, 2, 2], [3, 1], [1, 1], [2, 1, 3]]


def save_emissions(path: Path, **changes: Any) -> None:
    """An archive of four lines: one is misread, one cannot be aligned."""
    logits = [np.float32(5.0) * np.eye(5, dtype=np.float32)[steps] for steps in PATHS]
    arrays: dict[str, Any] = {
        "logits": np.concatenate(logits),
        "logits_offsets": np.cumsum([0, *map(len, logits)]),
        "targets": np.concatenate(LABELS),
        "target_lengths": np.array([len(labels) for labels in LABELS]),
        "classes": np.array(CLASSES),
    }
    np.savez(path, **{**arrays, **changes})


def test_a_report_of_ctc_shows_the_losses_the_texts_and_the_emissions(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    save_emissions(data)
    assert program("score", "ctc", data, "-o", lines) == (0, "")
    assert program("report", lines, "-o", report) == (0, "")
    page = check_page(report)
    page.has(
        "CTC loss", "Distribution of the loss", "Loss against length", "Worst samples", "infinite 1", "∞", "samples 4"
    )
    page.has("Emissions of the worst lines", "most likely class", "blank", "record 2 of")
    assert page.tags.count("svg") == 2 + 4
    assert page.tags.count("tr") == 1 + 4
    # A dot for the best path in each frame.
    assert page.attributes.count(("circle", "class", "path")) == sum(map(len, PATHS)) + 4
    assert page.attributes.count(("circle", "class", "point")) == 3
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    for row in rows:
        page.has(row["text"] if row["text"] == row["target"] else row["text"][:1])


def test_the_number_of_rows_and_pictures_is_chosen(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    save_emissions(data)
    program("score", "ctc", data, "-o", lines)
    assert program("report", lines, "-o", report, "--worst", 1, "--emissions", 2) == (0, "")
    page = check_page(report)
    assert (page.tags.count("tr"), page.tags.count("svg")) == (2, 4)
    assert program("report", lines, "-o", report, "--worst", 0, "--emissions", 0) == (0, "")
    page = check_page(report)
    assert (page.tags.count("tr"), page.tags.count("svg")) == (0, 2)


def test_lines_in_csv_give_the_same_page(program: Program, tmp_path: Path) -> None:
    save_emissions(tmp_path / "data.npz")
    pages = []
    for suffix in ("jsonl", "csv"):
        lines = tmp_path / f"out.{suffix}"
        program("score", "ctc", tmp_path / "data.npz", "-o", lines)
        assert program("report", lines, "-o", tmp_path / "report.html") == (0, "")
        pages.append((tmp_path / "report.html").read_text("utf-8").replace(lines.name, "out"))
    assert pages[0] == pages[1]


def test_the_data_is_looked_for_where_it_is_said_to_be(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, moved, lines, report = (Path(name) for name in ("data.npz", "moved/data.npz", "out.jsonl", "report.html"))
    save_emissions(data)
    program("score", "ctc", data, "-o", lines)
    moved.parent.mkdir()
    data.rename(moved)
    assert program("report", lines, "-o", report) == (0, "")
    page = check_page(report)
    page.has("The emissions of data.npz are not shown: there is no such file; --data says where it is.")
    assert page.tags.count("svg") == 2
    assert program("report", lines, "-o", report, "--data", moved) == (0, "")
    assert check_page(report).tags.count("svg") == 6
    # Beside the lines, wherever both have gone.
    lines.rename(moved.parent / "out.jsonl")
    monkeypatch.chdir("/")
    assert program("report", tmp_path / "moved/out.jsonl", "-o", tmp_path / report) == (0, "")
    assert check_page(tmp_path / report).tags.count("svg") == 6


def test_data_that_has_changed_is_not_shown_as_what_was_scored(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    save_emissions(data)
    program("score", "ctc", data, "-o", lines)
    save_emissions(data, logits=np.zeros((20, 5)))
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("are not shown", "the data is not what was scored")
    save_emissions(data, logits_offsets=np.array([0, 20]), target_lengths=np.array([10]))
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("are not shown")
    data.write_text("PK no archive")
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("are not shown", "is not a whole .npz")


def test_emissions_are_drawn_with_the_options_that_scored_them(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    random = np.random.default_rng(0)
    scores = np.log(random.dirichlet(np.ones(4), size=(6, 2)))
    np.savez(data, logits=scores, targets=np.array([[0, 1], [2, 2]]), input_lengths=np.array([6, 5]))
    flags = ["--layout", "TNC", "--blank", 3, "--scores", "log_probs"]
    assert program("score", "ctc", data, *flags, "-o", lines) == (0, "")
    assert program("report", lines, "-o", report) == (0, "")
    page = check_page(report)
    assert page.attributes.count(("circle", "class", "path")) == 6 + 5 + 2
    assert "not shown" not in page.text
    # Classes without a text of their own are shown by their numbers.
    page.has("blank")


def test_texts_are_compared_with_what_they_should_be(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.jsonl", tmp_path / "out.jsonl", tmp_path / "report.html"
    rows = [
        {"hypothesis": "the cat sat", "reference": "the cat sits"},
        {"hypothesis": "one", "references": ["one two", "another reference"]},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    program("score", "bleu", data, "-o", lines)
    assert program("report", lines, "-o", report) == (0, "")
    page = check_page(report)
    page.has("BLEU loss", "another reference", "hypothesis", "reference")
    assert page.tags.count("svg") == 2
    assert "<del>two</del>" in report.read_text("utf-8")
    assert "<mark>sits</mark><mark>sat</mark>" in report.read_text("utf-8")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_nothing_of_the_files_becomes_markup(suffix: str, program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "<b>&"
    folder.mkdir()
    data, lines, report = folder / "x\"'<script>.jsonl", folder / f"<i>.{suffix}", tmp_path / "report.html"
    row = {"hypothesis": HOSTILE, "reference": HOSTILE[3:], HOSTILE: HOSTILE, "target": HOSTILE, "text": HOSTILE}
    data.write_text(json.dumps(row) + "\n")
    assert program("score", "rouge", data, "-o", lines) == (0, "")
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("<script>alert(1)</script>", "\\x1b[31m", "\\u202e")


def test_hostile_classes_and_hostile_lines_are_escaped(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    save_emissions(data, classes=np.array(["", "<script>", "</text>", '"', HOSTILE]))
    assert program("score", "ctc", data, "-o", lines) == (0, "")
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("<script>")
    fields = {"file": HOSTILE, "record": HOSTILE, "index": [HOSTILE], "function": "ctc_loss", "length": HOSTILE}
    more = {"text": {HOSTILE: HOSTILE}, "target": [HOSTILE], "options": {"blank": HOSTILE}, "nonfinite": HOSTILE}
    lines.write_text("".join(json.dumps({**fields, **more, "loss": loss}) + "\n" for loss in (1.5, None, 1e308, -3)))
    assert program("report", lines, "-o", report) == (0, "")
    check_page(report).has("are not shown: there is no such file", "not a number")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is neither lines of JSON nor CSV"),
        ("a,b\n1,2\n", "is neither lines of JSON nor CSV"),
        ("loss\n", "holds no samples"),
        ("loss\nmany\n", "line 2: field 'loss': expected a number or null, got 'many'"),
        ('{"loss": 1}\n{"los": 1}\n', "line 2: field 'loss': is missing"),
        ('{"loss": "1"}\n', "line 1: field 'loss': expected a number or null, got '1'"),
        ('{"loss": 1\n', "line 1: is not JSON"),
        (b"loss\n1\n\xff\n", "it is no text in UTF-8"),
        (b"PK\x03\x04\xb0\xff", "it is no text in UTF-8"),
        (b'loss\n"' + b"x" * 200_000, "line 2: is not CSV: field larger than field limit"),
        (b"\x1f\x8b\x08\x00", "is damaged: gzip cannot unpack it"),
    ],
)
def test_lines_that_are_no_lines_are_named(
    content: str | bytes, expected: str, program: Program, tmp_path: Path
) -> None:
    lines, report = tmp_path / "lines", tmp_path / "report.html"
    lines.write_bytes(content.encode() if isinstance(content, str) else content)
    status, error = program("report", lines, "-o", report)
    assert status == 1
    assert error.startswith(f"seqloss: {lines}: ")
    assert error.count("\n") == 1
    assert expected in error
    assert list(tmp_path.iterdir()) == [lines]


def test_a_report_is_never_written_over_its_lines(program: Program, tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    lines.write_text('{"loss": 1}\n')
    assert program("report", lines, "-o", lines)[0] == 2
    assert program("report", tmp_path / "none", "-o", tmp_path / "x.html") == (
        1,
        f"seqloss: {tmp_path / 'none'}: No such file or directory\n",
    )


@pytest.mark.parametrize(
    "losses",
    [
        [0.0],
        [2.5] * 7,
        [-1.0, -2.0],
        [1e-300, 2e-300],
        [1e299, -1e299],
        [1.7e308, -1.7e308, 1e308, 1e308],
        [math.inf, math.nan],
        [*range(5000)],
    ],
    ids=lambda losses: f"{len(losses)} from {losses[0]}",
)
def test_any_losses_have_a_page(losses: list[float], program: Program, tmp_path: Path) -> None:
    lines, report = tmp_path / "out.csv", tmp_path / "report.html"
    with lines.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["loss", "length"])
        table.writerows([loss, number % 50] for number, loss in enumerate(losses))
    assert program("report", lines, "-o", report) == (0, "")
    page = check_page(report)
    for _, name, value in page.attributes:
        if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "r"):
            assert value == "device-width" or math.isfinite(float(value)), (name, value)
    page.has(f"samples {len(losses):,}")


def places(svg: str, kind: str, name: str) -> list[float]:
    return [float(place) for place in re.findall(rf'<[^>]*class="{kind}"[^>]* {name}="([^"]*)"', svg)]


def test_a_histogram_counts_every_value() -> None:
    random = np.random.default_rng(1)
    for values in (random.normal(size=300), random.exponential(size=2000) ** 3, np.array([0.1, 0.2, 0.3]) + 1e-17):
        picture = histogram(values, [("median", float(np.median(values)))], "loss", "Distribution")
        counts = [int(count) for count in re.findall(r"<title>[^<]*: (\d+)</title>", picture)]
        assert sum(counts) == len(values)


def test_ticks_are_round_and_cover_the_values() -> None:
    random = np.random.default_rng(2)
    for _ in range(500):
        low, high = np.sort(random.normal(size=2) * 10.0 ** random.integers(-6, 6))
        ticks = round_ticks(float(low), float(high), 7)
        step = ticks[1] - ticks[0]
        assert ticks[0] <= low + step * 1e-6
        assert ticks[-1] >= high - step * 1e-6
        assert len(ticks) <= 9
        assert round(step / 10.0 ** math.floor(math.log10(step) + 1e-9)) in (1, 2, 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.56, "1,235"),
        (0.25, "0.25"),
        (-3.0, "−3"),
        (1e-9, "1.00e−09"),
        (2.5e7, "2.50e+07"),
        (12.0, "12"),
    ],
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert short(value) == text


def overlaps(svg: str) -> list[tuple[str, str]]:
    """Texts of a picture that run into one another, by a generous estimate of their width."""
    boxes = []
    for x, y, anchor, text in re.findall(
        r'<text(?: class="[^"]*")? x="([^"]*)" y="([^"]*)" text-anchor="(\w+)">([^<]*)</text>', svg
    ):
        width = 6.5 * len(text)
        left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, float(y) - 9, left + width, float(y) + 2, text))
    return [
        (one[4], other[4])
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]


@pytest.mark.parametrize("scale", [1e-7, 0.01, 1.0, 300.0, 1e5, 1e12])
def test_no_labels_run_into_one_another(scale: float) -> None:
    random = np.random.default_rng(5)
    values = random.exponential(size=500) * scale
    values[:3] *= 100
    marks = [("median", float(np.median(values))), ("p95", float(np.percentile(values, 95)))]
    assert overlaps(histogram(values, marks, "loss", "t")) == []
    close = [("median", float(values[4])), ("p95", float(values[4]) * 1.01)]
    assert overlaps(histogram(values, close, "loss", "t")) == []
    lengths = random.integers(1, 900, size=500).astype(float)
    assert overlaps(scatter(lengths, values, [""] * 500, "length", "loss", "t")) == []


@pytest.mark.parametrize("frames", [1, 2, 7, 40, 161, 400])
def test_labels_of_a_heat_map_have_room(frames: int) -> None:
    values = np.random.default_rng(6).random((4, frames))
    picture = heat_map(values, values.argmax(axis=0).tolist(), ["a", "b", "class 12345", "blank"], [False] * 4, "t")
    assert overlaps(picture) == []
    assert max(places(picture, "path", "cx")) < 1080
    assert len(places(picture, "path", "cx")) == frames + 1


# ---- a browser -----------------------------------------------------------------------------------------------------

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def screenshot(page: Path, *flags: str) -> tuple[npt.NDArray[np.float64], str]:
    """What a browser shows of a page, as grey levels from 0 to 1, and what its console says."""
    picture = page.with_suffix(".png")
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1600"),
            *("--enable-logging=stderr", "--log-level=0", f"--user-data-dir={page.parent / 'profile'}"),
            *flags,
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    from matplotlib.image import imread

    console = "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return np.asarray(imread(picture), dtype=np.float64)[..., :3].mean(axis=-1), console


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_browser_shows_the_page_in_the_light_and_in_the_dark(program: Program, tmp_path: Path) -> None:
    data, lines, report = tmp_path / "data.npz", tmp_path / "out.jsonl", tmp_path / "report.html"
    save_emissions(data, classes=np.array(["", "<script>console.error(1)</script>", "b", "c", " "]))
    program("score", "ctc", data, "-o", lines)
    program("report", lines, "-o", report)

    light, console = screenshot(report)
    assert console == ""
    assert light.shape == (1600, 1200)
    assert np.median(light) > 0.9
    assert 0.01 < (light < 0.5).mean() < 0.5

    dark, console = screenshot(report, "--blink-settings=preferredColorScheme=0")
    assert console == ""
    assert np.median(dark) < 0.2
    assert 0.005 < (dark > 0.5).mean() < 0.5

    # The console does speak when there is something to say.
    loud = tmp_path / "loud.html"
    loud.write_text("<!DOCTYPE html><title>x</title><script>console.error('heard')</script>")
    assert "heard" in screenshot(loud)[1]
