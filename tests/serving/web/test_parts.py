"""The page's own modules, run in a real browser: the stream's parser, the tree of turns, rankings, Markdown."""

from __future__ import annotations

import random

import pytest

from serving.web.conftest import Visit

pytestmark = pytest.mark.slow


def test_events_come_out_whole_however_they_are_cut(visit: Visit) -> None:
    said = ["你好", "a: b", "", "two\nlines", "  leading", "[DONE]", "😀 emoji"]
    drawn = random.Random(0)
    for end in ("\n", "\r\n", "\r"):
        raw = "".join(
            f"{end.join('data: ' + line for line in text.split(chr(10)))}{end}: a comment{end}{end}"
            for text in said
        )
        data = raw.encode()
        for some in (0, len(data), *[12] * 20):
            cuts = sorted(drawn.sample(range(len(data)), some))
            pieces = [list(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
            body = """const stream = new ReadableStream({ start(c) {
                    for (const piece of given) c.enqueue(new Uint8Array(piece)); c.close(); } });
                const found = []; for await (const data of m.events({ body: stream })) found.push(data); return found;"""
            assert visit.module("lib/sse.js", body, pieces) == said


def test_a_tree_shows_one_path_and_forgets_no_branch(visit: Visit) -> None:
    body = """
        const c = m.newConversation({ system: ' Be kind. ' });
        const q = m.add(c, 'root', { role: 'user', content: 'q' });
        const a = m.add(c, q.id, { role: 'assistant', content: 'a' });
        const b = m.add(c, q.id, { role: 'assistant', content: 'b' });
        const z = m.add(c, a.id, { role: 'user', content: 'z' });
        const shown = () => m.path(c).map((n) => n.content).join('');
        const steps = [shown()];
        m.turnTo(c, b.id, -1); steps.push(shown());
        m.turnTo(c, a.id, -1); steps.push(shown());
        m.turnTo(c, a.id, 1); steps.push(shown());
        m.turnTo(c, b.id, 1); steps.push(shown());
        const lost = m.add(c, b.id, { role: 'user', content: 'lost' });
        m.add(c, lost.id, { role: 'assistant', content: '' });
        const after = m.add(c, m.leaf(c), { role: 'user', content: 'after' });
        const again = m.restored(structuredClone(c));
        return [steps, m.place(c, b.id), m.messages(c, z.id), m.messages(c, after.id).map((x) => x.content),
            JSON.stringify(again) === JSON.stringify(c), m.restored({ id: 'x', nodes: {} }), m.restored(null)];"""
    steps, place, down, after, same, broken, nothing = visit.module("lib/tree.js", body)
    # a turn that is added is shown once its own branch is
    assert steps == ["qb", "qaz", "qaz", "qb", "qb"]
    assert place == {"index": 1, "count": 2}
    assert [message["content"] for message in down] == ["Be kind.", "q", "a", "z"]
    assert after == ["Be kind.", "q", "b", "after"]
    assert same
    assert broken is None
    assert nothing is None


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("# Heading\nmore", "Heading"),
        ("word " * 20, "word word word word word word word word…"),
        ("灯" * 60, "灯" * 42 + "…"),
        ("😀" * 50, "😀" * 42 + "…"),
    ],
)
def test_a_title_is_the_first_words(visit: Visit, text: str, title: str) -> None:
    assert visit.module("lib/tree.js", "return m.titleOf(given);", text) == title


def test_rankings_group_ties(visit: Visit) -> None:
    body = """return [m.moved([0, 1, 2, 3], 3, 1), m.ranks([0, 1, 2, 3], new Set([1, 3])), m.grouped([2, 0, 3, 1], new Set([1, 3])),
        m.grouped([1, 0], new Set()), m.ranks([0, 1, 2], new Set([1, 2]))];"""
    assert visit.module("lib/ranking.js", body) == [
        [0, 3, 1, 2],
        [1, 1, 3, 3],
        [[2, 0], [3, 1]],
        [[1], [0]],
        [1, 1, 1],
    ]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("$x$ and \\(y\\)", 2),
        ("$$x$$", 1),
        ("before\n$$\nx\n$$\nafter", 1),
        ("\\[\nx\n\\]", 1),
        ("It costs $5 and then $6.", 0),
        ("US$5, A$6 and $ 7 $", 0),
        ("`$x$`", 0),
        ("```\n$x$\n```", 0),
        ("\\$x\\$", 0),
        ("**bold $x$**", 1),
        ("| $a$ | $b$ |\n|---|---|\n| 1 | $c$ |", 3),
        ("中文$x$中文", 1),
    ],
)
def test_formulas_are_told_from_money(visit: Visit, text: str, formulas: int) -> None:
    body = "return m.markdown(given).querySelectorAll('.formula').length;"
    assert visit.module("lib/markdown.js", body, text) == formulas


def test_a_growing_text_ends_as_it_would_at_once(visit: Visit) -> None:
    text = "# Title\n\nSome **bold** text\n\n- one\n- two\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> said\n\n1. a\n2. b\n\n[link][1] $x^2$\n\n[1]: https://example.org\n"
    body = """const at = document.createElement('div'); const view = new m.MarkdownView(at); const first = [];
        for (let end = 1; end <= given.length; end += 1) { view.show(given.slice(0, end)); first.push(at.firstChild); }
        await new Promise((r) => setTimeout(r, 300));
        const whole = m.markdown(given); await new Promise((r) => setTimeout(r, 300));
        return [at.innerHTML === whole.innerHTML, first.at(100) === first.at(12), at.querySelectorAll('.hljs-number').length,
            at.querySelectorAll('.katex').length];"""
    same, kept, coloured, drawn = visit.module("lib/markdown.js", body, text)
    assert same
    # a block that is whole is not made again, so that what is selected in it stays selected
    assert kept
    assert (coloured, drawn) == (1, 1)


def test_a_formula_that_is_wrong_stays_as_it_was_written(visit: Visit) -> None:
    body = """const at = m.markdown('$\\\\frac{1}{$ and $\\\\undefined{x}$'); document.body.append(at);
        await new Promise((r) => setTimeout(r, 300)); return at.innerText.trim();"""
    assert visit.module("lib/markdown.js", body) == "\\frac{1}{ and \\undefined{x}"


def test_a_long_reply_is_shown_in_time(visit: Visit) -> None:
    body = """const text = 'Some **bold** text with `code` in it.\\n\\n'.repeat(500); const view = new m.MarkdownView(document.createElement('div'));
        view.show(text); const begun = performance.now();
        for (let end = 0; end < 50; end += 1) view.show(text + 'more words '.repeat(end));
        return (performance.now() - begun) / 50;"""
    # a frame has 16 ms on an idle machine; this one is shared
    assert visit.module("lib/markdown.js", body) < 60
