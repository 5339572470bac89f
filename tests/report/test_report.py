"""The report of a run: what it reads, what it says, and that it stays one safe, self-contained page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hwq.errors import InputError
from hwq.report import build
from tests.report.report_runs import (
    RUNS,
    failing_run,
    good_run,
    hostile_run,
    long_run,
    metrics,
    oversized_run,
    save,
)

VOID = {"meta", "link", "br", "line", "rect", "circle", "polyline", "hr", "img"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps tags, attributes and text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def squeeze(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(params=RUNS)
def page_source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return build(save(tmp_path, RUNS[request.param]())).html()


def test_html_is_well_formed(page_source: str) -> None:
    assert Page(page_source).text


def test_html_loads_nothing(page_source: str) -> None:
    page = Page(page_source)
    loads = [
        attrs[key]
        for _, attrs in page.tags
        for key in ("src", "href", "srcset", "data", "action")
        if key in attrs
    ]
    assert all(target is not None and target.startswith(("#", "data:")) for target in loads)
    assert "url(" not in page_source
    assert "@import" not in page_source
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "form", "base"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]


def test_numbers_of_a_good_run(tmp_path: Path) -> None:
    text = squeeze(Page(build(save(tmp_path, good_run())).html()).text)
    for expected in [
        "97.22 %",
        "350 of 360 test samples",
        "2-bit weights, 2-bit activations",
        "159,232 MACs per inference",
        "5 stages match the integers: 9,175,040 values from 512 inputs",
        "5 float32 rounding differences, each certified",
        "pynq-z2, parallel: fits, LUT 41 % (33 % to 49 %)",
        "100,000,000/s",
        "int9",
        "[−212, 198]",
        "9 bit",
        "compare tree, 3 levels",
        "Proven at 288 boundary points",
        "3 certified",
        "21,834 (17,467–26,201) of 53,200",
        "make -C project_parallel csynth",
        "exact on 512 inputs",
        "takes stem_act, body_act",
        "best epoch 38",
        "1 layer outside",
    ]:
        assert expected in text


def test_markdown_of_a_good_run(tmp_path: Path) -> None:
    text = build(save(tmp_path, good_run())).markdown()
    assert "| **Verification** | **exact**<br>5 stages match the integers" in text
    assert "| stem | conv | image | 8×8×16 | int9 | \\[−212, 198\\] | 2 | 9 | 9,216 |" in text
    assert "       make -C project_parallel csynth\n" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) >= 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_write_gives_three_files(tmp_path: Path) -> None:
    run = good_run()
    run["lower"]["added_later"] = [1, 2]
    folder = save(tmp_path, run)
    paths = build(folder).write(folder)
    assert [path.name for path in paths] == ["report.json", "report.html", "report.md"]
    merged = json.loads(paths[0].read_text())
    assert merged["summary"]["verification"]["status"] == "ok"
    assert {name: merged[name] for name in run} == run
    assert paths[1].read_text().startswith("<!doctype html>")
    assert [path.read_bytes() for path in paths] == [
        path.read_bytes() for path in build(folder).write(folder)
    ]


def test_a_failing_verification_leads(tmp_path: Path) -> None:
    report = build(save(tmp_path, failing_run()))
    text = squeeze(Page(report.html()).text)
    assert "Verification not exact 41 values differ without a certificate, in csim parallel" in text
    assert "First at layer body_act, input row 5, index [2, 7, 9]: expected 3, got 0." in text
    assert "The accumulator wraps at 8 bits." in text
    assert "41 differ" in text
    assert json.loads(report.json())["next"][0]["command"] == "hwq verify model.onnx --stages csim --json"


def test_a_failed_csim_is_not_exact(tmp_path: Path) -> None:
    run = good_run()
    run["generate"]["projects"][1]["csim"]["ok"] = False
    summary = json.loads(build(save(tmp_path, run)).json())["summary"]
    assert summary["verification"]["answer"] == "not exact"
    assert "C++ simulation of project_stream" in summary["verification"]["facts"][0]


def test_a_design_that_does_not_fit(tmp_path: Path) -> None:
    report = build(save(tmp_path, oversized_run()))
    text = squeeze(Page(report.html()).text)
    assert "Board does not fit pynq-z2, parallel, LUT 246 % (197 % to 296 %)" in text
    assert "Cure: raise the reuse factor of body to 4 or more" in text
    commands = [step["command"] for step in json.loads(report.json())["next"]]
    assert "hwq estimate model.onnx --board zcu104" in commands
    assert not [command for command in commands if command.endswith("csynth")]


def test_bars_share_one_scale_and_stay_inside(tmp_path: Path) -> None:
    page = Page(build(save(tmp_path, oversized_run())).html())
    limits = {attrs["x1"] for tag, attrs in page.tags if tag == "line" and attrs.get("class") == "limit"}
    assert len(limits) == 1
    ends = [attrs["x2"] for tag, attrs in page.tags if tag == "line" and attrs.get("class") == "whisker"]
    assert all(float((end or "").rstrip("%")) <= 100 for end in ends)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    report = build(save(tmp_path, hostile_run()))
    assert "<script" not in report.html()
    markdown = report.markdown()
    assert "<script" not in re.sub(r"^ {7}.*$", "", markdown, flags=re.MULTILINE)
    assert "\\|a\\|b \\# \\`\\_y\\_\\`" in markdown
    assert not [line for line in markdown.splitlines() if line.startswith("# `")]


@pytest.mark.parametrize("name", ["metrics", "lower", "verify", "estimate", "generate"])
def test_each_file_alone_is_enough(tmp_path: Path, name: str) -> None:
    report = build(save(tmp_path, {name: good_run()[name]}))
    page = Page(report.html())
    ids = {attrs["id"] for tag, attrs in page.tags if tag == "section"}
    links = {(attrs["href"] or "")[1:] for tag, attrs in page.tags if tag == "a"}
    assert ids == links
    assert "verification" in ids or name != "verify"
    assert report.markdown().startswith("# model.onnx")


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"(?s)holds none of these files.*lower\.json +hwq lower MODEL.*hwq demo"
    ):
        build(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        build(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "lower",
            '{"model": "m", "layers": [{"name": 3}]}',
            r"lower\.json: key layers\[0\]\.name: Expected `str`, got `int`",
        ),
        ("metrics", "{}", r"metrics\.json: Object missing required field `test_accuracy`"),
        ("verify", '{"ok": tru', r"verify\.json: .*"),
        ("estimate", "[]", r"estimate\.json: Expected `object`, got `array`"),
        ("estimate", '{"estimates": [{"board": 1}]}', r"estimate\.json: key estimates\[0\]\.board"),
        ("generate", '{"projects": NaN}', r"generate\.json: JSON is malformed"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / f"{name}.json").write_text(content)
    with pytest.raises(InputError, match=message + f"(?s:.*)hwq {name.replace('metrics', 'train')}"):
        build(tmp_path)


def test_a_residual_network_of_100_layers(tmp_path: Path) -> None:
    page = Page(build(save(tmp_path, long_run())).html())
    boxes = [
        attrs for tag, attrs in page.tags if tag == "div" and (attrs.get("class") or "").startswith("box")
    ]
    assert len(boxes) == 102
    lanes = [attrs for tag, attrs in page.tags if tag == "line" and attrs.get("class") == "lane"]
    assert lanes


def test_one_epoch_and_a_diverged_loss(tmp_path: Path) -> None:
    run = metrics()
    run["epochs"] = [{**run["epochs"][0], "loss": None}]
    run["best_epoch"] = 1
    text = squeeze(Page(build(save(tmp_path, {"metrics": run})).html()).text)
    assert "Accuracy, %" in text
    assert "Training loss" not in text


def test_no_synthesis_before_it_is_exact(tmp_path: Path) -> None:
    commands = [step["command"] for step in json.loads(build(save(tmp_path, failing_run())).json())["next"]]
    assert not [command for command in commands if command.endswith("csynth")]


def test_speed_prefers_a_design_that_fits(tmp_path: Path) -> None:
    run = good_run()
    run["estimate"]["estimates"][0]["fits"] = "no"
    summary = json.loads(build(save(tmp_path, run)).json())["summary"]
    assert summary["speed"]["answer"] == "24,271/s"
    assert summary["board"] == {**summary["board"], "answer": "1 of 2 designs", "status": "unsure"}
