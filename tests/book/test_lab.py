"""Lesson 00 in JupyterLab, as a reader uses it: open, run all cells, move the slider."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason='Selenium is not installed: pip install -e ".[docs]"')
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "of-this-test-alone"


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on 127.0.0.1 over a copy of lesson 00, with the settings of nobody."""
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        "--no-browser",
        "--allow-root",
    ]
    options += ["--ip=127.0.0.1", f"--LabApp.user_settings_dir={tmp_path}/settings", f"--LabApp.workspaces_dir={tmp_path}/spaces"]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = (tmp_path / "lab.log").open("w")
    one = {**os.environ, "OMP_NUM_THREADS": "1"}  # the browser wants a core too; threads that wait for each other cost most
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options, str(tmp_path)], stdout=log, stderr=log, env=one)
    yield f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb?token={TOKEN}"
    process.terminate()
    process.wait(30)
    log.close()


def run_all(browser):
    """Restart the kernel and run all cells; once more if no run has begun after half a minute."""
    run = "[data-command='notebook:restart-run-all'], jp-button[data-command='notebook:restart-run-all']"
    for seconds in (30, 90):
        browser.element(run).click()
        browser.until("document.querySelector('.jp-Dialog .jp-mod-accept')").click()
        with contextlib.suppress(TimeoutError):
            return browser.until("document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=busy]')", seconds)
    raise TimeoutError("The kernel did not become busy, twice.")


def test_lesson_00_runs_in_jupyterlab_and_its_slider_moves(lab, chromium):
    browser = chromium(1280, 4000)  # tall, so that every cell is rendered
    for _ in range(60):
        try:
            browser.open(lab)
            break
        except Exception:  # not listening yet
            browser.until("true", 1)
    browser.until("document.querySelector('.jp-Notebook .jp-CodeCell') && document.querySelector('.jp-NotebookPanel-toolbar')")
    browser.until("document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]')")
    run_all(browser)
    browser.until("document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]')", 400)
    assert browser.js("return document.querySelectorAll('.jp-OutputArea-output[data-mime-type*=error]').length") == 0
    slider = browser.element(".jp-Notebook [id^=slider] input[type=range]")
    browser.js("arguments[0].scrollIntoView({block: 'center'})", slider)
    before = browser.text("[id^=slider] output")
    right = int(slider.size["width"] * 0.4)
    webdriver.ActionChains(browser.driver).move_to_element_with_offset(slider, right, 0).click().perform()
    assert browser.text("[id^=slider] output") != before
