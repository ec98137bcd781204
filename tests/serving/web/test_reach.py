"""The page for everyone: both languages, light and dark, a phone, the keyboard alone, an input method, a screen reader."""

from __future__ import annotations

from typing import Any

import pytest

from serving.web.conftest import Visit, Visits, expect

pytestmark = pytest.mark.slow

TABS = ("chat", "completion", "translation", "questions", "arena", "labelling")
# Visible texts whose contrast to what is behind them is below what WCAG 2.2 AA asks for, with the contrast.
FAINT = """() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
    const brush = canvas.getContext('2d', { willReadFrequently: true });
    const paint = (colours) => {
        brush.globalCompositeOperation = 'source-over';
        brush.clearRect(0, 0, 1, 1);
        for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
        return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    while (walker.nextNode()) {
        const text = walker.currentNode.data.trim();
        const element = walker.currentNode.parentElement;
        if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        if (element.closest(':disabled, .hidden, .skip, noscript, .katex, select')) continue;
        const behind = [];
        for (let each = element; each; each = each.parentElement) behind.unshift(getComputedStyle(each).backgroundColor);
        const style = getComputedStyle(element);
        const [a, b] = [light(paint(behind)), light(paint([...behind, style.color]))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const size = Number.parseFloat(style.fontSize);
        const wanted = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
        if (contrast < wanted) faint.push([text.slice(0, 40), contrast.toFixed(2)]);
    }
    return faint;
}"""
NAMELESS = """() => [...document.querySelectorAll('button, a[href], input, textarea, select, [role]')]
    .filter((e) => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
    .filter((e) => !(e.getAttribute('aria-label') || e.innerText?.trim() || e.labels?.length || e.title
        || /^(log|status|none|alert|group|menu|region)$/.test(e.getAttribute('role'))))
    .map((e) => e.outerHTML.slice(0, 120))"""
SMALL = """() => [...document.querySelectorAll('button, a[href], select, summary')]
    .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest('.markdown, .skip'))
    .map((e) => [e.getAttribute('aria-label') || e.innerText, e.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24).map(([name, box]) => [name, box.width, box.height])"""


def in_each_tab(visit: Visit, script: str) -> dict[str, Any]:
    """What `script` finds in every tab, with something to see in it."""
    found = {}
    for tab in TABS:
        visit.open(tab)
        if tab == "chat":
            visit.say("rich, please")
            visit.say("busy")
            visit.say("cite, think, long")
            visit.find(".reply").last.hover()
        elif tab == "labelling":
            visit.page.wait_for_selector(".rank-card")
        elif tab == "arena":
            visit.send("Tell me")
            visit.page.wait_for_selector(".verdict")
        visit.page.wait_for_timeout(200)
        found[tab] = visit.page.evaluate(script)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast_and_every_control_a_name(visits: Visits, scheme: str) -> None:
    visit = visits(color_scheme=scheme, reduced_motion="reduce")
    assert visit.page.evaluate(FAINT) == []
    assert visit.page.evaluate(NAMELESS) == []
    assert not any(in_each_tab(visit, f"() => [...({FAINT})(), ...({NAMELESS})()]").values())
    visit.open("chat")
    visit.page.get_by_role("button", name="Good reply").last.click()
    visit.find(".vote-form .card").wait_for()
    assert visit.page.evaluate(FAINT) == []
    visit.button("Settings", ".bar").click()
    visit.page.wait_for_timeout(200)
    assert visit.page.evaluate(FAINT) == []
    assert visit.page.evaluate(NAMELESS) == []


def test_the_theme_follows_the_system_until_one_is_chosen(visits: Visits) -> None:
    def back(visit: Visit) -> int:
        colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(colour.removeprefix("rgb(").split(",")[0])

    visit = visits(color_scheme="dark")
    assert back(visit) < 60
    visit.page.get_by_role("button", name="Theme: as the system").first.click()
    assert back(visit) == 255
    visit.page.reload()
    visit.page.wait_for_selector(".frame")
    assert back(visit) == 255
    visit.page.get_by_role("button", name="Theme: light").click()
    assert back(visit) < 60
    visit.holds(
        lambda: visit.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
            "Theme: dark"
        )
    )


