"""Start the real TensorBoard on a log and open its pages in a real browser.

This command saves a screenshot of the graph as a PNG file, and of the pictures as a JPEG file. Those in docs/ were made
with it:

    python -m tests.end_to_end.tensorboard_pages LOGDIR FOLDER
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import cv2
import numpy as np

SECONDS = 120


def wait_for(look):
    """Call a function until it returns something true, and return that."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing appeared within {SECONDS} s")


class Server:
    """A TensorBoard that listens on a port of this machine."""

    def __init__(self, url):
        self.url = url

    def get(self, route, **query):
        """Return the response of a data route, as bytes."""
        with urllib.request.urlopen(f"{self.url}/data/{route}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            return answer.read()

    def json(self, route, **query):
        return json.loads(self.get(route, **query))


@contextlib.contextmanager
def serving(log_dir):
    """Start TensorBoard on a folder, wait until it has read the runs, and stop it at the end."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--host", "localhost", "--port", "0"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said)

        def address():
            assert process.poll() is None, read(said)
            return re.search(r"http://localhost:\d+", read(said))

        try:
            server = Server(wait_for(address).group())
            wait_for(lambda: server.json("plugin/scalars/tags"))
            yield server
        finally:
            process.terminate()
            process.wait()


def read(file):
    file.seek(0)
    return file.read()


def chromium():
    """Return the path of Chromium or Chrome; None if neither is installed."""
    paths = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in paths if path is not None), None)


def no_browser():
    """Return why no browser can be started; None if one can."""
    if chromium() is None:
        return "Chromium is not installed (Debian's package chromium)"
    if shutil.which("chromedriver") is None:
        return "chromedriver is not installed (Debian's package chromium-driver)"
    return None


@contextlib.contextmanager
def browsing():
    """Start headless Chromium with a new profile."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium()
    with tempfile.TemporaryDirectory() as profile:
        for switch in (
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            "window-size=1400,1000",
            "user-data-dir=" + profile,
        ):
            options.add_argument("--" + switch)
        service = webdriver.chrome.service.Service(shutil.which("chromedriver"))
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


# TensorBoard's page consists of shadow roots. Selectors on the document do not search in them.
_ALL = """
const found = [];
const walk = root => root.querySelectorAll('*').forEach(element => {
    if (element.matches(arguments[0])) found.push(element);
    if (element.shadowRoot) walk(element.shadowRoot);
});
walk(document);
return found.filter(element => element.getBoundingClientRect().width > 0);
"""


def elements(browser, selector):
    """Return the visible elements that a selector matches, including those in shadow roots."""
    return browser.execute_script(_ALL, selector)


def boxes(browser):
    """Return a dict from name to element, for all nodes drawn in the graph."""
    return {box.get_attribute("data-name"): box for box in elements(browser, "g.node")}


def open_box(browser, name):
    """Open a node of the graph with a double click, as a user does."""
    box = boxes(browser)[name]
    browser.execute_script(
        "arguments[0].querySelector('.nodeshape').dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))", box
    )


def main(log_dir, folder):
    """Save screenshots of the graph page and the pictures page."""
    with serving(log_dir) as server, browsing() as browser:
        browser.get(server.url + "/#graphs")
        wait_for(lambda: "total_cost" in boxes(browser))
        time.sleep(3)  # until the view stops moving
        browser.save_screenshot(os.path.join(folder, "tensorboard_graph.png"))
        browser.set_window_size(1500, 850)
        browser.get(server.url + "/?pictures#images")  # without a new address nothing is loaded
        wait_for(lambda: len(elements(browser, "img")) == 3)
        time.sleep(3)
        page = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(os.path.join(folder, "tensorboard_images.jpg"), page, [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main(*sys.argv[1:])
