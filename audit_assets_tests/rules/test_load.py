"""Rule files: which load, and the errors of those that do not."""

from pathlib import Path

import pytest

from audit_assets.rules.load import RulesFolderError, load_rule, load_rules
from audit_assets.rules.model import Rule
from audit_assets_tests.rules.factories import PLAIN, changed, validation_errors, written

pytestmark = pytest.mark.requirement("R37")


def test_a_plain_rule_loads(tmp_path: Path):
    rule = load_rule(written(tmp_path, PLAIN))
    assert isinstance(rule, Rule)
    assert (rule.id, rule.per, rule.threshold) == ("volume_spike", ("capability",), "1.75 * median_14d")


def test_a_misspelled_field_is_reported_once_with_file_line_and_fix(tmp_path: Path):
    text = PLAIN.replace("severity:", "severty:")
    assert validation_errors(tmp_path, text) == ["volume_spike.yaml:13: severty: unknown field; did you mean severity?"]


def test_a_renamed_field_is_reported_with_its_new_name(tmp_path: Path):
    assert validation_errors(tmp_path, f"{PLAIN}also: {{}}\n") == [
        "volume_spike.yaml:23: also: unknown field; did you mean any_of?"
    ]


def test_a_missing_field_is_reported_with_its_description(tmp_path: Path):
    text = PLAIN.replace("unit: count\n", "")
    assert validation_errors(tmp_path, text) == [
        "volume_spike.yaml:1: unit: is missing: the format of figures: count (1,234), share (5.00 %) or minutes"
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("severity: eror", "13: severity: 'eror' is not info, warning, error or critical; did you mean error?"),
        ("watch: ai_audit_capability_anomalie", "4: watch: 'ai_audit_capability_anomalie' is not "),
        ("window: running_and_last_closed_dy", "6: window: 'running_and_last_closed_dy' is not "),
        ("window: last_closed_step", "6: window: is not a window of ai_audit_capability_anomalies; write running_"),
        ("per: []", "5: per: ai_audit_capability_anomalies has a row per capability; write [capability]"),
        ("per: [capabilty]", "5: per: ai_audit_capability_anomalies has a row per capability; write [capability]"),
        ("per: capability", "5: per: 'capability' is not valid"),
        ("colour: #7C3AED", "14: colour: None is not valid"),
        ("colour: purple", "14: colour: 'purple' is not valid"),
        ("title: 7", "2: title: 7 is not valid"),
        ("title: ''", "2: title: '' is not valid"),
        ("runbook: Volume Spike", "15: runbook: 'Volume Spike' is not valid"),
        ("unit: seconds", "12: unit: 'seconds' is not count, share or minutes"),
        ("threshold: .inf", "11: threshold: inf is not valid"),
        ("threshold: yes", "11: threshold: True is not valid"),
        ("threshold: 1e300", "11: threshold: 1e300 exceeds the largest allowed number"),
        ("baseline: null", "9: baseline: baseline and baseline_is belong together; add the missing one"),
        ("baseline: 0", "9: baseline: is always 0; name a column"),
        ("value: 3.5", "8: value: is always 3.5; name a column"),
        ("value: capability", "8: value: is not a number"),
        ("fires_when: true", "7: fires_when: True is not valid"),
        ("fires_when: 5 > 3", "7: fires_when: names no column of ai_audit_capability_anomalies"),
        ("fires_when: interaction_count > 5 percent", "7: fires_when: percent is not part of the rule language"),
        ("fires_when: interaction_count > 1 as x", "7: fires_when: gives a name to its result (an alias)"),
        ("fires_when: sum(interaction_count) > 1", "7: fires_when: sum reads several rows"),
        ("fires_when: interaction_count", "7: fires_when: is not true or false"),
        ("fires_when: interaction_count > median_14", "7: fires_when: median_14: unknown column of"),
    ],
)
def test_a_wrong_value_is_reported_at_its_line(tmp_path: Path, line: str, message: str):
    assert [
        text[: len("volume_spike.yaml:") + len(message)] for text in validation_errors(tmp_path, changed(line))
    ] == [f"volume_spike.yaml:{message}"]


