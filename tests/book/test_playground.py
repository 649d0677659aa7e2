"""The playground in a browser: it samples what Python samples, and fails in sentences."""

import json
import time

import pytest
import torch

import minidiff as md
from minidiff.evaluation.sweep import guidance_methods

WHY = 'Selenium is not installed: pip install -e ".[docs]"'
webdriver = pytest.importorskip("selenium.webdriver", reason=WHY)
Keys = webdriver.Keys
STATE = "document.body.dataset.state"
DRAWN = f"['done', 'failed', 'refused'].includes({STATE}) && {STATE}"
SAMPLE = """{ const r = await playground.sample(a[0]);
  const { read, seconds } = r;
  return { x_0: Array.from(r.x_0), read, seconds, stops: r.path.map((step) => step.t) }; }"""


@pytest.fixture(scope="module")
def page(chromium, url):
    """The page with its first digits drawn, shared by tests that only ask for samples."""
    return opened(chromium(), f"{url}/playground/")


@pytest.fixture
def fresh(page, url):
    """The page as it is after loading; every change in a test starts from the same choices."""
    return opened(page, f"{url}/playground/")


def opened(page, address: str, state: str = "done"):
    page.open(address)
    assert page.until(DRAWN) == state
    return page


def fill(page, name: str, text: str) -> None:
    """Types into a field as a person does: select all, type over."""
    page.element(f"input[type=text][name={name}]").send_keys(Keys.CONTROL, "a", Keys.NULL, text)


def redrawn(page) -> str:
    """The state once the change just made has been taken up."""
    page.until(f"{STATE} !== 'done'", 10)
    return page.until(DRAWN)


def pixels(page, row: str) -> list[int]:
    """What the canvases of a row show, as a list of sums."""
    paint = "[...c.getContext('2d').getImageData(0, 0, 28, 28).data].reduce((a, b) => a + b)"
    return page.js(
        f"return [...document.querySelectorAll('#columns canvas.{row}')].map((c) => {paint})"
    )


@pytest.mark.parametrize(
    ("method", "w", "steps"),
    [("cfg", 3, 20), ("cfg", 0, 7), ("cfg", -1, 7), ("cg", 4, 20), ("cg", 0, 7)],
)
def test_the_browser_s_samples_are_python_s(page, method, w, steps):
    noise, y = md.start_noise(10, seed=5).flatten().tolist(), torch.arange(10)
    request = {"digits": y.tolist(), "method": method, "w": w, "steps": steps, "noise": noise}
    came = page.awaited(SAMPLE, request)
    models = {name: md.load(name) for name in ("unet", "ddpm", "classifier")}
    expected = guidance_methods(models)[method].draw(y, w, steps, 5)
    assert (torch.tensor(came["x_0"]).view_as(expected) - expected).abs().max() < 1e-3
    assert came["read"] == md.load("evaluator").net["evaluator"](expected).argmax(dim=1).tolist()


def test_a_seed_is_the_seed_of_python(page):
    expected = md.start_noise(3, seed=2_147_483_649)
    came = page.awaited("{ return Array.from(playground.normals(3 * 784, a[0])); }", 2_147_483_649)
    assert (torch.tensor(came).view_as(expected) - expected).abs().max() < 1e-5


def test_the_digits_of_a_seed_are_python_s_digits(page):
    """The noise differs in its last place; 1 / sqrt(abar_T) = 20,000 makes a grey level of it."""
    request = {"digits": [7, 7, 3], "method": "cfg", "w": 2, "steps": 20, "seed": 4}
    came, unet = page.awaited(SAMPLE, request), md.load("unet")
    eps = md.cfg(unet, torch.tensor([7, 7, 3]), 2)
    expected = md.sample(eps, md.start_noise(3, 4), unet.schedule, 20)
    assert (torch.tensor(came["x_0"]).view_as(expected) - expected).abs().max() < 2 / 255


def test_the_path_stops_where_python_s_does(page):
    from minidiff.diffusion.samplers import ddim_timesteps

    script = """{ const m = await import('./diffusion.js');
        return Array.from({ length: 100 }, (_, i) => m.ddimStops(1000, i + 1)); }"""
    assert page.awaited(script) == [ddim_timesteps(md.cosine(), steps) for steps in range(1, 101)]


@pytest.mark.parametrize("s", [0.0, 1.0, 4.0])
def test_the_small_world_is_the_exact_one(page, s):
    script = """{ const m = await import('/playground/world.js'); const x = a[0];
        const end = m.drawn(x, 2, a[1], m.cosine(), 40);
        const p = x.map(m.density), l = x.map((v) => m.logPosterior(v, 2));
        return { world: m.WORLD, end, p, l }; }"""
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    came = page.awaited(script, x.flatten().tolist(), s)
    names = ("means", "variances", "weights")
    parts = [torch.tensor(came["world"][name], dtype=torch.float64) for name in names]
    means, variances, weights = parts
    columns = means[:, None], variances[:, None]
    world = md.GaussianMixture(*columns, weights, torch.arange(3), md.cosine())
    eps = md.classifier_free(world.eps(2), world.eps(), w=s - 1)
    end = md.final_sample(md.ddim_path(eps, x, md.cosine(), 40))[:, 0]
    clean = torch.zeros(len(x), dtype=torch.long)
    exact = {"end": end, "p": world.log_density(x, clean).exp(), "l": world.log_prob(2)(x, clean)}
    for name, expected in exact.items():
        assert (torch.tensor(came[name], dtype=torch.float64) - expected).abs().max() < 1e-9, name


