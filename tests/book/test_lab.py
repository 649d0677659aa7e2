"""Lesson 00 in JupyterLab, as a reader uses it: open, run all cells, move the slider."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WHY = 'Selenium is not installed: pip install -e ".[docs]"'
webdriver = pytest.importorskip("selenium.webdriver", reason=WHY)
ROOT = Path(__file__).resolve().parents[2]
KERNEL = "document.querySelector('.jp-Notebook-ExecutionIndicator[data-status={}]')"
TOKEN = "of-this-test-alone"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on 127.0.0.1 over a copy of lesson 00, with the settings of nobody."""
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --no-browser --allow-root"
    options += f" --IdentityProvider.token={TOKEN} --LabApp.news_url=None"
    options += " --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    own = [f"--LabApp.{what}_dir={tmp_path}/{what}" for what in ("user_settings", "workspaces")]
    command = [sys.executable, "-m", "jupyterlab", *options.split(), *own, str(tmp_path)]
    log = (tmp_path / "lab.log").open("w")
    # the browser wants a core too; threads that wait for each other cost most
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=one)
    yield f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb?token={TOKEN}"
    process.terminate()
    process.wait(30)
    log.close()


def run_all(browser):
    """Restart the kernel and run all cells; once more if no run has begun after half a minute."""
    run = "[data-command='notebook:restart-run-all']"
    run += f", jp-button{run}"
    for seconds in (30, 90):
        browser.element(run).click()
        browser.until("document.querySelector('.jp-Dialog .jp-mod-accept')").click()
        with contextlib.suppress(TimeoutError):
            return browser.until(KERNEL.format("busy"), seconds)
    raise TimeoutError("The kernel did not become busy, twice.")


def test_lesson_00_runs_in_jupyterlab_and_its_slider_moves(lab, chromium):
    browser = chromium(1280, 4000)  # tall, so that every cell is rendered
    for _ in range(60):
        try:
            browser.open(lab)
            break
        except Exception:  # not listening yet
            browser.until("true", 1)
    for part in (".jp-Notebook .jp-CodeCell", ".jp-NotebookPanel-toolbar"):
        browser.until(f"document.querySelector('{part}')")
    browser.until(KERNEL.format("idle"))
    run_all(browser)
    browser.until(KERNEL.format("idle"), 400)
    errors = ".jp-OutputArea-output[data-mime-type*=error]"
    assert browser.js(f"return document.querySelectorAll('{errors}').length") == 0
    slider = browser.element(".jp-Notebook [id^=slider] input[type=range]")
    browser.js("arguments[0].scrollIntoView({block: 'center'})", slider)
    before = browser.text("[id^=slider] output")
    mouse, right = webdriver.ActionChains(browser.driver), int(slider.size["width"] * 0.4)
    mouse.move_to_element_with_offset(slider, right, 0).click().perform()
    assert browser.text("[id^=slider] output") != before
