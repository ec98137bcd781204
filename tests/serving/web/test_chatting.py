"""The chat in a real browser: a first visit, streams, branches, the history, and what the browser keeps."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from helpers.fake_serving import CHINESE, ENGLISH, Fake
from serving.web.conftest import Visit, Visits

pytestmark = pytest.mark.slow


def test_a_first_visit_says_what_this_is(visit: Visit) -> None:
    page = visit.page
    assert page.get_by_role("heading", name="What shall we write?").is_visible()
    assert visit.find(".hints li").count() == 3
    tabs = visit.find(".tab").all_inner_texts()
    assert tabs == ["Chat", "Completion", "Translation", "Questions", "Arena", "Labelling"]
    assert page.evaluate("document.activeElement.className") == "composer-text"
    visit.find(".example").first.click()
    assert visit.find(".composer-text").input_value().startswith("Tell me")
    visit.button("Send").click()
    visit.reply()
    page.reload()
    page.wait_for_selector(".turn.reply")
    visit.button("New chat", ".find").click()
    assert visit.find(".examples").is_visible()
    assert not visit.find(".hints").count()


def test_a_conversation_in_both_languages_streams_whole(visit: Visit) -> None:
    reply = visit.say("Tell me about a lighthouse.")
    assert reply.locator(".markdown").inner_text() == ENGLISH.replace("**", "")
    assert reply.locator("strong").inner_text() == "Every night"
    reply = visit.say("讲一个灯塔的故事")
    assert reply.locator(".markdown").inner_text() == CHINESE.replace("**", "")
    assert "�" not in visit.find(".turns").inner_text()
    said = visit.fake.asked[-1]
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "user"]
    assert said["messages"][1]["content"] == ENGLISH
    assert re.fullmatch(
        r"first token [\d.]+ s · [\d.]+ tokens/s · \d+ tokens", reply.locator(".stats").inner_text()
    )
    assert visit.find(".title").inner_text() == "Tell me about a lighthouse."


def test_a_reply_shows_while_it_is_written(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word5 ')")
    assert visit.find(".reply").get_attribute("aria-busy") == "true"
    assert visit.find(".entry .dot").is_visible()
    visit.find(".composer-text").fill("the next one")
    visit.page.keyboard.press("Enter")
    assert visit.find(".turn.asked").count() == 1
    visit.button("Stop").click()
    assert visit.find(".composer-text").input_value() == "the next one"


def test_stop_ends_the_reply_at_once_on_both_sides(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word9')")
    visit.button("Stop").click()
    reply = visit.reply()
    begun = time.monotonic()
    while visit.fake.streams and time.monotonic() - begun < 2:
        visit.page.wait_for_timeout(20)
    assert (visit.fake.streams, visit.fake.left) == (0, 1)
    assert "You stopped this reply." in reply.inner_text()
    text = reply.locator(".markdown").inner_text()
    visit.page.wait_for_timeout(150)
    assert visit.find(".reply .markdown").inner_text() == text
    assert visit.button("Send").is_visible()
    # Escape does the same
    visit.send("slow again")
    visit.until("document.querySelectorAll('.reply').length === 2")
    visit.page.keyboard.press("Escape")
    visit.reply()
    assert visit.find(".reply .note").count() == 2


def test_other_replies_and_edited_turns_are_branches(visit: Visit) -> None:
    visit.say("First words")
    visit.say("Second words")
    visit.button("Another reply", ".reply >> nth=0").click()
    visit.reply()
    assert visit.find(".turn").count() == 2
    reply = visit.find(".reply")
    assert reply.locator(".versions span").inner_text() == "2/2"
    assert reply.locator(".markdown").inner_text().endswith("(2)")
    visit.button("The version before").click()
    assert visit.find(".turn").count() == 4
    assert visit.find(".asked").last.inner_text().startswith("Second words")

    visit.button("Edit", ".asked >> nth=1").click()
    area = visit.find(".editing textarea")
    assert area.input_value() == "Second words"
    area.fill("Other words")
    visit.page.keyboard.press("Enter")
    visit.reply()
    asked = visit.find(".asked").last
    assert asked.locator(".bubble").inner_text() == "Other words"
    assert asked.locator(".versions span").inner_text() == "2/2"
    sent = [message["content"] for message in visit.fake.asked[-1]["messages"]]
    assert sent == ["First words", ENGLISH, "Other words"]
    visit.button("The version before", ".asked >> nth=1").click()
    assert visit.find(".asked").last.locator(".bubble").inner_text() == "Second words"

    visit.button("Edit", ".asked >> nth=1").click()
    visit.page.keyboard.press("Escape")
    assert not visit.find(".editing").count()
    visit.page.reload()
    visit.page.wait_for_selector(".turn")
    assert visit.find(".asked").last.locator(".versions span").inner_text() == "1/2"


def test_the_history_is_found_renamed_and_deleted(visit: Visit) -> None:
    for text in ("Apples and pears", "关于灯塔", "slowly now"):
        visit.send(text)
        if text.startswith("slow"):
            visit.page.wait_for_selector(".reply.writing")
            visit.button("Stop").click()
        visit.reply()
        visit.button("New chat", ".find").click()
    assert visit.find(".entry a").all_inner_texts() == ["slowly now", "关于灯塔", "Apples and pears"]
    search = visit.find(".search")
    search.fill("数着 船只")
    assert visit.find(".entry a").all_inner_texts() == ["关于灯塔"]
    search.fill("nowhere")
    assert "No conversation" in visit.find(".history").inner_text()
    search.fill("")

    visit.find(
        ".entry",
    ).filter(has_text="Apples").hover()
    visit.button("More for “Apples and pears”").click()
    visit.page.get_by_role("menuitem", name="Rename").click()
    visit.find(".dialog input").fill("Fruit")
    visit.page.keyboard.press("Enter")
    visit.find(".entry a").filter(has_text="Fruit").click()
    assert visit.find(".title").inner_text() == "Fruit"
    assert visit.find(".bubble").inner_text() == "Apples and pears"

    visit.button("More for “Fruit”").click()
    visit.page.get_by_role("menuitem", name="Delete").click()
    visit.until("document.querySelectorAll('.entry').length === 2")
    assert visit.find(".welcome").is_visible()
    visit.button("Undo").click()
    visit.until("document.querySelectorAll('.entry').length === 3")
    visit.page.reload()
    visit.page.wait_for_selector(".entry")
    assert visit.find(".entry a").all_inner_texts() == ["slowly now", "关于灯塔", "Fruit"]


def test_a_deleted_conversation_stays_deleted_though_it_was_being_answered(visit: Visit) -> None:
    visit.send("slow please")
    visit.page.wait_for_selector(".reply.writing")
    visit.find(".entry").hover()
    visit.button("More for “slow please”").click()
    visit.page.get_by_role("menuitem", name="Delete").click()
    visit.page.wait_for_timeout(200)
    visit.page.reload()
    visit.page.wait_for_selector(".welcome")
    assert not visit.find(".entry").count()


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
    assert not visit.find(".entry").count()
    visit.button("Settings", ".bar").click()
    visit.find("input[type=file]").set_input_files(tmp_path / "Export as JSON")
    visit.page.wait_for_selector(".entry")
    visit.page.keyboard.press("Escape")
    visit.find(".entry a").click()
    assert visit.find(".versions span").inner_text() == "2/2"
    (tmp_path / "other.json").write_text('{"nodes": {"root": {}}, "id": "x"}')
    visit.button("Settings", ".bar").click()
    visit.find("input[type=file]").set_input_files(tmp_path / "other.json")
    assert "holds no conversation" in visit.find(".notice").inner_text()


def test_settings_reach_the_model(visit: Visit) -> None:
    visit.button("Settings", ".bar").click()
    visit.find(".dialog textarea").fill("Be brief.")
    visit.page.get_by_label("Use it for every new conversation").check()
    visit.page.get_by_role("spinbutton", name="Temperature").fill("0.25")
    visit.page.get_by_role("spinbutton", name="Top p").fill("7")
    assert visit.page.get_by_role("spinbutton", name="Top p").get_attribute("aria-invalid") == "true"
    visit.page.get_by_role("spinbutton", name="Seed").fill("11")
    assert visit.page.get_by_role("slider", name="Most tokens").get_attribute("max") == "1024"
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("combobox", name="Model").select_option("supervised")
    visit.say("Hello")
    said = visit.fake.asked[-1]
    assert said["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (said["temperature"], said["seed"], said["model"]) == (0.25, 11, "supervised")
    assert not {"top_p", "top_k"} & set(said)
    visit.button("New chat", ".find").click()
    visit.say("Hello again")
    assert visit.fake.asked[-1]["messages"][0]["content"] == "Be brief."


def test_refusals_and_failures_say_what_to_do(visit: Visit) -> None:
    reply = visit.say("busy now")
    assert "try again in 7 s" in reply.inner_text()
    reply = visit.say("break please")
    assert "A lighthouse" in reply.locator(".markdown").inner_text()
    assert "The server failed: the engine stopped" in reply.inner_text()
    assert "cut off" in visit.say("a long one").inner_text()
    # the turn that was refused is not sent on, for two turns of the user's in a row break templates
    sent = [message["role"] for message in visit.fake.asked[-1]["messages"]]
    assert sent == ["user", "assistant", "user"]
    visit.page.route("**/v1/chat/completions", lambda route: route.abort())
    assert "cannot be reached" in visit.say("hello").inner_text()
    visit.page.unroute("**/v1/chat/completions")
    visit.button("Try again").last.click()
    visit.reply()
    assert visit.find(".reply").last.locator(".markdown").inner_text().startswith("A lighthouse")


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
    assert told in failure.inner_text()
    assert "2,048" not in failure.inner_text()
    assert failure.get_by_role("button").all_inner_texts() == [new]
    # the same after the conversation is read again from what the browser keeps
    visit.page.reload()
    visit.page.wait_for_selector(".failure")
    assert told in visit.find(".failure").inner_text()
    visit.button(new, ".failure").click()
    visit.page.wait_for_selector(".welcome")
    assert visit.find(".entry").count() == 1
    assert not visit.find(".turn").count()
    visit.open("completion")
    visit.find(".field").fill("full")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".result .failure")
    assert "2,048" not in visit.find(".failure").inner_text()
    assert not visit.find(".failure button").count()


def test_a_reply_leaves_room_in_the_context_unless_the_user_says_how_long(visit: Visit) -> None:
    visit.say("Hello")
    assert visit.fake.asked[-1]["max_tokens"] == 2048 // 4
    visit.button("Settings", ".bar").click()
    slider = visit.page.get_by_role("slider", name="Most tokens")
    assert slider.input_value() == "512"
    visit.page.get_by_role("spinbutton", name="Most tokens").fill("700")
    visit.page.keyboard.press("Escape")
    visit.say("Hello again")
    assert visit.fake.asked[-1]["max_tokens"] == 700
    visit.page.evaluate("localStorage.clear()")
    visit.fake.models = [{"id": "wide", "abilities": ["chat", "completion"], "context": 65536}]
    visit.page.reload()
    visit.say("Hello")
    # no more than the server allows, which refuses what is above it
    assert visit.fake.asked[-1]["max_tokens"] == 1024
    visit.open("completion")
    visit.find(".field").fill("In")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".result .stats")
    assert visit.fake.asked[-1]["max_tokens"] == 1024


@pytest.mark.parametrize(
    ("locale", "told"), [("en-US", "The model is being loaded…"), ("zh-CN", "正在加载模型…")]
)
def test_what_is_sent_while_models_are_loaded_goes_when_they_are_there(
    visits: Visits, fake: Fake, locale: str, told: str
) -> None:
    fake.state = "loading"
    visit = visits(locale=locale)
    visit.page.wait_for_selector(".strip:not(:empty)")
    assert told in visit.find(".strip").inner_text()
    visit.send("Hello")
    visit.page.wait_for_selector(".reply.waiting")
    visit.page.wait_for_timeout(1200)
    assert not fake.asked
    assert not visit.find(".failure").count()
    fake.state = "ready"
    assert visit.reply().locator(".markdown").inner_text() == ENGLISH.replace("**", "")
    assert [asked["last"] for asked in fake.asked] == ["Hello"]
    # the context, which was not known before, sets its bound
    assert fake.asked[0]["max_tokens"] == 512
    assert not visit.find(".strip").is_visible()


def test_waiting_for_models_can_be_stopped_and_ends_where_none_will_come(visit: Visit) -> None:
    visit.fake.state = "loading"
    visit.send("Hello")
    visit.page.wait_for_selector(".strip:not(:empty)")
    visit.page.keyboard.press("Escape")
    assert "You stopped this reply." in visit.reply().inner_text()
    visit.send("Hello again")
    visit.page.wait_for_selector(".reply.waiting")
    visit.fake.state = "draining"
    assert "cannot take this now" in visit.reply().inner_text()
    assert not visit.find(".strip").is_visible()
    visit.fake.state = "ready"
    visit.button("Try again").click()
    assert visit.reply().locator(".markdown").inner_text().startswith("A lighthouse")


def test_a_reply_cut_by_a_closed_page_is_kept_as_stopped(visit: Visit) -> None:
    visit.send("slow please")
    visit.until("document.querySelector('.reply .markdown')?.innerText.includes('word120 ')")
    visit.page.reload()
    visit.page.wait_for_selector(".reply")
    text = visit.find(".reply").inner_text()
    assert "word9 " in text
    assert "You stopped this reply." in text


def test_two_windows_show_the_same_history(visit: Visit) -> None:
    other = Visit(visit.page.context.new_page(), visit.fake, visit.wrong)
    other.page.goto(visit.fake.address)
    other.page.wait_for_selector(".frame")
    visit.say("Said in one window")
    other.page.wait_for_selector(".entry")
    assert other.find(".entry a").inner_text() == "Said in one window"


def test_the_key_is_asked_for_and_kept_with_the_tab_only(visits: Visits, fake: Fake) -> None:
    fake.key = "sesame"
    visit = visits(wait=".dialog")
    field = visit.find(".dialog input")
    assert field.get_attribute("type") == "password"
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
    assert visit.reply().locator(".markdown").inner_text().startswith("A lighthouse")
    visit.button("Settings", ".bar").click()
    visit.button("Forget the key").click()
    assert visit.page.evaluate("sessionStorage.length") == 0
    fake.key = "third"
    visit.send("Hello")
    visit.page.wait_for_selector(".dialog")
    visit.button("Cancel", ".dialog").click()
    assert "asks for a key" in visit.reply().inner_text()


def test_only_what_models_can_do_is_offered(visits: Visits, fake: Fake) -> None:
    fake.models = [{"id": "base", "abilities": ["completion"]}]
    fake.votes = False
    visit = visits(wait=".page")
    assert not visit.find(".tab").count()
    assert visit.find(".title").inner_text() == "Completion"
    fake.models = [{"id": "talker", "abilities": ["chat"]}]
    visit = visits()
    assert visit.find(".tab").all_inner_texts() == ["Chat", "Questions"]
    reply = visit.say("Hello")
    assert not visit.button("Good reply").count()
    assert reply.locator(".stats").inner_text()


def test_citations_open_on_a_click(visit: Visit) -> None:
    reply = visit.say("cite your sources")
    assert visit.fake.asked[-1]["documents"] is True
    assert reply.locator(".markdown .mark").all_inner_texts() == ["1", "2"]
    assert "Not a source: [7]." in reply.inner_text()
    visit.button("Open passage 1").click()
    passage = visit.find(".dialog .passage")
    visit.until("document.querySelector('.passage').innerText.includes('the dawn')")
    assert passage.inner_text() == "The lamp is lit at dusk. <b>Always.</b>\n\n<i>And then</i> the dawn."
    assert "docs/lamp.md" in visit.find(".dialog").inner_text()
    visit.page.keyboard.press("Escape")
    reply.get_by_role("button", name="2 · log.txt").click()
    assert visit.find(".dialog h2").inner_text() == "[2] log.txt"
    visit.page.keyboard.press("Escape")
    visit.button("Answer from the server's documents").click()
    visit.say("cite nothing")
    assert "documents" not in visit.fake.asked[-1]


def test_thoughts_stand_apart(visit: Visit) -> None:
    reply = visit.say("think first")
    assert reply.locator(".markdown").inner_text() == "Here it is."
    reply.locator("summary").click()
    assert reply.locator(".thought-text").inner_text() == "Let me see."
