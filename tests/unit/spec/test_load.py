"""Loading: the order of sources, narrowing, prompts, and what a path may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.spec.load import (
    answers_file,
    experiment_names,
    framework_names,
    hash_answers,
    load_all,
    load_experiment,
    load_framework,
    load_scenario,
    scenario_names,
)
from runner.spec.loaded import explain
from runner.spec.model import Model
from runner.spec.overrides import Overrides
from runner.spec.project import Project, find_project


def edit(project: Project, file: str, old: str, new: str) -> None:
    """Replace text in a file of the project; the text must be there."""
    path = project.root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_flags_win_over_environment_over_file_over_defaults(project: Project) -> None:
    """Each key has the value of its last source, and says which that is."""
    environment = {"RUNNER_JOBS": "4", "RUNNER_SEED": "9", "RUNNER_OUTPUT": "", "RUNNER_MODEL": "openai/a"}
    loaded = load_experiment(project, None, Overrides(jobs=2, model="openai/b/c"), environment)
    value, sources = loaded.value, loaded.sources
    assert (value.jobs, sources["jobs"]) == (2, "flag --jobs")
    assert (value.seed, sources["seed"]) == (9, "environment RUNNER_SEED")
    assert (value.output, sources["output"]) == ("runs", "default")
    assert (value.repetitions, sources["repetitions"]) == (2, "config/experiments/default.yaml:4")
    assert (value.limits.memory, sources["limits.memory"]) == (512 * 1024**2, "config/experiments/default.yaml:9")
    assert sources["limits.pids"] == "default"
    assert value.model == Model(provider="openai", name="b/c")
    assert (sources["model.name"], sources["model.key_env"]) == ("flag --model", "default")


def test_explain_lists_every_key_once(project: Project) -> None:
    """What `plan --explain` shows covers each key of the experiment, with values as JSON."""
    rows = {row.key: row for row in explain(load_experiment(project, "default", Overrides(), {}))}
    assert rows["frameworks"].value == '["alpha", "beta"]'
    assert rows["limits.step_timeout"].source == "config/experiments/default.yaml:8"
    assert {"name", "limits.log", "model.base_url", "archive"} <= rows.keys()


def test_a_model_from_the_command_line_needs_no_model_in_the_file(project: Project) -> None:
    """`--model openai/gpt-4o-mini` makes an experiment without a model one with a real model, and asks no answers."""
    edit(project, "config/experiments/default.yaml", "model:\n  provider: scripted\n", "")
    inputs = load_all(project, None, Overrides(model="openai/gpt-4o-mini"), {})
    assert inputs.experiment.value.model == Model(provider="openai", name="gpt-4o-mini")
    assert inputs.answers == {}


def test_endpoint_of_the_environment_is_the_models_endpoint(project: Project) -> None:
    """OPENAI_BASE_URL becomes model.base_url for a real model without one, and never for the scripted model."""
    environment = {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}
    real = load_experiment(project, None, Overrides(model="openai/m"), environment)
    scripted = load_experiment(project, None, Overrides(model="scripted"), environment)
    assert real.value.model is not None
    assert real.value.model.base_url == "http://127.0.0.1:8000/v1"
    assert real.sources["model.base_url"] == "environment OPENAI_BASE_URL"
    assert scripted.value.model == Model()


def test_narrowing_keeps_the_files_order_and_lines(project: Project) -> None:
    """A narrowed list keeps the order of the file, and a later complaint still cites the file."""
    edit(project, "config/experiments/default.yaml", "[build, greet]", "\n  - build\n  - greet")
    loaded = load_experiment(project, None, Overrides(scenarios=("greet",)), {"RUNNER_FRAMEWORKS": "beta, alpha"})
    assert (loaded.value.frameworks, loaded.value.scenarios) == (("alpha", "beta"), ("greet",))
    assert loaded.sources["scenarios"] == "flag --scenario"
    assert loaded.located.where(("scenarios", 0)) == "config/experiments/default.yaml:5"


def test_narrowing_away_a_framework_spares_its_checks(project: Project) -> None:
    """What was not selected need not be fit to run."""
    edit(project, "images/alpha/framework.yaml", "network", "netwrok")
    assert list(load_all(project, None, Overrides(frameworks=("beta",)), {}).frameworks) == ["beta"]


def test_an_experiment_can_be_a_path(project: Project, tmp_path: Path) -> None:
    """A path names a file anywhere; a path that does not exist is refused with the names there are."""
    file = project.experiments / "default.yaml"
    assert load_experiment(project, str(file), Overrides(), {}).file == file
    assert load_experiment(project, "config/experiments/default.yaml", Overrides(), {}).value.name == "default"
    with pytest.raises(ConfigError, match=r"there is no file `other/default\.yaml`"):
        load_experiment(project, "other/default.yaml", Overrides(), {})


def test_prompt_files_become_prompts(project: Project) -> None:
    """A scenario's prompt file is read into the step, and the source of the prompt is that file."""
    loaded = load_scenario(project, "build")
    first = loaded.value.steps[0]
    assert (first.prompt, first.prompt_file) == ("Write a command-line tool that counts words.\n", None)
    assert loaded.sources["steps.begin.prompt"] == "config/scenarios/build/begin.md"
    assert loaded.sources["steps.extend.limits.step_timeout"] == "config/scenarios/build.yaml:10"
    assert "steps.extend.limits.memory" not in loaded.sources
    assert {row.key for row in explain(loaded)} >= {"steps.begin.prompt", "steps.extend.prompt"}


