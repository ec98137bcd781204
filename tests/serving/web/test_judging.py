"""Votes, the arena and the labelling queue, and the other tabs, in a real browser."""

from __future__ import annotations

import pytest

from chatwright.serving.schema import CHAT, COMPLETION, TRANSLATE
from chatwright.serving.votes import bodies
from helpers.fake_serving import ENGLISH
from serving.web.conftest import Visit, expect

pytestmark = pytest.mark.slow


def test_a_thumb_counts_at_once_and_takes_more_words(visit: Visit) -> None:
    reply = visit.say("Tell me")
    visit.button("Bad reply").click()
    form = visit.find(".vote-form .card")
    form.wait_for()
    kept = visit.fake.kept
    assert len(kept) == 1
    assert kept[0]["value"] == -1
    assert kept[0]["reply"] == ENGLISH
    assert kept[0]["messages"] == [{"role": "user", "content": "Tell me"}]
    assert kept[0]["model"] == "aligned"
    expect(visit.button("Bad reply")).to_have_attribute("aria-pressed", "true")
    form.get_by_role("button", name="Wrong").click()
    form.get_by_label("A better answer (optional)").fill("It keeps ships off the rocks. 灯塔")
    form.get_by_label("Your name (optional)").fill("Ann")
    form.get_by_role("button", name="Add to my vote").click()
    visit.page.wait_for_selector(".notice")
    assert len(kept) == 1
    assert (kept[0]["reason"], kept[0]["better"], kept[0]["name"]) == (
        "Wrong",
        "It keeps ships off the rocks. 灯塔",
        "Ann",
    )

    visit.page.reload()
    visit.page.wait_for_selector(".reply")
    expect(visit.button("Bad reply")).to_have_attribute("aria-pressed", "true")
    visit.button("Good reply").click()
    visit.find(".vote-form .card").wait_for()
    assert len(kept) == 1
    assert kept[0]["value"] == 1
    expect(visit.button("Bad reply")).to_have_attribute("aria-pressed", "false")
    visit.page.keyboard.press("Escape")
    expect(visit.find(".vote-form .card")).to_have_count(0)
    expect(reply).to_be_visible()


def test_a_vote_that_fails_is_taken_back(visit: Visit) -> None:
    visit.say("Tell me")
    visit.page.route("**/api/votes", lambda route: route.fulfill(status=500, body="{}"))
    visit.button("Good reply").click()
    visit.page.wait_for_selector(".notice")
    expect(visit.button("Good reply")).to_have_attribute("aria-pressed", "false")
    expect(visit.find(".vote-form .card")).to_have_count(0)


@pytest.mark.parametrize(
    ("key", "winner", "said"),
    [
        ("1", "a", "A is better"),
        ("2", "tie", "Tie"),
        ("3", "both_bad", "Both are bad"),
        ("4", "b", "B is better"),
    ],
)
def test_the_arena_hides_who_is_who_until_one_has_judged(
    visit: Visit, key: str, winner: str, said: str
) -> None:
    visit.open("arena")
    visit.send("Tell me")
    visit.page.wait_for_selector(".verdict")
    text = visit.find(".duel").inner_text()
    assert "aligned" not in text
    assert "supervised" not in text
    assert "tokens/s" not in text
    expect(visit.find('.duel-card[data-side="b"]')).to_contain_text("From b.", use_inner_text=True)
    visit.page.keyboard.press(key)
    visit.page.wait_for_selector(".thanks")
    visit.holds(lambda: visit.fake.verdicts == [{"winner": winner}])
    expect(visit.find(".thanks")).to_contain_text(said, use_inner_text=True)
    expect(visit.find(".duel-head strong")).to_have_text(["aligned", "supervised"], use_inner_text=True)
    expect(visit.find(".duel-card.won")).to_have_count(int(winner in "ab"))
    expect(visit.find(".stats").first).to_be_visible()
    visit.page.keyboard.press(key)
    visit.holds(lambda: len(visit.fake.verdicts) == 1)
    visit.button("Next round").click()
    expect(visit.find(".examples")).to_be_visible()