NEW_FIELDS = [
    ("kind: spik", "kind: 'spik' is not spike, drop, errors, unknown, news, stale or failure; did you mean spike?"),
    ("for: 3 of 2", "for: '3 of 2' is not a number of steps; write how many of the last steps fire, such as 2 of 3"),
    ("for: 2", "for: 2 is not a number of steps"),
    ("keep_firing: 2 hours", "keep_firing: '2 hours' is not a duration; write a number and a unit, such as 30s, 15m"),
    ("keep_firing: 0m", "keep_firing: '0m' is not a duration"),
    ("no_data: maybe", "no_data: 'maybe' is not keep, ok or alert"),
    ("active: busines_hours", "active: 'busines_hours' is not always or business_hours; did you mean business_hours?"),
    ("inhibited_by: [volume_spike]", "inhibited_by: a rule cannot inhibit itself; remove its own id"),
    ("gates: {enough: sum(interaction_count) > 5}", "gates.enough: sum reads several rows; a condition sees one row"),
    ("gates: {enough: interaction_count}", "gates.enough: is not true or false"),
    ("clears_when: median_14 < 5", "clears_when: median_14: unknown column of"),
    ("judge_by: literal", "judge_by: is literal, but there is no literal form; add it under literal"),
    ("judge_by: literaly", "judge_by: 'literaly' is not fires_when or literal; did you mean literal?"),
    ("literal: {fires_wen: 1}", "literal.fires_wen: unknown field; did you mean fires_when?"),
    ("backtest: {alerts_a_week: -1}", "backtest.alerts_a_week: -1 is not valid"),
    ("routes: []", "routes: [] is not valid"),
]


@pytest.mark.parametrize(("line", "message"), NEW_FIELDS)
def test_an_invalid_option_of_a_rule_is_reported_with_its_fix(tmp_path: Path, line: str, message: str):
    field = line.split(":")[0]
    kept = [old for old in PLAIN.splitlines() if old.split(":")[0] != field]
    errors = validation_errors(tmp_path, "\n".join([*kept, line]) + "\n")
    assert [text for text in errors if message in text], errors


@pytest.mark.requirement("R31")
@pytest.mark.parametrize(
    ("watch", "window", "condition", "message"),
    [
        (
            "ai_audit_capability_grid",
            "last_closed_step",
            "day_count < 0.4 * day_median_14d",
            "fires_when: compares a running day with day_median_14d, so every morning would be a drop; add",
        ),
        (
            "ai_audit_capability_anomalies",
            "running_and_last_closed_day",
            "interaction_count < 0.4 * median_14d",
            "window: a running day only grows, so every morning would be a drop; write last_closed_day",
        ),
    ],
)
def test_a_drop_on_a_running_day_is_rejected(tmp_path: Path, watch: str, window: str, condition: str, message: str):
    text = (
        changed(f"watch: {watch}").replace("running_and_last_closed_day", window).replace("kind: spike", "kind: drop")
    )
    text = text.replace("fires_when: interaction_count > 1.75 * median_14d", f"fires_when: {condition}")
    assert [error for error in validation_errors(tmp_path, text) if message in error]


def test_an_unknown_inhibitor_is_rejected_with_a_suggestion(tmp_path: Path):
    written(tmp_path, PLAIN + "inhibited_by: [freshnes_slo]\n")
    written(tmp_path, PLAIN.replace("id: volume_spike", "id: freshness_slo"), "freshness_slo.yaml")
    (broken,) = load_rules(tmp_path).broken
    assert broken.message == (
        "volume_spike.yaml:23: inhibited_by: freshnes_slo: no such rule; did you mean freshness_slo?"
    )


def test_all_problems_of_a_file_are_reported_in_line_order(tmp_path: Path):
    text = changed("fires_when: now() > 1").replace("median_14d: 100", "median_14: 100", 1)
    lines = [message.split(":")[1] for message in validation_errors(tmp_path, text)]
    assert lines == ["7", "18"]


def test_an_example_must_be_a_row_of_the_watched_table(tmp_path: Path):
    assert validation_errors(tmp_path, PLAIN.replace("interaction_count: 175", "interactions: 175")) == [
        "volume_spike.yaml:20: examples.does_not_fire.0.interactions: unknown column of "
        "ai_audit_capability_anomalies; did you mean interaction_count?"
    ]
    for value in ("many", "1.5", "true", "99999999999999999999"):
        (message,) = validation_errors(tmp_path, PLAIN.replace("interaction_count: 175", f"interaction_count: {value}"))
        assert message.endswith("is not a whole number")


def test_a_rule_has_an_example_of_either_kind(tmp_path: Path):
    (message,) = validation_errors(tmp_path, PLAIN.replace("    - {interaction_count: 175, median_14d: 100}\n", ""))
    assert message.startswith("volume_spike.yaml:19: examples.does_not_fire: None is not valid")


def test_a_duplicate_field_is_rejected_though_yaml_would_take_the_last(tmp_path: Path):
    assert validation_errors(tmp_path, PLAIN + "severity: info\n") == [
        "volume_spike.yaml:23: severity: is defined twice, first on line 13; remove one"
    ]


