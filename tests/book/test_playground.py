"""The playground in a browser: it samples what Python samples, says what it shows, and fails in sentences."""

import json
import time

import pytest
import torch

import minidiff as md
from minidiff.evaluation.sweep import guidance_methods

webdriver = pytest.importorskip("selenium.webdriver", reason='Selenium is not installed: pip install -e ".[docs]"')
Keys = webdriver.Keys
DRAWN = "['done', 'failed', 'refused'].includes(document.body.dataset.state) && document.body.dataset.state"
SAMPLE = """{ const r = await playground.sample(a[0]);
  return { x_0: Array.from(r.x_0), read: r.read, seconds: r.seconds, stops: r.path.map((step) => step.t) }; }"""


@pytest.fixture(scope="module")
def page(chromium, url):
    """The page with its first digits drawn, shared by tests that only ask for samples."""
    page = chromium()
    page.open(f"{url}/playground/")
    assert page.until(DRAWN) == "done"
    return page


@pytest.fixture
def fresh(page, url):
    """The page as it is after loading; every change in a test starts from the same choices."""
    page.open(f"{url}/playground/")
    assert page.until(DRAWN) == "done"
    return page


def fill(page, name: str, text: str) -> None:
    """Types into a field as a person does: select all, type over."""
    page.element(f"input[type=text][name={name}]").send_keys(Keys.CONTROL, "a", Keys.NULL, text)


def redrawn(page) -> str:
    """The state once the change just made has been taken up."""
    page.until("document.body.dataset.state !== 'done'", 10)
    return page.until(DRAWN)


def pixels(page, row: str) -> list[int]:
    """What the canvases of a row show, as a list of sums."""
    paint = "[...c.getContext('2d').getImageData(0, 0, 28, 28).data].reduce((a, b) => a + b)"
    return page.js(f"return [...document.querySelectorAll('#columns canvas.{row}')].map((c) => {paint})")


@pytest.mark.parametrize(("method", "w", "steps"), [("cfg", 3, 20), ("cfg", 0, 7), ("cfg", -1, 7), ("cg", 4, 20), ("cg", 0, 7)])
def test_the_browser_s_samples_are_python_s(page, method, w, steps):
    noise, y = md.start_noise(10, seed=5), torch.arange(10)
    came = page.awaited(
        SAMPLE, {"digits": y.tolist(), "method": method, "w": w, "steps": steps, "noise": noise.flatten().tolist()}
    )
    models = {name: md.load(name) for name in ("unet", "ddpm", "classifier")}
    expected = guidance_methods(models)[method].draw(y, w, steps, 5)
    assert (torch.tensor(came["x_0"]).view_as(expected) - expected).abs().max() < 1e-3
    assert came["read"] == md.load("evaluator").net["evaluator"](expected).argmax(dim=1).tolist()


def test_a_seed_is_the_seed_of_python(page):
    expected = md.start_noise(3, seed=2_147_483_649)
    came = page.awaited("{ return Array.from(playground.normals(3 * 784, a[0])); }", 2_147_483_649)
    assert (torch.tensor(came).view_as(expected) - expected).abs().max() < 1e-5


def test_the_digits_of_a_seed_are_python_s_digits(page):
    """The noise differs in the last place, and 1 / sqrt(abar_T) = 20,000 makes more of it: a grey level, no more."""
    came = page.awaited(SAMPLE, {"digits": [7, 7, 3], "method": "cfg", "w": 2, "steps": 20, "seed": 4})
    unet = md.load("unet")
    expected = md.sample(md.cfg(unet, torch.tensor([7, 7, 3]), 2), md.start_noise(3, 4), unet.schedule, 20)
    assert (torch.tensor(came["x_0"]).view_as(expected) - expected).abs().max() < 2 / 255


def test_the_path_stops_where_python_s_does(page):
    from minidiff.diffusion.samplers import ddim_timesteps

    script = (
        "{ const m = await import('./diffusion.js'); return Array.from({ length: 100 }, (_, i) => m.ddimStops(1000, i + 1)); }"
    )
    assert page.awaited(script) == [ddim_timesteps(md.cosine(), steps) for steps in range(1, 101)]