def test_one_model_against_itself_is_told_apart_by_its_sampling(visit: Visit) -> None:
    visit.fake.sides = {"a": "aligned", "b": "aligned"}
    visit.open("arena")
    visit.send("Tell me")
    visit.page.wait_for_selector(".verdict")
    visit.page.keyboard.press("2")
    visit.page.wait_for_selector(".thanks")
    heads = visit.find(".duel-head").all_inner_texts()
    assert [head.split("\n")[-1] for head in heads] == ["temperature 0.3", "temperature 1"]


def test_a_vote_that_the_server_forgot_is_given_anew(visit: Visit) -> None:
    visit.say("Tell me")
    visit.button("Good reply").click()
    visit.find(".vote-form .card").wait_for()
    visit.fake.kept.clear()
    visit.button("Bad reply").click()
    visit.until(
        "document.querySelector('[aria-label=\"Bad reply\"]').getAttribute('aria-pressed') === 'true'"
    )
    visit.find(".vote-form .card").wait_for()
    visit.holds(lambda: [vote["value"] for vote in visit.fake.kept] == [-1])


def test_a_verdict_takes_a_reason_and_digits_in_it_judge_nothing(visit: Visit) -> None:
    visit.open("arena")
    visit.send("Tell me")
    visit.page.wait_for_selector(".verdict")
    visit.find(".verdicts .field").fill("1 of 2 is true")
    visit.find(".verdicts .field").press("3")
    assert not visit.fake.verdicts
    visit.button("B is better").click()
    visit.page.wait_for_selector(".thanks")
    visit.holds(lambda: visit.fake.verdicts == [{"winner": "b", "reason": "1 of 2 is true3"}])
    visit.button("Same words again").click()
    visit.page.wait_for_selector(".verdict")
    expect(visit.find(".bubble")).to_have_text("Tell me", use_inner_text=True)


def test_a_side_that_fails_leaves_nothing_to_judge(visit: Visit) -> None:
    visit.open("arena")
    visit.send("break this")
    visit.page.wait_for_selector(".verdicts .button")
    expect(visit.find(".verdict")).to_have_count(0)
    expect(visit.button("Try again")).to_have_count(1)


def test_replies_are_ranked_by_keys(visit: Visit) -> None:
    visit.open("labelling")
    visit.page.wait_for_selector(".rank-card")
    expect(visit.find(".progress")).to_have_text("0 of 2", use_inner_text=True)
    press = visit.page.keyboard.press
    press("ArrowDown")
    press("ArrowDown")
    press("1")  # the third goes first
    expect(visit.find(".rank-card .name")).to_have_text(
        ["Reply C", "Reply A", "Reply B"], use_inner_text=True
    )
    press("Shift+ArrowDown")  # and one down
    expect(visit.find(".rank-card .name")).to_have_text(
        ["Reply A", "Reply C", "Reply B"], use_inner_text=True
    )
    press("=")
    expect(visit.find(".rank")).to_have_text(["1", "1", "3"], use_inner_text=True)
    press("Enter")
    visit.until("document.querySelectorAll('.rank-card').length === 2")
    visit.holds(lambda: visit.fake.rankings == [{"id": "1", "ranking": [[0, 2], [1]]}])
    expect(visit.find(".progress")).to_have_text("1 of 2", use_inner_text=True)
    press("2")
    visit.button("Submit").click()
    visit.page.wait_for_selector(".welcome")
    visit.holds(lambda: visit.fake.rankings[1] == {"id": "2", "ranking": [[1], [0]]})
    expect(visit.find(".welcome")).to_contain_text("All 2 prompts", use_inner_text=True)


def test_replies_are_ranked_by_dragging_and_by_buttons(visit: Visit) -> None:
    visit.open("labelling")
    visit.page.wait_for_selector(".rank-card")
    grip, target = visit.find(".grip").nth(2).bounding_box(), visit.find(".rank-card").nth(0).bounding_box()
    assert grip is not None
    assert target is not None
    mouse = visit.page.mouse
    mouse.move(grip["x"] + 8, grip["y"] + 8)
    mouse.down()
    mouse.move(grip["x"] + 8, target["y"] + 30, steps=8)
    mouse.move(grip["x"] + 8, target["y"] + 4, steps=4)
    mouse.up()
    expect(visit.find(".rank-card .name")).to_have_text(
        ["Reply C", "Reply A", "Reply B"], use_inner_text=True
    )
    visit.button("Move reply C down").click()
    visit.button("better than").last.click()
    visit.button("Submit").click()
    visit.until("document.querySelectorAll('.rank-card').length === 2")
    visit.holds(lambda: visit.fake.rankings[0]["ranking"] == [[0], [2, 1]])
    visit.button("Cannot say").click()
    visit.page.wait_for_selector(".welcome")
    visit.holds(lambda: visit.fake.rankings[1]["ranking"] == [])