def test_the_id_is_the_file_name(tmp_path: Path):
    assert validation_errors(tmp_path, PLAIN, "volume_drop.yaml") == [
        "volume_drop.yaml:1: id: is volume_spike, but the file is named volume_drop.yaml; use the same name for both"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1: has no fields"),
        (b"# nothing yet\n", "1: has no fields"),
        (b"- a\n- b\n", "1: has no fields"),
        (b"id: x\n\ttitle: y\n", "2: is not YAML"),
        (b"id: [x\n", "2: is not YAML"),
        (b"id: x\n---\nid: y\n", "2: is not YAML"),
        (b"id: x\ntitle: \xff\xfe\n", "2: is not UTF-8"),
        (b"id: x\ntitle: a\x00b\n", "2: contains a control character"),
        (b"id: x\nper: &a [c]\nexamples: *a\n", "3: examples: uses an alias"),
        (b"id: !!python/object:os.system x\n", "1: id: cannot read 'x'"),
        (b"id: x\nexamples: !!set {a}\n", "2: examples: has the tag"),
        (b"id: x\ntitle: 2026-13-45\n", "2: title: cannot read '2026-13-45'"),
        (b"id: " + b"9" * 5000, "1: id: cannot read"),
        (b"id: " + b"[" * 2000, "1: is nested too deeply"),
        (b"7: x\n", "1: 7: is not a field name; use plain text"),
        (b"? [a]\n: x\n", "1: None: is not a field name; use plain text"),
        (b"id: x\n" + b"# padding\n" * 7000, "1: is larger than 64 KiB"),
    ],
)
def test_a_file_that_is_not_a_plain_yaml_mapping_is_rejected_with_its_line(
    tmp_path: Path, content: bytes, message: str
):
    (tmp_path / "x.yaml").write_bytes(content)
    (broken,) = load_rules(tmp_path).broken
    assert broken.message.startswith(f"x.yaml:{message}")


def test_a_byte_order_mark_is_accepted(tmp_path: Path):
    assert validation_errors(tmp_path, "\ufeff" + PLAIN) == []


@pytest.mark.requirement("R37")
def test_every_file_has_a_unique_id_including_broken_ones(tmp_path: Path):
    written(tmp_path, PLAIN)
    for name in ("volume_spike.yml", "Vol Spike.yaml", "vol-spike.yml", "volume_spike_2.yaml", "ünï.yaml"):
        written(tmp_path, PLAIN, name)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    for name in (".#volume_spike.yaml", "routing.tf", "README.md"):
        written(tmp_path, PLAIN, name)
    rule_set = load_rules(tmp_path)
    assert [rule.id for rule in rule_set.rules] == ["volume_spike"]
    assert len(rule_set.broken) == 7
    assert len(set(rule_set.ids)) == 8
    assert all(rule_id.isascii() and rule_id.isidentifier() for rule_id in rule_set.ids)


def test_two_files_of_one_name_are_one_rule_and_one_error(tmp_path: Path):
    written(tmp_path, PLAIN)
    written(tmp_path, PLAIN, "volume_spike.yml")
    (broken,) = load_rules(tmp_path).broken
    assert broken.message == (
        "volume_spike.yml:1: id: volume_spike is already the id of volume_spike.yaml; "
        "rename or remove one of the two files"
    )


def test_a_missing_folder_is_an_error_and_not_an_empty_set(tmp_path: Path):
    with pytest.raises(RulesFolderError, match="nowhere: No such file or directory; set AI_AUDIT_RULES"):
        load_rules(tmp_path / "nowhere")


def test_a_rule_cannot_be_changed_after_loading(tmp_path: Path):
    rule = load_rule(written(tmp_path, PLAIN))
    with pytest.raises(ValueError, match="frozen"):
        rule.title = "other"  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("ending", [".yml", ".YAML", ".YML", ".Yaml"])
def test_a_rule_file_is_read_whatever_the_case_of_its_extension(tmp_path: Path, ending: str):
    written(tmp_path, PLAIN, f"volume_spike{ending}")
    assert [rule.id for rule in load_rules(tmp_path).rules] == ["volume_spike"]


def test_two_files_whose_names_differ_only_in_the_case_of_the_extension_are_rejected(tmp_path: Path):
    written(tmp_path, PLAIN)
    written(tmp_path, PLAIN, "volume_spike.YAML")
    (broken,) = load_rules(tmp_path).broken
    assert "rename or remove one of the two files" in str(broken.problems[0])


def test_a_rule_file_in_a_subfolder_is_rejected_with_where_it_belongs(tmp_path: Path):
    (tmp_path / "team").mkdir()
    written(tmp_path / "team", PLAIN)
    (broken,) = load_rules(tmp_path).broken
    assert str(broken.problems[0]).startswith("team/volume_spike.yaml:1: ")
    assert "move it into" in str(broken.problems[0])
