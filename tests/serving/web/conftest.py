"""A visit to the page in a real browser. Whatever happens in it, nothing may run, warn or call elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from helpers.fake_serving import Fake, fake_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

Visits = Callable[..., "Visit"]


def expect(locator: Locator) -> Any:
    """What a part of the page is to be, soon: the page draws after an event, not in it."""
    from playwright.sync_api import expect as expectation

    expectation.set_options(timeout=10_000)
    return expectation(locator)


@dataclass
class Visit:
    """A page that is open, and what went wrong in it."""

    page: Page
    fake: Fake
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        page = self.page
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        # a refusal that a test asks for is no fault
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.fake.address, "blob:")):
            self.wrong.append(f"a request to {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str, within: str = "body") -> Locator:
        return self.find(within).get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> Locator:
        """Send a message and wait for the whole reply."""
        self.send(text)
        return self.reply()

    def send(self, text: str) -> None:
        self.find(".composer-text").fill(text)
        self.page.keyboard.press("Enter")

    def reply(self) -> Locator:
        """The last reply, once it is whole."""
        self.until("document.querySelector('.reply') && !document.querySelector('.writing, .waiting')")
        return self.find(".turn.reply").last

    def until(self, expression: str) -> None:
        """Wait until an expression holds; the page's policy leaves no other way to ask for it again and again."""
        self.holds(lambda: self.page.evaluate(expression), expression)

    def holds(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait until a condition holds, on the page or in what the server was asked."""
        for _ in range(500):
            with suppress(LookupError):
                if condition():
                    return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came true: {what or condition.__code__.co_names}")

    def open(self, tab: str) -> None:
        # by script, for on a phone the tabs are in a drawer
        self.find(f".tab[data-tab={tab}]").evaluate("link => link.click()")
        self.page.wait_for_selector(f".tab[data-tab={tab}][aria-current=page]", state="attached")

    def module(self, name: str, body: str, argument: Any = None) -> Any:
        """What `body` returns, with `m` the module of the page and `given` the argument."""
        script = """async ([name, body, given]) => {
            const base = document.querySelector("script[type=module]").src.replace(/main\\.js$/, "");
            const m = await import(base + name);
            return await RUN;
        }""".replace("RUN", f"(async () => {{ {body} }})()")
        return self.page.evaluate(script, [name, body, argument])


@pytest.fixture(scope="session")
def fake_page() -> Iterator[Fake]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def fake(fake_page: Fake) -> Fake:
    fake_page.reset()
    return fake_page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium is installed; install one, for example with `apt-get install chromium`")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visits(browser: Browser, fake: Fake) -> Iterator[Visits]:
    """Opens the page as a new visitor: `visits(width, height, locale="en-US", wait=".frame", …)`."""
    made: list[Visit] = []

    def visit(width: int = 1200, height: int = 800, wait: str = ".frame", **more: Any) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height}, **{"locale": "en-US", **more}
        )
        context.set_default_timeout(10_000)
        made.append(Visit(context.new_page(), fake))
        made[-1].watch()
        made[-1].page.goto(fake.address)
        made[-1].page.wait_for_selector(wait)
        return made[-1]

    yield visit
    for each in made:
        each.page.context.close()
    assert not [wrong for each in made for wrong in each.wrong]


@pytest.fixture
def visit(visits: Visits) -> Visit:
    return visits()
