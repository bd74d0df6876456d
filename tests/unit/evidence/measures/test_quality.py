"""Quality by verdicts: shares of what was judged, hand-computed."""

from __future__ import annotations

import pytest
from support.verdicts import Judged, said

from runner.evidence.measures.quality import is_due, quality

FOUR = ("student.create", "student.read", "student.list", "student.update", "student.delete")


def test_effectiveness_is_the_share_of_operations_that_work(judged: Judged) -> None:
    """Two entities have eight operations; reading is one and all, so a list that fails spoils reading: 6 of 8."""
    found = [
        *said("passed", *FOUR, "course.create", "course.read", "course.update"),
        *said("failed", "course.list", "course.delete"),
    ]
    reading = quality([judged(found)], 1)["crud_effectiveness"]
    assert (reading.value, reading.status, reading.source, reading.exact) == (0.75, "derived", "checks", True)


def test_what_was_not_judged_takes_no_part_and_is_told(judged: Judged) -> None:
    """Of four operations two were not judged: the share is that of the other two, and partial."""
    found = [
        *said("passed", "student.create"),
        *said("failed", "student.read"),
        *said("unjudged", "student.update", "student.delete"),
    ]
    reading = quality([judged(found)], 1)["crud_effectiveness"]
    assert (reading.value, reading.status, reading.exact) == (0.5, "partial", False)
    assert reading.reason == "2 of 4 not judged"


def test_refused_data_is_no_operation(judged: Judged) -> None:
    """What is said of data that must be refused counts for the model, not for the operations."""
    found = [*said("passed", *FOUR), *said("failed", "!student.create", "!student.update")]
    measures = quality([judged(found)], 1)
    assert measures["crud_effectiveness"].value == 1
    assert measures["model_correctness"].value == 0


def test_endpoints_and_model_weigh_each_assertion(judged: Judged) -> None:
    """Endpoints: 5 of 6 valid ones, the relation among them; model: relation and persistence and refusal, 2 of 3."""
    found = [
        *said("passed", *FOUR, "student.persist", "!student.create"),
        *said("failed", "student.relation"),
    ]
    measures = quality([judged(found)], 1)
    assert measures["endpoint_success"].value == pytest.approx(5 / 6)
    assert measures["model_correctness"].value == pytest.approx(2 / 3)


def test_an_application_that_does_not_start_is_worth_nothing(judged: Judged) -> None:
    """Its operations failed, so effectiveness and availability are 0 and no null."""
    found = [*said("failed", "start", *FOUR), *said("unjudged", "health", "student.persist")]
    measures = quality([judged(found)], 1)
    assert (measures["crud_effectiveness"].value, measures["availability"].value) == (0, 0)
    assert measures["model_correctness"].value is None
    assert measures["zero_defect"].value == 0
    assert measures["zero_defect"].reason == "failed: application: start.valid"


def test_available_is_started_and_healthy(judged: Judged) -> None:
    """Both have to be so; a start alone is not known to be available."""
    assert quality([judged(said("passed", "start", "health"))], 1)["availability"].value == 1
    assert quality([judged([*said("passed", "start"), *said("failed", "health")])], 1)["availability"].value == 0
    assert quality([judged([*said("passed", "start"), *said("unjudged", "health")])], 1)["availability"].value is None


def test_nothing_is_without_defect_by_default(judged: Judged) -> None:
    """Without a failure and with something unjudged nobody knows; with everything passed it is 1."""
    open_one = [*said("passed", *FOUR), *said("unjudged", "student.persist")]
    reading = quality([judged(open_one)], 1)["zero_defect"]
    assert reading.value is None
    assert reading.reason == "nothing failed, but 1 not judged: student.persist is unjudged"
    assert quality([judged(said("passed", *FOUR))], 1)["zero_defect"].value == 1


def test_a_frameworks_own_tests_are_no_defect_of_ours_to_find(judged: Judged) -> None:
    """Failed own tests lower tests_passed and leave zero_defect to what was judged from outside."""
    verdicts = [
        judged(said("passed", *FOUR)),
        judged(said("failed", "tests"), kind="tests", figures={"tests_passed": 3, "tests_total": 4}),
    ]
    measures = quality(verdicts, 1)
    assert (measures["tests_passed"].value, measures["zero_defect"].value) == (0.75, 1)


def test_figures_become_measures(judged: Judged) -> None:
    """Modules, findings and complexity come from the figures of their checks."""
    static = {"ruff_findings": 7, "bandit_findings": 0, "complexity_mean": 2.5}
    verdicts = [
        judged(said("passed", "x"), kind="imports", figures={"modules": 8, "modules_imported": 6}),
        judged(said("passed", "x"), kind="static", figures={**static, "python_files": 3}),
    ]
    measures = quality(verdicts, 1)
    names = ("imports_ok", "ruff_findings", "bandit_findings", "complexity")
    assert [measures[name].value for name in names] == [0.75, 7, 0, 2.5]


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({}, "there are no tests"),
        ({"tests_passed": 0, "tests_total": 0}, "there are no tests"),
        ({"tests_passed": None, "tests_total": 3}, "there are no tests"),
        ({"tests_passed": 5, "tests_total": 3}, "the check says 5 of 3"),
    ],
)
def test_no_share_of_nothing(judged: Judged, figures: dict[str, float | int | None], reason: str) -> None:
    """No tests, no count or an impossible one: null with the check's reason."""
    reading = quality([judged(kind="tests", figures=figures, reason="there are no tests")], 1)["tests_passed"]
    assert (reading.value, reading.reason) == (None, reason)


def test_a_step_nobody_judged_is_told_from_one_that_could_not_be(judged: Judged) -> None:
    """Without a check after a step there is nothing due; a check that judged nothing was due."""
    verdicts = [judged(index=2, reason="there is no image that judges")]
    first, second = quality(verdicts, 1)["crud_effectiveness"], quality(verdicts, 2)["crud_effectiveness"]
    assert (is_due(first), first.reason) == (False, "no check of kind application judged the workspace after this step")
    assert (is_due(second), second.value, second.reason) == (True, None, "there is no image that judges")


def test_carried_forward_are_entities_that_worked_before(judged: Judged) -> None:
    """Of student and course, which worked, one still does; teacher, which is new, does not count, and room never worked."""
    verdicts = [
        judged(said("passed", "student.create", "student.read")),
        judged(
            [*said("passed", "student.create", "course.create", "course.read"), *said("failed", "room.create")], index=2
        ),
        judged(
            [
                *said("passed", "course.create", "course.read", "teacher.create", "teacher.read", "student.create"),
                *said("failed", "student.read", "room.create"),
            ],
            index=3,
        ),
    ]
    reading = quality(verdicts, 3)["carry_forward"]
    assert (reading.value, reading.status) == (0.5, "derived")


def test_an_entity_that_is_gone_is_not_carried_forward_unjudged(judged: Judged) -> None:
    """The first step has nothing before it; an entity of which nothing is said any more was not judged."""
    verdicts = [judged(said("passed", "student.create", "student.read")), judged(said("passed", "start"), index=2)]
    first, second = (quality(verdicts, index)["carry_forward"] for index in (1, 2))
    assert (first.value, first.reason) == (None, "no entity had worked after an earlier step that was judged")
    assert second.value is None


def test_several_checks_count_together(judged: Judged) -> None:
    """Two checks of one kind after a step are one body of assertions."""
    verdicts = [
        judged(said("passed", "student.create", "student.read", "student.update", "student.delete")),
        judged(said("failed", "course.create", "course.read", "course.update", "course.delete")),
    ]
    assert quality(verdicts, 1)["crud_effectiveness"].value == 0.5
