"""The book in a browser: every page loads from files, and shows what the sources say."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import minidiff as md

WHY = 'Selenium is not installed: pip install -e ".[docs]"'
Keys = pytest.importorskip("selenium.webdriver", reason=WHY).Keys
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book"))
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def test_every_page_loads_from_a_file_without_an_error_or_an_outside_request(site, desk):
    others = {"_static", "playground"}
    pages = [path for path in sorted(site.rglob("*.html")) if not others & set(path.parts)]
    assert len(pages) > 60
    for page in pages:
        desk.open(page.as_uri())
        said, requests = desk.news()
        assert not said, page
        assert not requests, page
        titles = desk.js("return document.querySelectorAll('h1').length")
        assert titles or page.name in ("search.html", "genindex.html"), page


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_s_formulas_are_set_and_its_pictures_are_there(site, desk, lesson):
    desk.open((site / "notebooks" / f"{lesson.stem}.html").as_uri())
    desk.until("document.querySelector('mjx-container')")
    desk.awaited("{ await MathJax.startup.promise; await document.fonts.ready; }")
    assert desk.js("return document.querySelectorAll('mjx-container').length") > 5
    assert desk.js("return document.querySelectorAll('mjx-merror, .mjx-error').length") == 0
    paragraphs = "[...document.querySelectorAll('article p')].map((p) => p.innerText)"
    assert "$" not in " ".join(desk.js(f"return {paragraphs}"))
    images = "[...document.querySelectorAll('article img')]"
    pictures = desk.js(f"return {images}.map((i) => [i.naturalWidth, i.loading])")
    assert len(pictures) >= 6
    assert all(width or lazy == "lazy" for width, lazy in pictures)


def test_the_slider_of_lesson_00_moves_in_the_book(site, desk):
    desk.open((site / "notebooks" / "00_start_here.html").as_uri())
    slider = desk.element("[id^=slider] input[type=range]")
    images = "[...document.querySelectorAll('[id^=slider] img')]"
    shown = f"return {images}.filter((i) => i.offsetWidth).map((i) => i.alt)"
    before = desk.js(shown)
    slider.send_keys(Keys.ARROW_RIGHT)
    after = desk.js(shown)
    assert len(before) == len(after) == 1
    assert after != before
    assert desk.text("[id^=slider] output") == after[0]


def test_the_front_page_has_a_row_for_every_lesson_and_the_three_routes(site, desk):
    desk.open((site / "index.html").as_uri())
    assert desk.js("return document.querySelector('article img').naturalWidth") > 300
    table = "[...document.querySelectorAll('article tbody tr')]"
    rows = desk.js(f"return {table}.map((r) => [...r.cells].map((c) => c.innerText))")
    assert [row[0] for row in rows] == [path.stem[:2] for path in LESSONS]
    assert all(row[1].endswith("?") and 3 <= int(row[3]) <= 5 and row[4] for row in rows)
    for route in ("Learn.", "Teach.", "Verify."):
        assert route in desk.text("article")
    link = desk.element("article a.playground").get_attribute("href")
    assert link.endswith("playground/index.html")


def test_a_phone_can_read_the_front_page(site, chromium):
    phone = chromium(360, 740)
    phone.open((site / "index.html").as_uri())
    assert phone.js("return document.documentElement.scrollWidth") <= 360


def test_the_api_shows_equations_as_they_stand_in_the_source(site, desk):
    desk.open((site / "api" / "minidiff.diffusion.process.html").as_uri())
    said = desk.text("article")
    assert "q_sample(x_0: Points, t: Steps, eps: Points, schedule: NoiseSchedule)" in said
    assert "x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps   [Ho 2020, eq. 4]" in said


def test_every_module_has_its_page(site):
    from sources import modules

    pages = {path.stem for path in (site / "api").glob("minidiff*.html")}
    assert pages == set(modules())
    assert {"minidiff.symbols", "minidiff.teaching.checks.guidance"} <= pages


def test_broken_links_and_outside_scripts_are_found(tmp_path):
    from links import broken

    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#there">x</a><a href="https://elsewhere.example">ok</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="a.html#top">x</a>')
    assert broken(tmp_path) == []
    wrong = '<a href="c.html">1</a><a href="a.html#no">2</a>'
    wrong += '<script src="https://cdn.example/x.js"></script><img src="../out.png">'
    (tmp_path / "b.html").write_text(f'<p id="there"></p>{wrong}')
    said = [line.split(": ")[1] for line in broken(tmp_path)]
    assert said[:2] == ["no such file", "no such place on the page"]
    assert said[2:] == ["loaded from outside", "no such file"]


def test_the_site_is_small_and_names_no_machine(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    for path in files:
        assert str(ROOT).encode() not in path.read_bytes(), path


def test_the_lock_file_names_versions_and_no_host():
    lock = (ROOT / "book" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    for about in ("https://opencollective", "https://github.com"):
        lock = lock.replace(about, "")
    assert "http" not in lock


def test_without_npm_the_build_says_so_and_make_test_goes_on(tmp_path):
    command = [sys.executable, ROOT / "book" / "build.py", tmp_path / "site"]
    outcomes = [
        subprocess.run([*command, *more], env={"PATH": ""}, capture_output=True, text=True)
        for more in ([], ["--if-possible"])
    ]
    assert [outcome.returncode for outcome in outcomes] == [1, 0]
    assert all("npm is not installed" in outcome.stdout + outcome.stderr for outcome in outcomes)
    assert not (tmp_path / "site").exists()


def test_the_gradient_in_the_graph_is_autograd_s(site):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(site / "playground" / "models" / "gradient.onnx")
    g = torch.Generator().manual_seed(1)
    x_t = torch.randn(7, 1, 28, 28, generator=g)
    t = torch.randint(1, 1001, (7,), generator=g)
    y = torch.arange(7)
    (came,) = session.run(None, {"x_t": x_t.numpy(), "t": t.numpy(), "y": y.numpy()})
    expected = md.gradient(md.log_prob_of(md.load("classifier").net["classifier"], y), x_t, t)
    assert (torch.from_numpy(came) - expected).abs().max() < 1e-5
    assert expected.abs().max() > 0.01


def test_a_docstring_s_wrapped_lines_are_joined_and_its_equations_are_not():
    from conf import unwrapped

    wrapped = ["a " * 58 + "end", "of the sentence.", "x = y", "z = w"]
    wrapped += ["| table | " + "- " * 55, "| row | "]
    assert unwrapped(wrapped) == [f"{wrapped[0]} {wrapped[1]}", *wrapped[2:]]


def test_the_sources_are_short():
    for path in (ROOT / "book").rglob("*"):
        if path.suffix in (".py", ".js", ".css", ".html"):
            lines = path.read_text("utf-8").splitlines()
            assert len(lines) <= 300, path
            assert max(map(len, lines)) <= 100, path
