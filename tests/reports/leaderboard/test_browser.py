"""The site in a browser, from a file, as a reader opens it."""

from __future__ import annotations

import json
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver: see .ci/system-packages"
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
NETWORK = ("http:", "https:", "ws:", "wss:")


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def front(browser, site):
    browser.get((site / "index.html").as_uri())
    return browser


def rows(browser, kind, shown=True):
    found = browser.find_elements(By.CSS_SELECTOR, f"#micro tr.{kind}")
    return [row for row in found if row.is_displayed() == shown]


def head(browser, title):
    heads = browser.find_elements(By.CSS_SELECTOR, "#micro thead th")
    return next(head for head in heads if head.text.startswith(title))


def test_a_click_on_a_head_sorts_and_a_second_one_turns_round(front):
    before = [row.text for row in rows(front, "measured")]
    button = head(front, "Policy").find_element(By.TAG_NAME, "button")
    button.click()
    risen = [row.text for row in rows(front, "measured")]
    assert head(front, "Policy").get_attribute("aria-sort") == "ascending"
    assert [text.split()[0] for text in risen] == sorted(text.split()[0] for text in before)
    button.click()
    fallen = [row.text.split()[0] for row in rows(front, "measured")]
    assert head(front, "Policy").get_attribute("aria-sort") == "descending"
    assert fallen == sorted(fallen, reverse=True)
    kinds = [
        r.get_attribute("data-kind")
        for r in front.find_elements(By.CSS_SELECTOR, "#micro tr[data-kind]")
    ]
    assert kinds == sorted(kinds, key=lambda kind: kind == "quoted"), "quoted rows stay apart"


def test_the_keyboard_reaches_heads_and_sorts(front):
    button = head(front, "Success").find_element(By.TAG_NAME, "button")
    kind = head(front, "Setting").find_element(By.TAG_NAME, "button")
    front.execute_script("arguments[0].focus()", kind)
    front.switch_to.active_element.send_keys(Keys.TAB)
    assert front.switch_to.active_element == button
    assert button.value_of_css_property("outline-style") == "solid"
    button.send_keys(Keys.ENTER)
    cells = [row.find_elements(By.CSS_SELECTOR, "td")[1].text for row in rows(front, "measured")]
    assert [float(c) for c in cells] == sorted(map(float, cells), reverse=True)
    button.send_keys(Keys.SPACE)
    cells = [row.find_elements(By.CSS_SELECTOR, "td")[1].text for row in rows(front, "measured")]
    assert [float(c) for c in cells] == sorted(map(float, cells))


def test_the_first_tab_skips_to_the_content(front):
    front.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert front.switch_to.active_element.text == "Skip to the content"
    assert front.switch_to.active_element.location["x"] >= 0


def test_filters_hide_rows_boards_and_tracks(front):
    everything = len(front.find_elements(By.CSS_SELECTOR, "tr[data-kind]"))
    assert f"{everything} of {everything} rows" in front.find_element(By.TAG_NAME, "output").text
    front.find_element(By.CSS_SELECTOR, "input[value=quoted]").click()
    assert rows(front, "quoted") == []
    assert not front.find_element(By.ID, "moon").is_displayed()
    assert len(rows(front, "elsewhere")) == 1
    front.find_element(By.NAME, "words").send_keys("elsewhere hold")
    assert rows(front, "measured") == []
    assert len(rows(front, "elsewhere")) == 1
    assert front.find_element(By.TAG_NAME, "output").text == f"1 of {everything} rows"


def test_one_suite_alone(front):
    front.find_element(By.NAME, "suite").send_keys("moon")
    assert not front.find_element(By.ID, "micro").is_displayed()
    assert front.find_element(By.ID, "moon").is_displayed()


def test_dark_and_light_follow_the_system(front):
    grounds = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        front.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        body = front.find_element(By.TAG_NAME, "body")
        grounds.append(_lightness(body.value_of_css_property("background-color")))
        ink = _lightness(body.value_of_css_property("color"))
        assert abs(grounds[-1] - ink) > 0.7
    front.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds[0] > 0.9 > 0.2 > grounds[1]


def _lightness(colour):
    red, green, blue = (int(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return (red + green + blue) / 3 / 255


PAGES = (
    "index.html",
    "published.html",
    "policies/random.html",
    "suites/micro.html",
    "runs/random-micro.html",
    "elsewhere/hold-theirs.html",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_narrow_page_does_not_scroll_sideways_and_nothing_goes_wrong(browser, site, page):
    browser.get_log("browser")
    browser.get_log("performance")
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    browser.get((site / page).as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("return window.innerWidth") == 390
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    # The test's film is an empty file.
    log = [line for line in browser.get_log("browser") if ".mp4" not in line["message"]]
    assert log == []
    asked = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = [
        m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"
    ]
    assert any(page in url for url in urls)
    assert not [url for url in urls if url.startswith(NETWORK)]


def test_everything_is_there_without_the_script(browser, site):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get((site / "index.html").as_uri())
    assert len(rows(browser, "measured")) == 5
    assert len(rows(browser, "quoted")) == 2
    assert not browser.find_element(By.ID, "filters").is_displayed()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
