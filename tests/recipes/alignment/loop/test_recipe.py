"""Recipes of `align`: how they are read, and what is refused before anything is sampled."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatwright.cli import main
from chatwright.errors import UserError
from chatwright.recipes.alignment.loop.recipe import AlignOptions, read_recipe
from helpers.journey import Journey
from helpers.looped import SAMPLES, Recipe, make_place, write_recipe


@pytest.fixture
def recipe(tmp_path: Path, journey: Journey) -> Recipe:
    return partial(write_recipe, make_place(tmp_path), journey)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": 0}, "recipe.yaml: rounds=0 must be at least 1"),
        ({"polcy": "x"}, "the recipe has no option 'polcy'; did you mean 'policy'?"),
        ({"samples": {"repies": 2}}, "samples has no option 'repies'; did you mean 'replies'?"),
        ({"samples": {"replies": 1}}, "samples.replies=1 must be at least 2"),
        ({"samples": {"temperature": 0}}, "samples.temperature=0 must be more than 0"),
        ({"prompts": None}, "the recipe needs the option 'prompts'"),
        ({"prompts": "nowhere.jsonl"}, "prompts: there is no file nowhere.jsonl"),
        ({"samples": {**SAMPLES, "prompts": 17}}, "prompts: there are 24 different ones in "),
        ({"samples": {**SAMPLES, "max_new_tokens": 120}}, "leaves no room for samples.max_new_tokens=120"),
        ({"policy": "BASE"}, "policy: BASE is a run of 'pretrain'; this needs one of sft"),
        ({"policy": "nowhere"}, "policy: there is no run at nowhere"),
        ({"judge": {"name": "peple"}}, "judge: there is no judge 'peple'; did you mean 'people'?"),
        (
            {"judge": {"reward": "exact"}},
            "judge: it has no name; give one of endpoint, function, people, reward",
        ),
        ({"judge": "function"}, "judge: function needs the option 'reward'"),
        ({"judge": {"name": "function", "reward": "exct"}}, "did you mean 'exact'?"),
        ({"judge": {"name": "reward", "run": "CHAT"}}, "judge: CHAT is a run of 'sft'"),
        ({"judge": {"name": "endpoint", "model": "m"}}, "judge: judge needs the option 'base_url'"),
        ({"judge": {"name": "people", "sed": 1}}, "judge has no option 'sed'; did you mean 'seed'?"),
        (
            {"gold": "exat"},
            "gold: there is no run of `reward` at exat and no reward of that name; did you mean",
        ),
        ({"keep": {"by": "gold"}}, "keep.by=gold needs gold"),
        ({"keep": {"prompts": 0}}, "keep.prompts=0 must be at least 1"),
        ({"policy_verb": "pppo"}, "policy_verb=pppo is not one of ppo, grpo, rloo, dpo, best-of-n"),
        ({"train": {"stepz": 1}}, "train: dpo has no option 'stepz'; did you mean 'steps'?"),
        ({"train": {"objective": {"bta": 1}}}, "train: objective has no option 'bta'; did you mean 'beta'?"),
        ({"reward": {"steps": 1}}, "reward is not used by policy_verb=dpo"),
        ({"policy_verb": "ppo", "train": {}, "reward": {"batch": 0}}, "reward: batch=0 must be at least 1"),
        ({"sft": {"steps": 1}}, "sft belongs to policy_verb=best-of-n"),
    ],
)
def test_a_slip_is_answered_in_one_line_and_leaves_nothing(
    recipe: Recipe,
    journey: Journey,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
) -> None:
    names = {"BASE": str(journey.base), "CHAT": str(journey.chat)}
    for name, path in names.items():
        changes = json.loads(json.dumps(changes).replace(name, path))
        said = said.replace(name, path)
    file = recipe("slip", **changes)
    assert main(["align", str(file), "-o", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1
    assert said.replace("recipe.yaml", "slip.yaml") in lines[0] and str(file) in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_recipe_is_yaml_or_json_and_keys_are_laid_over_it(recipe: Recipe, tmp_path: Path) -> None:
    file = recipe("layers", policy_verb="grpo", train={"kl.coefficient": 1}, reward={"steps": 3})
    with pytest.raises(UserError, match=r"train: grpo has no option 'kl'"):
        read_recipe(file)
    options = read_recipe(file, {"policy_verb": "ppo"}, {"samples.replies": "2", "judge": "people"})
    assert options.train == {"kl": {"coefficient": 1}}
    assert (options.samples.replies, options.samples.prompts) == (2, 8)
    assert isinstance(options.judge, dict) and options.judge["name"] == "people"
    (tmp_path / "recipe.json").write_text(json.dumps({"policy": "a", "prompts": "b", "judge": "people"}))
    assert read_recipe(tmp_path / "recipe.json") == AlignOptions("a", "b", "people")
    with pytest.raises(UserError, match=r"there is no recipe .*nothing.yaml"):
        read_recipe(tmp_path / "nothing.yaml")
