"""Headless Chromium by Selenium: its console and its requests to the network."""

import json
import time
from pathlib import Path
from typing import NamedTuple

FLAGS = "--headless --no-sandbox --no-first-run --force-device-scale-factor=1"
FLAGS += " --disable-gpu --disable-quic --disable-sync"
FLAGS += " --disable-background-networking --disable-component-update"
HERE = ("file:", "http://127.0.0.1:", "data:", "blob:", "chrome:", "ws://127.0.0.1:")


class Browser(NamedTuple):
    """A window, and what tests ask of it."""

    driver: object

    def open(self, address: str) -> None:
        """Loads a page; earlier news is forgotten."""
        self.news()
        self.driver.get(address)

    def js(self, script: str, *arguments):
        """The value of a script's `return`."""
        return self.driver.execute_script(script, *arguments)

    def awaited(self, expression: str, *arguments):
        """The value of a JavaScript expression, awaited; a[0], a[1] ... are the arguments."""
        script = "const done = arguments[arguments.length - 1]; const a = arguments;"
        script += f"(async () => {expression})()"
        script += ".then(done, (error) => done({error: error.message}))"
        return self.driver.execute_async_script(script, *arguments)

    def until(self, condition: str, seconds: float = 90) -> object:
        """Waits until the JavaScript expression is true, and returns its value."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            value = self.js(f"return {condition}")
            if value:
                return value
            time.sleep(0.05)
        said = self.text("body")[:800]
        raise TimeoutError(f"not true in {seconds} s: {condition}; the page says: {said}")

    def element(self, css: str):
        """The first element."""
        return self.driver.find_element("css selector", css)

    def text(self, css: str) -> str:
        """The visible text of the first such element."""
        return self.element(css).text

    def news(self) -> tuple[list[str], list[str]]:
        """Since the last call: errors and warnings on the console, requests to other machines."""
        console, performance = (self.driver.get_log(name) for name in ("browser", "performance"))
        said = [entry["message"] for entry in console if entry["level"] in ("SEVERE", "WARNING")]
        events = [json.loads(entry["message"])["message"] for entry in performance]
        sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return said, [url for url in urls if not url.startswith(HERE)]


def start(
    chromium: str, chromedriver: str, profile: Path, size: tuple[int, int], flags: tuple[str, ...]
) -> Browser:
    """A new browser with an empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    own = [f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}"]
    for flag in [*FLAGS.split(), *own, *flags]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(chromedriver))
    driver.set_script_timeout(180)
    # a headless window has a least width; the page is told the one that is wanted
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return Browser(driver)