def test_it_paints_at_once_and_draws_ten_digits_in_ten_seconds(chromium, url):
    page = chromium()
    page.driver.execute_cdp_cmd("Network.enable", {})
    speed = dict.fromkeys(("downloadThroughput", "uploadThroughput"), 10_000_000)
    slow = {"offline": False, "latency": 0, **speed}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    page.open(f"{url}/playground/")
    bar, paint = "document.getElementById('progress')", "performance.getEntriesByType('paint')"
    shown = f"!document.getElementById('loading').hidden && {bar}.max > 1e7 && {bar}.value > 1e6"
    assert page.until(shown)
    assert page.until(f"{paint}.length && {paint}[0].startTime") < 1000
    assert page.until(DRAWN) == "done"
    assert not page.element("#loading").is_displayed()
    ten = {"digits": list(range(10)), "method": "cfg", "w": 3, "steps": 20}
    # the machine may be busy with other things
    assert min(page.awaited(SAMPLE, ten)["seconds"] for _ in range(2)) < 10
    assert page.news() == ([], [])


def test_it_says_what_it_shows(fresh):
    said = fresh.text("#sentence")
    assert "the digits 0 to 9, by classifier-free guidance with w = 3 (scale s = 4), in 20" in said
    assert "all 10 of the guided row" in said
    assert fresh.element("#sentence").get_attribute("aria-live") == "polite"
    command = "python -m minidiff sample --digit 0-9 --n 1 --method cfg --w 3"
    assert fresh.text("#command").startswith(command)
    assert len(pixels(fresh, "guided")) == len(pixels(fresh, "unguided")) == 10
    strips = "[...document.querySelectorAll('.strip')].map((s) => s.children.length)"
    assert fresh.js(f"return {strips}") == [8, 8]
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
        name = fresh.js(
            "const e = document.activeElement; return e.name || e.id || e.className || e.tagName"
        )
        outline = fresh.js("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", name
        reached.append(name)
        if name == "column":
            break
    wanted = "slider w method digit all none each steps seed column"
    assert set(wanted.split()) <= set(reached)
    press.send_keys(Keys.TAB).send_keys(Keys.SPACE).perform()
    columns = "[...document.querySelectorAll('.column')].map((c) => c.ariaPressed)"
    assert fresh.js(f"return {columns}")[:2] == ["false", "true"]


def test_classifier_guidance_by_form_several_of_one_digit(fresh):
    fresh.element("#none").click()
    fresh.element("input[name=digit][value='7']").click()
    fill(fresh, "each", "4")
    fill(fresh, "steps", "5")
    fresh.element("input[name=method][value=cg]").click()
    assert redrawn(fresh) == "done"
    said = fresh.text("#sentence")
    assert "a 7, by classifier guidance with w = 3 (scale s = 3), in 5 DDIM steps" in said
    assert "the unconditional model draws unguided" in said
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
        assert fresh.until(f"{STATE} === 'refused'"), field
        assert fresh.text(f"#{field}-problem") == sentence
        assert sentence in fresh.text("#sentence")
        assert fresh.element(f"#{field}").get_attribute("aria-invalid") == "true"
        assert len(pixels(fresh, "guided")) == 10
        fill(fresh, field, good)
        fresh.until(f"{STATE} !== 'refused'")
        assert fresh.js("return document.querySelectorAll('.problem:not(:empty)').length") == 0
    fresh.element("#none").click()
    assert fresh.until(f"{STATE} === 'refused'")
    assert fresh.text("#digits-problem") == "Choose at least one digit."
    fresh.element("#all").click()
    assert fresh.until(f"{STATE} === 'done'")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("models/unet.onnx", None, "models/unet.onnx did not load (status 404)."),
        ("models/evaluator.onnx", b"no model", "evaluator.onnx is no model that can be run here"),
        ("ort/ort-wasm-simd-threaded.wasm", None, "-threaded.wasm did not load (status 404)."),
        ("ort/ort.wasm.min.mjs", None, "The part of the page that computes did not start"),
    ],
)
def test_a_file_that_does_not_load_is_named(chromium, url, instead, file, content, sentence):
    instead[f"/playground/{file}"] = content
    page = opened(chromium(), f"{url}/playground/", "failed")
    assert sentence in page.text("#trouble")
    assert "make playground" in page.text("#trouble")
    assert page.text("#world-sentence")


def test_without_simd_there_is_a_sentence_and_the_small_world(chromium, url):
    page = chromium()
    without = "WebAssembly.validate = () => false"
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": without})
    opened(page, f"{url}/playground/", "failed")
    assert "no WebAssembly SIMD" in page.text("#trouble")
    plot = page.element("#world .powered").get_attribute("d")
    page.element("#slider").send_keys(Keys.ARROW_RIGHT)
    moved = "document.querySelector('#world .powered').getAttribute('d')"
    assert page.until(f"{moved} !== {json.dumps(plot)}")
    time.sleep(0.5)
    assert page.js(f"return {STATE}") == "failed"


def test_opened_as_a_file_it_gives_the_command(site, chromium):
    page = opened(chromium(), (site / "playground" / "index.html").as_uri(), "failed")
    assert "make playground" in page.text("#trouble")
    assert "python -m http.server --bind 127.0.0.1" in page.text("#trouble")


def test_it_fits_a_phone(chromium, url):
    phone = opened(chromium(360, 740), f"{url}/playground/")
    assert phone.js("return document.documentElement.scrollWidth") <= 360
    canvases = "[...document.querySelectorAll('#columns canvas')]"
    assert phone.js(f"return {canvases}.filter((c) => c.offsetWidth < 40).length") == 0


def test_a_program_s_wrong_request_is_refused_in_words(page):
    wrong = {
        "noise": {"digits": [1], "noise": [0.0]},
        "method": {"digits": [1], "method": "cfgg"},
        "digits": {"digits": [10]},
    }
    for word, request in wrong.items():
        assert word in page.awaited("{ return await playground.sample(a[0]); }", request)["error"]