def test_a_prompt_is_the_same_text_whatever_its_line_ends(project: Project) -> None:
    """A prompt checked out with carriage returns, or with a byte order mark, is the same prompt."""
    before = load_scenario(project, "build").value
    text = (project.scenarios / "build" / "begin.md").read_bytes()
    (project.scenarios / "build" / "begin.md").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert load_scenario(project, "build").value == before


@pytest.mark.parametrize("target", ["../../../outside.md", "/etc/hostname"])
def test_a_symbolic_link_may_not_lead_out(project: Project, tmp_path: Path, target: str) -> None:
    """A prompt that is a link to outside the scenario's folder is refused like a path that says so."""
    prompt = project.scenarios / "build" / "begin.md"
    prompt.unlink()
    prompt.symlink_to(target)
    with pytest.raises(ConfigError, match=r"`build/begin\.md` leaves the scenario's folder"):
        load_scenario(project, "build")


def test_an_absolute_prompt_path_leaves_the_folder(project: Project) -> None:
    """An absolute path is refused even if it points to the right file: it names one machine."""
    edit(project, "config/scenarios/build.yaml", "build/begin.md", str(project.scenarios / "build" / "begin.md"))
    with pytest.raises(ConfigError, match="leaves the scenario's folder"):
        load_scenario(project, "build")


def test_a_local_source_may_not_be_a_link_out(project: Project) -> None:
    """A framework's folder that is a link to elsewhere is refused."""
    source = project.images / "beta" / "src"
    (source / "beta.sh").unlink()
    source.rmdir()
    source.symlink_to("../alpha")
    with pytest.raises(ConfigError, match="leaves the recipe's folder"):
        load_framework(project, "beta")


def test_a_prompt_too_long_for_an_argument_is_refused(project: Project) -> None:
    """A prompt above the kernel's limit is refused for a framework that takes it as an argument, and only then."""
    (project.scenarios / "build" / "begin.md").write_text("x" * 131_072, encoding="utf-8")
    load_all(project, None, Overrides(), {})
    edit(project, "images/alpha/framework.yaml", "{prompt_file}", "{prompt}")
    with pytest.raises(ConfigError, match="longer than an argument of a program may be"):
        load_all(project, None, Overrides(), {})


def test_suspicious_limits_are_noted_not_refused(project: Project) -> None:
    """A run timeout below the step timeout, and a /tmp larger than the memory, work and are pointed out."""
    edit(project, "config/experiments/default.yaml", "step_timeout: 1m", "step_timeout: 3h\n  tmp: 4GiB")
    notes = load_all(project, None, Overrides(), {}).notes
    assert [note.split(": ", 1)[1][:34] for note in notes] == [
        "limits.run_timeout (2h) is shorter",
        "/tmp and /dev/shm may hold 4160MiB",
    ]


def test_a_small_memory_is_not_blamed_for_a_built_in_tmp(project: Project) -> None:
    """The note on /tmp is for who chose its size, not for everyone with little memory."""
    edit(project, "config/experiments/default.yaml", "memory: 512MiB", "memory: 128MiB")
    assert load_all(project, None, Overrides(), {}).notes == ()


def test_excluded_pairs_need_no_answers(project: Project) -> None:
    """Scripted answers are asked for only where some repetition is selected, and found where the model says."""
    (project.images / "alpha" / "answers" / "greet.yaml").unlink()
    edit(
        project,
        "config/experiments/default.yaml",
        "repetitions: 2",
        "repetitions: 2\nexclude: [{framework: alpha, scenario: greet}]",
    )
    answers = load_all(project, None, Overrides(), {}).answers
    assert list(answers) == [("alpha", "build")]
    assert len(hash_answers(answers)["alpha", "build"]) == 64
    moved = answers_file(project, Model(answers="config/answers"), "alpha", "greet")
    assert moved == project.root / "config/answers/alpha/greet.yaml"


def test_a_partly_excluded_pair_needs_answers(project: Project) -> None:
    """A pair of which only one repetition is excluded still talks to the model."""
    (project.images / "alpha" / "answers" / "greet.yaml").unlink()
    edit(
        project,
        "config/experiments/default.yaml",
        "repetitions: 2",
        "repetitions: 2\nexclude: [{framework: alpha, scenario: greet, repetition: 1}]",
    )
    with pytest.raises(ConfigError, match="no answers for alpha on greet"):
        load_all(project, None, Overrides(), {})


def test_names_are_listed(project: Project) -> None:
    """The names a project offers are those of its files; a folder without recipe is no framework."""
    (project.images / "base").mkdir()
    assert experiment_names(project) == ["default"]
    assert scenario_names(project) == ["build", "greet"]
    assert framework_names(project) == ["alpha", "beta"]


def test_a_project_is_found_from_below(project: Project) -> None:
    """Any folder of a project leads to its root; outside there is a message that says what a project is."""
    assert find_project(project.scenarios / "build") == project
    with pytest.raises(ConfigError, match=r"is in no project\na project is a folder with config/ and images/"):
        find_project(Path("/"))
    with pytest.raises(ConfigError, match=r"scenarios/absent: there is no such folder"):
        find_project(project.scenarios / "absent")


def test_a_link_that_goes_round_in_a_circle_is_refused(project: Project) -> None:
    """A prompt's file that is a link to itself is a mistake in the configuration, with its line."""
    (project.scenarios / "round.md").symlink_to("round.md")
    (project.scenarios / "greet.yaml").write_text("name: greet\nsteps:\n  - id: a\n    prompt_file: round.md\n")
    with pytest.raises(ConfigError, match=r"greet.yaml:4: prompt_file: `round.md` cannot be read: Too many levels"):
        load_scenario(project, "greet")