def test_a_text_is_gone_on_with(visit: Visit) -> None:
    visit.open("completion")
    visit.find(".field").fill("In the harbour")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".result .stats")
    visit.holds(lambda: visit.find(".made").inner_text() == " there was a lamp <b>。")
    visit.button("Take it over and go on").click()
    expect(visit.find(".field")).to_have_value("In the harbour there was a lamp <b>。")
    visit.find(".field").fill("slow")
    visit.button("Continue").click()
    visit.until("document.querySelector('.made')?.innerText.includes('word5')")
    visit.button("Stop").click()
    visit.page.wait_for_selector(".result .stats")
    visit.open("chat")
    visit.open("completion")
    expect(visit.find(".field")).to_have_value("slow")


def test_a_text_is_translated_and_asked_about(visit: Visit) -> None:
    visit.open("translation")
    visit.find(".field").fill("The lamp\nis lit.")
    visit.page.keyboard.press("Control+Enter")
    visit.until("document.querySelector('.translated').innerText.includes('译文')")
    visit.holds(lambda: visit.find(".translated").inner_text() == "译文：The lamp\nis lit.")
    visit.holds(lambda: visit.fake.asked[-1]["model"] == "translator")
    visit.open("questions")
    visit.send("When?")
    expect(visit.find(".notice")).to_contain_text("no text yet", use_inner_text=True)
    expect(visit.find(".composer-text")).to_have_value("When?")
    visit.find(".field").fill("The lamp is lit at dusk.")
    visit.send("When is it lit?")
    visit.page.wait_for_selector(".answer .stats")
    visit.holds(
        lambda: (
            visit.fake.asked[-1]["messages"]
            == [{"role": "user", "content": "The lamp is lit at dusk.\n\nWhen is it lit?"}]
        )
    )
    visit.button("Good reply").click()
    visit.find(".vote-form .card").wait_for()
    visit.holds(lambda: visit.fake.kept[0]["reply"] == ENGLISH)


def test_what_the_page_sends_is_what_the_server_takes(visit: Visit) -> None:
    visit.button("Settings", ".bar").click()
    for name, value in (
        ("Temperature", "0.5"),
        ("Top k", "20"),
        ("Min p", "0.1"),
        ("Most tokens", "64"),
        ("Seed", "3"),
    ):
        visit.page.get_by_role("spinbutton", name=name, exact=True).fill(value)
    visit.page.keyboard.press("Escape")
    visit.say("Tell me")
    visit.button("Good reply").click()
    visit.find(".vote-form .card").wait_for()
    visit.open("completion")
    visit.find(".field").fill("In")
    visit.button("Continue").click()
    visit.page.wait_for_selector(".result .stats")
    visit.open("translation")
    visit.find(".field").fill("In")
    visit.button("Translate").click()
    visit.page.wait_for_selector(".pair .stats")
    visit.open("arena")
    visit.send("Tell me")
    visit.page.wait_for_selector(".verdict")
    visit.button("Tie").click()
    visit.page.wait_for_selector(".thanks")
    checks = {
        "/v1/chat/completions": CHAT,
        "/v1/completions": COMPLETION,
        "/api/translate": TRANSLATE,
        "/api/arena": bodies.BATTLE,
        "/api/arena/r1/a/chat": bodies.SIDE,
        "/api/arena/r1/b/chat": bodies.SIDE,
    }
    seen = set()
    for asked in visit.fake.asked:
        body = {key: value for key, value in asked.items() if key not in ("path", "last")}
        checks[asked["path"]].check(body)
        seen.add(asked["path"])
    assert seen == set(checks)
    for kept in visit.fake.kept:
        bodies.VOTE.check(kept)
    for verdict in visit.fake.verdicts:
        bodies.DECISION.check(verdict)