@pytest.mark.parametrize("s", [0.0, 1.0, 4.0])
def test_the_small_world_is_the_exact_one(page, s):
    script = """{ const m = await import('/playground/world.js'); const x = a[0];
        const end = m.drawn(x, 2, a[1], m.cosine(), 40);
        return { world: m.WORLD, end, p: x.map(m.density), l: x.map((v) => m.logPosterior(v, 2)) }; }"""
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    came = page.awaited(script, x.flatten().tolist(), s)
    parts = (torch.tensor(came["world"][key], dtype=torch.float64) for key in ("means", "variances", "weights"))
    means, variances, weights = parts
    world = md.GaussianMixture(means[:, None], variances[:, None], weights, torch.arange(3), md.cosine())
    eps = md.classifier_free(world.eps(2), world.eps(), w=s - 1)
    expected = md.final_sample(md.ddim_path(eps, x, md.cosine(), 40))
    clean = torch.zeros(len(x), dtype=torch.long)
    for name, exact in (("end", expected[:, 0]), ("p", world.log_density(x, clean).exp()), ("l", world.log_prob(2)(x, clean))):
        assert (torch.tensor(came[name], dtype=torch.float64) - exact).abs().max() < 1e-9, name


def test_it_paints_at_once_and_draws_ten_digits_in_ten_seconds(chromium, url):
    page = chromium()
    page.driver.execute_cdp_cmd("Network.enable", {})
    slow = {"offline": False, "latency": 0, "downloadThroughput": 10_000_000, "uploadThroughput": 10_000_000}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    page.open(f"{url}/playground/")
    bar = "!document.getElementById('loading').hidden && document.getElementById('progress').max > 1e7"
    assert page.until(f"{bar} && document.getElementById('progress').value > 1e6")
    assert page.until("performance.getEntriesByType('paint').length && performance.getEntriesByType('paint')[0].startTime") < 1000
    assert page.until(DRAWN) == "done"
    assert not page.element("#loading").is_displayed()
    ten = {"digits": list(range(10)), "method": "cfg", "w": 3, "steps": 20}
    assert min(page.awaited(SAMPLE, ten)["seconds"] for _ in range(2)) < 10  # the machine may be busy with other things
    assert page.news() == ([], [])


def test_it_says_what_it_shows(fresh):
    said = fresh.text("#sentence")
    assert "the digits 0 to 9, by classifier-free guidance with w = 3 (scale s = 4), in 20 DDIM steps" in said
    assert "all 10 of the guided row" in said
    assert fresh.element("#sentence").get_attribute("aria-live") == "polite"
    assert fresh.text("#command").startswith("python -m minidiff sample --digit 0-9 --n 1 --method cfg --w 3")
    assert len(pixels(fresh, "guided")) == len(pixels(fresh, "unguided")) == 10
    assert fresh.js("return [...document.querySelectorAll('.strip')].map((s) => s.children.length)") == [8, 8]
    assert fresh.js("return document.querySelector('.frame .label').innerText") == "t = 1000"


def test_the_slider_changes_the_guided_row_and_the_plot_and_leaves_the_unguided_row(fresh):
    guided, unguided = pixels(fresh, "guided"), pixels(fresh, "unguided")
    plot = fresh.element("#world .powered").get_attribute("d")
    fresh.element("#slider").send_keys(*[Keys.ARROW_RIGHT] * 8)
    assert fresh.element("#w").get_attribute("value") == "5"
    assert fresh.element("#world .powered").get_attribute("d") != plot
    assert redrawn(fresh) == "done"
    assert "w = 5 (scale s = 6)" in fresh.text("#sentence")
    assert pixels(fresh, "guided") != guided
    assert pixels(fresh, "unguided") == unguided


def test_w_zero_makes_both_rows_alike(fresh):
    fill(fresh, "w", "0")
    assert redrawn(fresh) == "done"
    assert "(scale s = 1, the conditional model)" in fresh.text("#sentence")
    assert pixels(fresh, "guided") == pixels(fresh, "unguided")


