"""What a model writes stays text: nothing of it runs, loads or leads away, wherever it is shown."""

from __future__ import annotations

import pytest

from helpers.fake_serving import INJECTION
from serving.web.conftest import Visit, expect

pytestmark = pytest.mark.slow

# Elements that would act, and attributes that would.
ACTS = """() => [...document.querySelectorAll('#app *, dialog *')].filter((e) =>
    /^(SCRIPT|IFRAME|OBJECT|EMBED|STYLE|LINK|BASE|FORM|META)$/.test(e.tagName)
    || (e.tagName === 'IMG' && !e.src.endsWith('/mark.svg'))
    || [...e.attributes].some((a) => /^on/.test(a.name) || /^\\s*javascript:/i.test(a.value))
).map((e) => e.outerHTML)"""


def test_injections_are_shown_as_text_and_do_nothing(visit: Visit) -> None:
    reply = visit.say("inject")
    visit.page.wait_for_timeout(300)
    text = reply.locator(".markdown").inner_text()
    for piece in (
        '<img src=x onerror="alert(1)"> </script><script>alert(2)</script>',
        "<b>bold</b>",
        '<iframe src="http://evil.example/frame"></iframe>',
        "<style>body{display:none}</style>",
    ):
        assert piece in text
    assert visit.page.evaluate(ACTS) == []
    links = reply.locator(".markdown a").evaluate_all(
        "all => all.map((a) => [a.getAttribute('href'), a.target, a.rel])"
    )
    safe = ["_blank", "noopener noreferrer nofollow"]
    assert [link for link in links if link[0]] == [
        ["http://evil.example/spy.png", *safe],
        ["http://evil.example/page", *safe],
    ]


def test_injections_do_nothing_in_titles_menus_files_and_other_tabs(visit: Visit) -> None:
    visit.say("inject <img src=x onerror=alert(7)>")
    expect(visit.find(".entry a")).to_have_text("inject <img src=x onerror=alert(7)>", use_inner_text=True)
    visit.page.reload()
    visit.page.wait_for_selector(".reply .code")
    visit.open("completion")
    visit.find(".field").fill("</textarea><script>alert(8)</script>")
    visit.button("Continue").click()
    visit.page.wait_for_selector(".result .stats")
    expect(visit.find(".result")).to_contain_text("there was a lamp <b>。", use_inner_text=True)
    visit.find(".field").fill("inject")
    visit.button("Continue").click()
    visit.until(
        "document.querySelector('.result .stats') && document.querySelector('.made').innerText.length > 100"
    )
    visit.holds(
        lambda: visit.find(".made").evaluate("e => [e.textContent, e.children.length]") == [INJECTION, 0]
    )
    visit.open("questions")
    visit.find(".field").fill("<script>alert(10)</script>")
    visit.send("inject")
    visit.page.wait_for_selector(".answer .stats")
    expect(visit.find(".answer .markdown")).to_contain_text("<script>alert(2)</script>", use_inner_text=True)
    assert visit.page.evaluate(ACTS) == []
    visit.open("translation")
    visit.find(".field").fill("<svg onload=alert(9)>")
    visit.button("Translate").click()
    visit.until("document.querySelector('.translated').innerText.includes('<svg onload=alert(9)>')")
    visit.open("arena")
    visit.send("inject")
    visit.page.wait_for_selector(".verdict")
    visit.open("labelling")
    visit.page.wait_for_selector(".rank-card")
    expect(visit.find(".ranked")).to_contain_text("<img src=x onerror=alert(6)>", use_inner_text=True)
    assert visit.page.evaluate(ACTS) == []


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("a <script>alert(1)</script> b", "a <script>alert(1)</script> b"),
        ("&lt;img src=x onerror=alert(1)&gt;", "<img src=x onerror=alert(1)>"),
        ("[x](javascript:alert(1))", "x"),
        ("[x](JaVa\tScript:alert(1))", None),
        ("[x](data:text/html,<script>alert(1)</script>)", None),
        ("[x](//evil.example)", "x"),
        ("[x]: javascript:alert(1)\n\n[x]", "x"),
        ("![a](x onerror=alert(1))", None),
        ("<a href='javascript:alert(1)'>x</a>", "<a href='javascript:alert(1)'>x</a>"),
        ("`<b>`", "<b>"),
        ('```"onmouseover=alert(1)\nx\n```', None),
        ("$<img src=x onerror=alert(1)>$", None),
        ("\\(\\htmlStyle{color:red}{x}\\)", None),
        ("<math><mi//xlink:href='data:x,<script>alert(1)</script>'>", None),
        ("<!-- --!><img src=x onerror=alert(1)>", None),
    ],
)
def test_markdown_makes_no_element_that_acts(visit: Visit, written: str, shown: str | None) -> None:
    body = """const made = m.markdown(given); document.querySelector('#app').append(made);
        await new Promise((r) => setTimeout(r, 30)); return made.innerText.trim();"""
    text = visit.module("lib/markdown.js", body, written)
    assert shown is None or text == shown
    assert visit.page.evaluate(ACTS) == []
    expect(visit.find(".markdown a[href]")).to_have_count(0)


def test_the_policy_stops_what_would_get_through(visit: Visit) -> None:
    ran = """async () => {
        window.ran = [];
        const blocked = [];
        document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.effectiveDirective));
        const script = document.createElement('script');
        try { script.textContent = "window.ran.push(1)"; document.body.append(script); } catch { blocked.push('trusted'); }
        try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); window.ran.push(2); } catch { blocked.push('trusted'); }
        try { await fetch('http://evil.example/'); window.ran.push(3); } catch { /* blocked */ }
        const image = new Image(); image.src = 'http://evil.example/a.png';
        await new Promise((r) => setTimeout(r, 200));
        return [window.ran, blocked];
    }"""
    happened, blocked = visit.page.evaluate(ran)
    assert happened == []
    assert {"connect-src", "img-src", "require-trusted-types-for"} <= set(blocked)
    # these were on purpose
    visit.wrong.clear()


def test_the_whole_injection_is_there_to_be_copied(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reply = visit.say("inject")
    reply.locator(".actions").get_by_role("button", name="Copy").click()
    visit.holds(lambda: visit.page.evaluate("navigator.clipboard.readText()") == INJECTION)
