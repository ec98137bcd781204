"""The chat in a real browser: a first visit, streams, branches, the history, and what the browser keeps."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from helpers.fake_serving import CHINESE, ENGLISH, Fake
from serving.web.conftest import Visit, Visits, expect

pytestmark = pytest.mark.slow


def test_a_first_visit_says_what_this_is(visit: Visit) -> None:
    page = visit.page
    expect(page.get_by_role("heading", name="What shall we write?")).to_be_visible()
    expect(visit.find(".hints li")).to_have_count(3)
    tabs = ["Chat", "Completion", "Translation", "Questions", "Arena", "Labelling"]
    expect(visit.find(".tab")).to_have_text(tabs, use_inner_text=True)
    visit.holds(lambda: page.evaluate("document.activeElement.className") == "composer-text")
    visit.find(".example").first.click()
    visit.holds(lambda: visit.find(".composer-text").input_value().startswith("Tell me"))
    visit.button("Send").click()
    visit.reply()
    page.reload()
    page.wait_for_selector(".turn.reply")
    visit.button("New chat", ".find").click()
    expect(visit.find(".examples")).to_be_visible()
    expect(visit.find(".hints")).to_have_count(0)


def test_a_conversation_in_both_languages_streams_whole(visit: Visit) -> None:
    reply = visit.say("Tell me about a lighthouse.")
    expect(reply.locator(".markdown")).to_have_text(ENGLISH.replace("**", ""), use_inner_text=True)
    expect(reply.locator("strong")).to_have_text("Every night", use_inner_text=True)
    reply = visit.say("讲一个灯塔的故事")
    expect(reply.locator(".markdown")).to_have_text(CHINESE.replace("**", ""), use_inner_text=True)
    expect(visit.find(".turns")).not_to_contain_text("�", use_inner_text=True)
    said = visit.fake.asked[-1]
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "user"]
    assert said["messages"][1]["content"] == ENGLISH
    visit.holds(
        lambda: re.fullmatch(
            r"first token [\d.]+ s · [\d.]+ tokens/s · \d+ tokens", reply.locator(".stats").inner_text()
        )
    )
    expect(visit.find(".title")).to_have_text("Tell me about a lighthouse.", use_inner_text=True)


def test_a_reply_shows_while_it_is_written(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word5 ')")
    expect(visit.find(".reply")).to_have_attribute("aria-busy", "true")
    expect(visit.find(".entry .dot")).to_be_visible()
    visit.find(".composer-text").fill("the next one")
    visit.page.keyboard.press("Enter")
    expect(visit.find(".turn.asked")).to_have_count(1)
    visit.button("Stop").click()
    expect(visit.find(".composer-text")).to_have_value("the next one")


def test_stop_ends_the_reply_at_once_on_both_sides(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word9')")
    visit.button("Stop").click()
    reply = visit.reply()
    begun = time.monotonic()
    while visit.fake.streams and time.monotonic() - begun < 2:
        visit.page.wait_for_timeout(20)
    visit.holds(lambda: (visit.fake.streams, visit.fake.left) == (0, 1))
    expect(reply).to_contain_text("You stopped this reply.", use_inner_text=True)
    text = reply.locator(".markdown").inner_text()
    visit.page.wait_for_timeout(150)
    expect(visit.find(".reply .markdown")).to_have_text(text, use_inner_text=True)
    expect(visit.button("Send")).to_be_visible()
    # Escape does the same
    visit.send("slow again")
    visit.until("document.querySelectorAll('.reply').length === 2")
    visit.page.keyboard.press("Escape")
    visit.reply()
    expect(visit.find(".reply .note")).to_have_count(2)


def test_other_replies_and_edited_turns_are_branches(visit: Visit) -> None:
    visit.say("First words")
    visit.say("Second words")
    visit.button("Another reply", ".reply >> nth=0").click()
    visit.reply()
    expect(visit.find(".turn")).to_have_count(2)
    reply = visit.find(".reply")
    expect(reply.locator(".versions span")).to_have_text("2/2", use_inner_text=True)
    visit.holds(lambda: reply.locator(".markdown").inner_text().endswith("(2)"))
    visit.button("The version before").click()
    expect(visit.find(".turn")).to_have_count(4)
    expect(visit.find(".asked").last).to_contain_text("Second words", use_inner_text=True)

    visit.button("Edit", ".asked >> nth=1").click()
    area = visit.find(".editing textarea")
    expect(area).to_have_value("Second words")
    area.fill("Other words")
    visit.page.keyboard.press("Enter")
    visit.reply()
    asked = visit.find(".asked").last
    expect(asked.locator(".bubble")).to_have_text("Other words", use_inner_text=True)
    expect(asked.locator(".versions span")).to_have_text("2/2", use_inner_text=True)
    sent = [message["content"] for message in visit.fake.asked[-1]["messages"]]
    assert sent == ["First words", ENGLISH, "Other words"]
    visit.button("The version before", ".asked >> nth=1").click()
    expect(visit.find(".asked").last.locator(".bubble")).to_have_text("Second words", use_inner_text=True)

    visit.button("Edit", ".asked >> nth=1").click()
    visit.page.keyboard.press("Escape")
    expect(visit.find(".editing")).to_have_count(0)
    visit.page.reload()
    visit.page.wait_for_selector(".turn")
    expect(visit.find(".asked").last.locator(".versions span")).to_have_text("1/2", use_inner_text=True)


def test_the_history_is_found_renamed_and_deleted(visit: Visit) -> None:
    for text in ("Apples and pears", "关于灯塔", "slowly now"):
        visit.send(text)
        if text.startswith("slow"):
            visit.page.wait_for_selector(".reply.writing")
            visit.button("Stop").click()
        visit.reply()
        visit.button("New chat", ".find").click()
    expect(visit.find(".entry a")).to_have_text(
        ["slowly now", "关于灯塔", "Apples and pears"], use_inner_text=True
    )
    search = visit.find(".search")
    search.fill("数着 船只")
    expect(visit.find(".entry a")).to_have_text(["关于灯塔"], use_inner_text=True)
    search.fill("nowhere")
    expect(visit.find(".history")).to_contain_text("No conversation", use_inner_text=True)
    search.fill("")

    visit.find(
        ".entry",
    ).filter(has_text="Apples").hover()
    visit.button("More for “Apples and pears”").click()
    visit.page.get_by_role("menuitem", name="Rename").click()
    visit.find(".dialog input").fill("Fruit")
    visit.page.keyboard.press("Enter")
    visit.find(".entry a").filter(has_text="Fruit").click()
    expect(visit.find(".title")).to_have_text("Fruit", use_inner_text=True)
    expect(visit.find(".bubble")).to_have_text("Apples and pears", use_inner_text=True)

    visit.button("More for “Fruit”").click()
    visit.page.get_by_role("menuitem", name="Delete").click()
    visit.until("document.querySelectorAll('.entry').length === 2")
    expect(visit.find(".welcome")).to_be_visible()
    visit.button("Undo").click()
    visit.until("document.querySelectorAll('.entry').length === 3")
    visit.page.reload()
    visit.page.wait_for_selector(".entry")
    expect(visit.find(".entry a")).to_have_text(["slowly now", "关于灯塔", "Fruit"], use_inner_text=True)


def test_a_deleted_conversation_stays_deleted_though_it_was_being_answered(visit: Visit) -> None:
    visit.send("slow please")
    visit.page.wait_for_selector(".reply.writing")
    visit.find(".entry").hover()
    visit.button("More for “slow please”").click()
    visit.page.get_by_role("menuitem", name="Delete").click()
    visit.page.wait_for_timeout(200)
    visit.page.reload()
    visit.page.wait_for_selector(".welcome")
    expect(visit.find(".entry")).to_have_count(0)


def test_what_is_exported_is_whole_and_comes_back(visit: Visit, tmp_path: Path) -> None:
    visit.say("A/b: <lighthouse>?")
    visit.button("Another reply").click()
    visit.reply()

    def exported(item: str) -> tuple[str, str]:
        visit.find(".entry").hover()
        visit.button("More for “A/b: <lighthouse>?”").click()
        with visit.page.expect_download() as waiting:
            visit.page.get_by_role("menuitem", name=item).click()
        waiting.value.save_as(tmp_path / item)
        return waiting.value.suggested_filename, (tmp_path / item).read_text(encoding="utf-8")

    name, text = exported("Export as Markdown")
    assert name == "Ab-lighthouse.md"
    assert text == f"# A/b: <lighthouse>?\n\n## You\n\nA/b: <lighthouse>?\n\n## aligned\n\n{ENGLISH} (2)\n"
    name, text = exported("Export as JSON")
    assert name == "Ab-lighthouse.json"
    whole = json.loads(text)
    assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
    assert len(whole["nodes"]) == 4

    visit.button("Settings", ".bar").click()
    visit.button("Delete all", ".dialog").click()
    visit.button("Delete", ".dialog.box").click()
    visit.page.wait_for_selector(".welcome")
    expect(visit.find(".entry")).to_have_count(0)
    visit.button("Settings", ".bar").click()
    visit.find("input[type=file]").set_input_files(tmp_path / "Export as JSON")
    visit.page.wait_for_selector(".entry")
    visit.page.keyboard.press("Escape")
    visit.find(".entry a").click()
    expect(visit.find(".versions span")).to_have_text("2/2", use_inner_text=True)
    (tmp_path / "other.json").write_text('{"nodes": {"root": {}}, "id": "x"}')
    visit.button("Settings", ".bar").click()
    visit.find("input[type=file]").set_input_files(tmp_path / "other.json")
    expect(visit.find(".notice")).to_contain_text("holds no conversation", use_inner_text=True)


def test_settings_reach_the_model(visit: Visit) -> None:
    visit.button("Settings", ".bar").click()
    visit.find(".dialog textarea").fill("Be brief.")
    visit.page.get_by_label("Use it for every new conversation").check()
    visit.page.get_by_role("spinbutton", name="Temperature").fill("0.25")
    visit.page.get_by_role("spinbutton", name="Top p").fill("7")
    expect(visit.page.get_by_role("spinbutton", name="Top p")).to_have_attribute("aria-invalid", "true")
    visit.page.get_by_role("spinbutton", name="Seed").fill("11")
    expect(visit.page.get_by_role("slider", name="Most tokens")).to_have_attribute("max", "1024")
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("combobox", name="Model").select_option("supervised")
    visit.say("Hello")
    said = visit.fake.asked[-1]
    assert said["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (said["temperature"], said["seed"], said["model"]) == (0.25, 11, "supervised")
    assert not {"top_p", "top_k"} & set(said)
    visit.button("New chat", ".find").click()
    visit.say("Hello again")
    visit.holds(lambda: visit.fake.asked[-1]["messages"][0]["content"] == "Be brief.")


def test_refusals_and_failures_say_what_to_do(visit: Visit) -> None:
    reply = visit.say("busy now")
    expect(reply).to_contain_text("try again in 7 s", use_inner_text=True)
    reply = visit.say("break please")
    expect(reply.locator(".markdown")).to_contain_text("A lighthouse", use_inner_text=True)
    expect(reply).to_contain_text("The server failed: the engine stopped", use_inner_text=True)
    expect(visit.say("a long one")).to_contain_text("cut off", use_inner_text=True)
    # the turn that was refused is not sent on, for two turns of the user's in a row break templates
    sent = [message["role"] for message in visit.fake.asked[-1]["messages"]]
    assert sent == ["user", "assistant", "user"]
    visit.page.route("**/v1/chat/completions", lambda route: route.abort())
    expect(visit.say("hello")).to_contain_text("cannot be reached", use_inner_text=True)
    visit.page.unroute("**/v1/chat/completions")
    visit.button("Try again").last.click()
    visit.reply()
    expect(visit.find(".reply").last.locator(".markdown")).to_contain_text(
        "A lighthouse", use_inner_text=True
    )


@pytest.mark.parametrize(
    ("locale", "told", "new"),
    [
        ("en-US", "This conversation is as long as the model can read.", "New chat"),
        ("zh-CN", "此对话已达模型能读的最大长度。", "新对话"),
    ],
)
def test_a_full_context_asks_for_a_new_conversation(visits: Visits, locale: str, told: str, new: str) -> None:
    visit = visits(locale=locale)
    visit.say("Hello")
    failure = visit.say("full now").locator(".failure")
    expect(failure).to_contain_text(told, use_inner_text=True)
    expect(failure).not_to_contain_text("2,048", use_inner_text=True)
    expect(failure.get_by_role("button")).to_have_text([new], use_inner_text=True)
    # the same after the conversation is read again from what the browser keeps
    visit.page.reload()
    visit.page.wait_for_selector(".failure")
    expect(visit.find(".failure")).to_contain_text(told, use_inner_text=True)
    visit.button(new, ".failure").click()
    visit.page.wait_for_selector(".welcome")
    expect(visit.find(".entry")).to_have_count(1)
    expect(visit.find(".turn")).to_have_count(0)
    visit.open("completion")
    visit.find(".field").fill("full")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".result .failure")
    expect(visit.find(".failure")).not_to_contain_text("2,048", use_inner_text=True)
    expect(visit.find(".failure button")).to_have_count(0)


def test_a_reply_leaves_room_in_the_context_unless_the_user_says_how_long(visit: Visit) -> None:
    visit.say("Hello")
    visit.holds(lambda: visit.fake.asked[-1]["max_tokens"] == 2048 // 4)
    visit.button("Settings", ".bar").click()
    slider = visit.page.get_by_role("slider", name="Most tokens")
    expect(slider).to_have_value("512")
    visit.page.get_by_role("spinbutton", name="Most tokens").fill("700")
    visit.page.keyboard.press("Escape")
    visit.say("Hello again")
    visit.holds(lambda: visit.fake.asked[-1]["max_tokens"] == 700)
    visit.page.evaluate("localStorage.clear()")
    visit.fake.models = [{"id": "wide", "abilities": ["chat", "completion"], "context": 65536}]
    visit.page.reload()
    visit.say("Hello")
    # no more than the server allows, which refuses what is above it
    visit.holds(lambda: visit.fake.asked[-1]["max_tokens"] == 1024)
    visit.open("completion")
    visit.find(".field").fill("In")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".result .stats")
    visit.holds(lambda: visit.fake.asked[-1]["max_tokens"] == 1024)


@pytest.mark.parametrize(
    ("locale", "told"), [("en-US", "The model is being loaded…"), ("zh-CN", "正在加载模型…")]
)
def test_what_is_sent_while_models_are_loaded_goes_when_they_are_there(
    visits: Visits, fake: Fake, locale: str, told: str
) -> None:
    fake.state = "loading"
    visit = visits(locale=locale)
    visit.page.wait_for_selector(".strip:not(:empty)")
    expect(visit.find(".strip")).to_contain_text(told, use_inner_text=True)
    visit.send("Hello")
    visit.page.wait_for_selector(".reply.waiting")
    visit.page.wait_for_timeout(1200)
    assert not fake.asked
    expect(visit.find(".failure")).to_have_count(0)
    fake.state = "ready"
    expect(visit.reply().locator(".markdown")).to_have_text(ENGLISH.replace("**", ""), use_inner_text=True)
    assert [asked["last"] for asked in fake.asked] == ["Hello"]
    # the context, which was not known before, sets its bound
    assert fake.asked[0]["max_tokens"] == 512
    expect(visit.find(".strip")).not_to_be_visible()


def test_waiting_for_models_can_be_stopped_and_ends_where_none_will_come(visit: Visit) -> None:
    visit.fake.state = "loading"
    visit.send("Hello")
    visit.page.wait_for_selector(".strip:not(:empty)")
    visit.page.keyboard.press("Escape")
    expect(visit.reply()).to_contain_text("You stopped this reply.", use_inner_text=True)
    visit.send("Hello again")
    visit.page.wait_for_selector(".reply.waiting")
    visit.fake.state = "draining"
    expect(visit.reply()).to_contain_text("cannot take this now", use_inner_text=True)
    expect(visit.find(".strip")).not_to_be_visible()
    visit.fake.state = "ready"
    visit.button("Try again").click()
    expect(visit.reply().locator(".markdown")).to_contain_text("A lighthouse", use_inner_text=True)


def test_a_reply_cut_by_a_closed_page_is_kept_as_stopped(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word120 ')")
    visit.page.reload()
    visit.page.wait_for_selector(".reply")
    reply = visit.find(".reply")
    expect(reply).to_contain_text("word9 ", use_inner_text=True)
    expect(reply).to_contain_text("You stopped this reply.", use_inner_text=True)


def test_two_windows_show_the_same_history(visit: Visit) -> None:
    other = Visit(visit.page.context.new_page(), visit.fake, visit.wrong)
    other.page.goto(visit.fake.address)
    other.page.wait_for_selector(".frame")
    visit.say("Said in one window")
    other.page.wait_for_selector(".entry")
    expect(other.find(".entry a")).to_have_text("Said in one window", use_inner_text=True)


def test_the_key_is_asked_for_and_kept_with_the_tab_only(visits: Visits, fake: Fake) -> None:
    fake.key = "sesame"
    visit = visits(wait=".dialog")
    field = visit.find(".dialog input")
    expect(field).to_have_attribute("type", "password")
    field.fill("wrong")
    visit.page.keyboard.press("Enter")
    visit.until("document.body.innerText.includes('refused that key')")
    visit.find(".dialog input").fill("sesame")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".frame")
    visit.say("Hello")
    kept = visit.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    session, local = json.loads(kept)
    assert session == {"chatwright.key": "sesame"}
    assert "sesame" not in json.dumps(local)
    visit.page.reload()
    visit.page.wait_for_selector(".frame")
    # the server got another key meanwhile
    fake.key = "open"
    visit.send("Hello again")
    visit.page.wait_for_selector(".dialog")
    visit.find(".dialog input").fill("open")
    visit.page.keyboard.press("Enter")
    expect(visit.reply().locator(".markdown")).to_contain_text("A lighthouse", use_inner_text=True)
    visit.button("Settings", ".bar").click()
    visit.button("Forget the key").click()
    visit.holds(lambda: visit.page.evaluate("sessionStorage.length") == 0)
    fake.key = "third"
    visit.send("Hello")
    visit.page.wait_for_selector(".dialog")
    visit.button("Cancel", ".dialog").click()
    expect(visit.reply()).to_contain_text("asks for a key", use_inner_text=True)


def test_only_what_models_can_do_is_offered(visits: Visits, fake: Fake) -> None:
    fake.models = [{"id": "base", "abilities": ["completion"]}]
    fake.votes = False
    visit = visits(wait=".page")
    expect(visit.find(".tab")).to_have_count(0)
    expect(visit.find(".title")).to_have_text("Completion", use_inner_text=True)
    fake.models = [{"id": "talker", "abilities": ["chat"]}]
    visit = visits()
    expect(visit.find(".tab")).to_have_text(["Chat", "Questions"], use_inner_text=True)
    reply = visit.say("Hello")
    expect(visit.button("Good reply")).to_have_count(0)
    visit.holds(lambda: reply.locator(".stats").inner_text())


def test_citations_open_on_a_click(visit: Visit) -> None:
    reply = visit.say("cite your sources")
    visit.holds(lambda: visit.fake.asked[-1]["documents"] is True)
    expect(reply.locator(".markdown .mark")).to_have_text(["1", "2"], use_inner_text=True)
    expect(reply).to_contain_text("Not a source: [7].", use_inner_text=True)
    visit.button("Open passage 1").click()
    passage = visit.find(".dialog .passage")
    visit.until("document.querySelector('.passage').innerText.includes('the dawn')")
    visit.holds(
        lambda: passage.inner_text() == "The lamp is lit at dusk. <b>Always.</b>\n\n<i>And then</i> the dawn."
    )
    expect(visit.find(".dialog")).to_contain_text("docs/lamp.md", use_inner_text=True)
    visit.page.keyboard.press("Escape")
    reply.get_by_role("button", name="2 · log.txt").click()
    expect(visit.find(".dialog h2")).to_have_text("[2] log.txt", use_inner_text=True)
    visit.page.keyboard.press("Escape")
    visit.button("Answer from the server's documents").click()
    visit.say("cite nothing")
    assert "documents" not in visit.fake.asked[-1]


def test_thoughts_stand_apart(visit: Visit) -> None:
    reply = visit.say("think first")
    expect(reply.locator(".markdown")).to_have_text("Here it is.", use_inner_text=True)
    reply.locator("summary").click()
    expect(reply.locator(".thought-text")).to_have_text("Let me see.", use_inner_text=True)