def test_the_keyboard_alone_reaches_and_does_everything(fresh):
    reached = []
    press = webdriver.ActionChains(fresh.driver)
    for _ in range(40):
        press.send_keys(Keys.TAB).perform()
        name = fresh.js("const e = document.activeElement; return e.name || e.id || e.className || e.tagName")
        outline = fresh.js("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", name
        reached.append(name)
        if name == "column":
            break
    assert {"slider", "w", "method", "digit", "all", "none", "each", "steps", "seed", "column"} <= set(reached)
    press.send_keys(Keys.TAB).send_keys(Keys.SPACE).perform()
    assert fresh.js("return [...document.querySelectorAll('.column')].map((c) => c.ariaPressed)")[:2] == ["false", "true"]


def test_classifier_guidance_by_form_several_of_one_digit(fresh):
    fresh.element("#none").click()
    fresh.element("input[name=digit][value='7']").click()
    fill(fresh, "each", "4")
    fill(fresh, "steps", "5")
    fresh.element("input[name=method][value=cg]").click()
    assert redrawn(fresh) == "done"
    assert "We ask for a 7, by classifier guidance with w = 3 (scale s = 3), in 5 DDIM steps" in fresh.text("#sentence")
    assert "the unconditional model draws unguided" in fresh.text("#sentence")
    assert len(pixels(fresh, "guided")) == 4
    assert "--digit 7 --n 4 --method cg --w 3 --steps 5" in fresh.text("#command")


REFUSED = [
    ("w", "99", "3", "w must lie between -1 and 10, got 99."),
    ("w", "much", "3", "w must be a number between -1 and 10."),
    ("w", Keys.BACKSPACE, "3", "w must be a number between -1 and 10."),
    ("steps", "0", "20", "The number of steps must lie between 1 and 100, got 0."),
    ("steps", "2.5", "20", "The number of steps must be a whole number, got 2.5."),
    ("seed", "-1", "0", "The seed must lie between 0 and 4294967295, got -1."),
    ("each", "3", "1", "10 digits, 3 of each, are 30 images; 20 is the most here."),
]


def test_what_cannot_be_used_gets_a_sentence_and_the_digits_stay(fresh):
    for field, text, good, sentence in REFUSED:
        fill(fresh, field, text)
        assert fresh.until("document.body.dataset.state === 'refused'"), field
        assert fresh.text(f"#{field}-problem") == sentence
        assert sentence in fresh.text("#sentence")
        assert fresh.element(f"#{field}").get_attribute("aria-invalid") == "true"
        assert len(pixels(fresh, "guided")) == 10
        fill(fresh, field, good)
        fresh.until("document.body.dataset.state !== 'refused'")
        assert fresh.js("return document.querySelectorAll('.problem:not(:empty)').length") == 0
    fresh.element("#none").click()
    assert fresh.until("document.body.dataset.state === 'refused'")
    assert fresh.text("#digits-problem") == "Choose at least one digit."
    fresh.element("#all").click()
    assert fresh.until("document.body.dataset.state === 'done'")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("models/unet.onnx", None, "models/unet.onnx did not load (status 404)."),
        ("models/evaluator.onnx", b"no model", "models/evaluator.onnx is no model that can be run here"),
        ("ort/ort-wasm-simd-threaded.wasm", None, "ort/ort-wasm-simd-threaded.wasm did not load (status 404)."),
        ("ort/ort.wasm.min.mjs", None, "The part of the page that computes did not start"),
    ],
)
def test_a_file_that_does_not_load_is_named(chromium, url, instead, file, content, sentence):
    instead[f"/playground/{file}"] = content
    page = chromium()
    page.open(f"{url}/playground/")
    assert page.until(DRAWN) == "failed"
    assert sentence in page.text("#trouble")
    assert "make playground" in page.text("#trouble")
    assert page.text("#world-sentence")


def test_without_simd_there_is_a_sentence_and_the_small_world(chromium, url):
    page = chromium()
    without = "WebAssembly.validate = () => false"
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": without})
    page.open(f"{url}/playground/")
    assert page.until(DRAWN) == "failed"
    assert "no WebAssembly SIMD" in page.text("#trouble")
    plot = page.element("#world .powered").get_attribute("d")
    page.element("#slider").send_keys(Keys.ARROW_RIGHT)
    assert page.until(f"document.querySelector('#world .powered').getAttribute('d') !== {json.dumps(plot)}")
    time.sleep(0.5)
    assert page.js("return document.body.dataset.state") == "failed"


def test_opened_as_a_file_it_gives_the_command(site, chromium):
    page = chromium()
    page.open((site / "playground" / "index.html").as_uri())
    assert page.until(DRAWN) == "failed"
    assert "make playground" in page.text("#trouble")
    assert "python -m http.server --bind 127.0.0.1" in page.text("#trouble")


def test_it_fits_a_phone(chromium, url):
    phone = chromium(360, 740)
    phone.open(f"{url}/playground/")
    assert phone.until(DRAWN) == "done"
    assert phone.js("return document.documentElement.scrollWidth") <= 360
    small = "[...document.querySelectorAll('#columns canvas')].filter((c) => c.offsetWidth < 40).length"
    assert phone.js(f"return {small}") == 0


def test_a_program_s_wrong_request_is_refused_in_words(page):
    wrong = {"noise": {"digits": [1], "noise": [0.0]}, "method": {"digits": [1], "method": "cfgg"}, "digits": {"digits": [10]}}
    for word, request in wrong.items():
        assert word in page.awaited("{ return await playground.sample(a[0]); }", request)["error"]