def test_the_language_follows_the_browser_and_can_be_changed(visits: Visits) -> None:
    visit = visits(locale="zh-CN")
    visit.holds(lambda: visit.page.evaluate("document.documentElement.lang") == "zh-CN")
    expect(visit.page.get_by_role("heading", name="想写点什么？")).to_be_visible()
    expect(visit.find(".tab")).to_have_text(
        ["对话", "续写", "翻译", "文本问答", "盲评", "标注"], use_inner_text=True
    )
    visit.say("灯塔")
    expect(visit.find(".stats")).to_contain_text("词元/秒", use_inner_text=True)
    # in the middle of a reply, which goes on
    visit.send("slow")
    visit.until("document.querySelectorAll('.reply')[1]?.innerText.includes('word5 ')")
    visit.find(".foot .language").click()
    visit.holds(lambda: visit.page.evaluate("document.documentElement.lang") == "en")
    visit.until("document.querySelectorAll('.reply')[1]?.innerText.includes('word20 ')")
    visit.button("Stop").click()
    expect(visit.reply()).to_contain_text("You stopped this reply.", use_inner_text=True)
    visit.page.reload()
    visit.page.wait_for_selector(".turn")
    expect(visit.find(".tab").first).to_have_text("Chat", use_inner_text=True)
    assert visits(locale="fr-FR").page.evaluate("document.documentElement.lang") == "en"
    assert visits(locale="zh-TW").page.evaluate("document.documentElement.lang") == "zh-CN"


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_shows_everything_without_sliding_sideways(visits: Visits, locale: str) -> None:
    visit = visits(390, 844, locale=locale, has_touch=True, is_mobile=True)
    expect(visit.find(".sidebar")).not_to_be_visible()
    wide = "() => document.documentElement.scrollWidth > innerWidth || document.querySelector('.frame').scrollWidth > innerWidth"
    found = in_each_tab(visit, f"() => [({wide})(), ...({SMALL})()]")
    assert found == {tab: [False] for tab in TABS}
    visit.find(".bar button").first.tap()
    expect(visit.find(".sidebar")).to_be_visible()
    visit.holds(
        lambda: visit.page.evaluate("document.querySelector('.sidebar').contains(document.activeElement)")
    )
    visit.find(".entry a").tap()
    visit.find(".sidebar").wait_for(state="hidden")
    expect(visit.find(".reply")).to_have_count(3)
    box = visit.find(".composer-text").bounding_box()
    assert box is not None
    assert 0 < box["y"] < 844 - box["height"]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_first_visit_on_a_small_phone_begins_at_the_top(visits: Visits, locale: str) -> None:
    visit = visits(360, 560, locale=locale, has_touch=True, is_mobile=True)
    visit.page.wait_for_timeout(150)
    scroller = visit.find(".scroller")
    assert scroller.evaluate("e => e.scrollHeight > e.clientHeight + 80")
    assert scroller.evaluate("e => e.scrollTop") == 0
    logo, bar = visit.find(".welcome img").bounding_box(), visit.find(".bar").bounding_box()
    assert logo is not None
    assert bar is not None
    assert logo["y"] >= bar["y"] + bar["height"]
    scroller.evaluate("e => { e.scrollTop = 20; }")
    visit.page.wait_for_timeout(60)
    expect(visit.find(".jump")).not_to_be_visible()
    visit.say("rich")
    assert scroller.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop") < 80


def test_everything_can_be_done_by_keys(visit: Visit) -> None:
    press = visit.page.keyboard.press
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
    visit.page.keyboard.type("Hello there")
    press("Shift+Enter")
    visit.page.keyboard.type("second line")
    press("Enter")
    visit.reply()
    visit.holds(lambda: visit.find(".bubble").inner_text() == "Hello there\nsecond line")
    seen = []
    for _ in range(8):
        press("Shift+Tab")
        seen.append(visit.page.evaluate(focused))
    assert {"Good reply", "Bad reply", "Another reply", "Copy"} <= set(seen)
    visit.button("Another reply").focus()
    press("Enter")
    visit.reply()
    expect(visit.find(".versions")).to_have_text("2/2", use_inner_text=True)
    press("/")
    visit.holds(lambda: visit.page.evaluate(focused) == "Write a message")
    press("Control+k")
    visit.holds(lambda: visit.page.evaluate(focused) == "Search conversations")
    press("Tab")
    press("Tab")
    press("Tab")
    visit.holds(lambda: visit.page.evaluate(focused) == "More for “Hello there”")
    press("Enter")
    press("ArrowDown")
    press("ArrowUp")
    press("ArrowUp")
    visit.holds(lambda: visit.page.evaluate(focused) == "Delete")
    press("Escape")
    visit.holds(lambda: visit.page.evaluate(focused) == "More for “Hello there”")
    press("Alt+n")
    expect(visit.find(".welcome")).to_be_visible()
    visit.page.reload()
    visit.page.wait_for_selector(".frame")
    visit.holds(
        lambda: visit.page.evaluate("document.querySelector('a, button, textarea').className") == "skip"
    )
    visit.find(".skip").focus()
    press("Enter")
    visit.holds(
        lambda: visit.page.evaluate("document.querySelector('.room').contains(document.activeElement)")
    )


def test_the_focus_is_always_to_be_seen(visit: Visit) -> None:
    visit.say("Hello")
    unseen = []
    for _ in range(24):
        visit.page.keyboard.press("Tab")
        visit.page.wait_for_timeout(40)
        seen = visit.page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e.closest('.composer-box') ?? e);
            return [e.tagName, e.className, s.outlineStyle !== 'none' && Number.parseFloat(s.outlineWidth) >= 2,
                e.checkVisibility({ opacityProperty: true })]; }"""
        )
        if seen[0] != "BODY" and not (seen[2] and seen[3]):
            unseen.append(seen)
    assert not unseen


def test_the_enter_of_an_input_method_sends_nothing(visit: Visit) -> None:
    devtools = visit.page.context.new_cdp_session(visit.page)
    area = visit.find(".composer-text")
    area.focus()
    devtools.send("Input.imeSetComposition", {"text": "nihao", "selectionStart": 5, "selectionEnd": 5})
    expect(area).to_have_value("nihao")
    visit.page.keyboard.press("Enter")
    # as Safari tells of it
    area.evaluate(
        "e => e.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }))"
    )
    expect(visit.find(".turn")).to_have_count(0)
    devtools.send("Input.insertText", {"text": "你好"})
    visit.holds(lambda: area.input_value().strip() == "你好")
    visit.page.keyboard.press("Enter")
    visit.reply()
    expect(visit.find(".bubble")).to_have_text("你好", use_inner_text=True)


def test_a_finished_reply_is_announced(visit: Visit) -> None:
    visit.say("Hello")
    expect(visit.find(".hidden[role=status]")).to_have_text("The reply is finished.", use_inner_text=True)
    expect(visit.find("[role=log]")).to_have_attribute("aria-label", "Conversation")
