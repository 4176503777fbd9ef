"""Rule files: what loads, and what is said of what does not."""

from pathlib import Path

import pytest

from audit_assets.rules.load import RulesFolderError, load_rule, load_rules
from audit_assets.rules.model import Rule
from audit_assets_tests.rules.made import PLAIN, changed, complaints, written

pytestmark = pytest.mark.requirement("R37")


def test_a_plain_rule_loads(tmp_path: Path):
    rule = load_rule(written(tmp_path, PLAIN))
    assert isinstance(rule, Rule)
    assert (rule.id, rule.per, rule.threshold) == ("volume_spike", ("capability",), "1.75 * median_14d")


def test_a_misspelt_field_is_told_with_file_line_and_mend_and_only_once(tmp_path: Path):
    text = PLAIN.replace("severity:", "severty:")
    assert complaints(tmp_path, text) == ["volume_spike.yaml:13: severty: unknown field; did you mean severity?"]


def test_a_missing_field_says_what_it_is(tmp_path: Path):
    text = PLAIN.replace("unit: count\n", "")
    assert complaints(tmp_path, text) == [
        "volume_spike.yaml:1: unit: is missing: how figures are written: count (1,234), share (5.0 %) or minutes"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("severity: eror", "13: severity: 'eror' is not info, warning, error or critical; did you mean error?"),
        ("watch: ai_audit_capability_anomalie", "4: watch: 'ai_audit_capability_anomalie' is not "),
        ("window: running_and_last_closed_dy", "6: window: 'running_and_last_closed_dy' is not "),
        ("window: last_closed_step", "6: window: ai_audit_capability_anomalies is judged by running_and_last_c"),
        ("per: []", "5: per: ai_audit_capability_anomalies has a row per capability; write [capability]"),
        ("per: [capabilty]", "5: per: ai_audit_capability_anomalies has a row per capability; write [capability]"),
        ("per: capability", "5: per: 'capability' is not usable"),
        ("colour: #7C3AED", "14: colour: None is not usable"),
        ("colour: purple", "14: colour: 'purple' is not usable"),
        ("title: 7", "2: title: 7 is not usable"),
        ("title: ''", "2: title: '' is not usable"),
        ("runbook: Volume Spike", "15: runbook: 'Volume Spike' is not usable"),
        ("unit: seconds", "12: unit: 'seconds' is not count, share or minutes"),
        ("threshold: .inf", "11: threshold: inf is not usable"),
        ("threshold: yes", "11: threshold: True is not usable"),
        ("threshold: 1e300", "11: threshold: 1e300 is beyond any figure a rule judges"),
        ("baseline: null", "9: baseline: a baseline and its words (baseline_is) come together"),
        ("baseline: 0", "9: baseline: is 0 whatever happens; name a column"),
        ("value: 3.5", "8: value: is 3.5 whatever happens; name a column"),
        ("value: capability", "8: value: is no number"),
        ("fires_when: true", "7: fires_when: True is not usable"),
        ("fires_when: 5 > 3", "7: fires_when: names no column of ai_audit_capability_anomalies"),
        ("fires_when: interaction_count > 5 percent", "7: fires_when: percent is not part of the rule language"),
        ("fires_when: interaction_count > 1 as x", "7: fires_when: gives a name to its result (an alias)"),
        ("fires_when: sum(interaction_count) > 1", "7: fires_when: sum looks at many rows"),
        ("fires_when: interaction_count", "7: fires_when: is no yes or no"),
        ("fires_when: interaction_count > median_14", "7: fires_when: median_14: unknown column of"),
    ],
)
def test_a_wrong_value_is_told_at_its_line(tmp_path: Path, line: str, said: str):
    assert [text[: len("volume_spike.yaml:") + len(said)] for text in complaints(tmp_path, changed(line))] == [
        f"volume_spike.yaml:{said}"
    ]


NEW_FIELDS = [
    ("kind: spik", "kind: 'spik' is not spike, drop, errors, unknown, news, stale or failure; did you mean spike?"),
    ("for: 3 of 2", "for: '3 of 2' says no number of steps; write how many of the last ones fire, such as 2 of 3"),
    ("for: 2", "for: 2 says no number of steps"),
    ("keep_firing: 2 hours", "keep_firing: '2 hours' is no duration; write a number and a unit, such as 30s, 15m"),
    ("keep_firing: 0m", "keep_firing: '0m' is no duration"),
    ("no_data: maybe", "no_data: 'maybe' is not keep, ok or alert"),
    ("active: busines_hours", "active: 'busines_hours' is not always or business_hours; did you mean business_hours?"),
    ("inhibited_by: [volume_spike]", "inhibited_by: a rule cannot keep itself from being believed"),
    ("gates: {enough: sum(interaction_count) > 5}", "gates.enough: sum looks at many rows; a condition sees one row"),
    ("gates: {enough: interaction_count}", "gates.enough: is no yes or no"),
    ("clears_when: median_14 < 5", "clears_when: median_14: unknown column of"),
    ("judge_by: literal", "judge_by: names the literal form, and there is none; write it under literal"),
    ("judge_by: literaly", "judge_by: 'literaly' is not fires_when or literal; did you mean literal?"),
    ("literal: {fires_wen: 1}", "literal.fires_wen: unknown field; did you mean fires_when?"),
    ("backtest: {alerts_a_week: -1}", "backtest.alerts_a_week: -1 is not usable"),
    ("routes: []", "routes: [] is not usable"),
]


@pytest.mark.parametrize(("line", "said"), NEW_FIELDS)
def test_what_a_rule_says_of_its_terms_is_told_with_its_mend(tmp_path: Path, line: str, said: str):
    field = line.split(":")[0]
    kept = [old for old in PLAIN.splitlines() if old.split(":")[0] != field]
    told = complaints(tmp_path, "\n".join([*kept, line]) + "\n")
    assert [text for text in told if said in text], told


@pytest.mark.requirement("R31")
@pytest.mark.parametrize(
    ("watch", "window", "condition", "said"),
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
def test_a_drop_judged_on_a_running_day_is_refused(tmp_path: Path, watch: str, window: str, condition: str, said: str):
    text = (
        changed(f"watch: {watch}").replace("running_and_last_closed_day", window).replace("kind: spike", "kind: drop")
    )
    text = text.replace("fires_when: interaction_count > 1.75 * median_14d", f"fires_when: {condition}")
    assert [told for told in complaints(tmp_path, text) if said in told]


def test_an_inhibitor_that_is_no_rule_is_refused_with_what_may_be_meant(tmp_path: Path):
    written(tmp_path, PLAIN + "inhibited_by: [freshnes_slo]\n")
    written(tmp_path, PLAIN.replace("id: volume_spike", "id: freshness_slo"), "freshness_slo.yaml")
    (broken,) = load_rules(tmp_path).broken
    assert broken.message == (
        "volume_spike.yaml:23: inhibited_by: freshnes_slo: no such rule; did you mean freshness_slo?"
    )


def test_every_problem_of_a_file_is_told_at_once_in_the_order_of_its_lines(tmp_path: Path):
    text = changed("fires_when: now() > 1").replace("median_14d: 100", "median_14: 100", 1)
    lines = [said.split(":")[1] for said in complaints(tmp_path, text)]
    assert lines == ["7", "18"]


def test_an_example_must_be_a_row_of_the_watched_table(tmp_path: Path):
    assert complaints(tmp_path, PLAIN.replace("interaction_count: 175", "interactions: 175")) == [
        "volume_spike.yaml:20: examples.does_not_fire.0.interactions: unknown column of "
        "ai_audit_capability_anomalies; did you mean interaction_count?"
    ]
    for value in ("many", "1.5", "true", "99999999999999999999"):
        (said,) = complaints(tmp_path, PLAIN.replace("interaction_count: 175", f"interaction_count: {value}"))
        assert said.endswith("is not a whole number")


def test_a_rule_has_an_example_of_either_kind(tmp_path: Path):
    (said,) = complaints(tmp_path, PLAIN.replace("    - {interaction_count: 175, median_14d: 100}\n", ""))
    assert said.startswith("volume_spike.yaml:19: examples.does_not_fire: None is not usable")


def test_a_field_given_twice_is_refused_though_yaml_would_take_the_last(tmp_path: Path):
    assert complaints(tmp_path, PLAIN + "severity: info\n") == [
        "volume_spike.yaml:23: severity: stands twice, first on line 13"
    ]


def test_the_id_is_the_file_name(tmp_path: Path):
    assert complaints(tmp_path, PLAIN, "volume_drop.yaml") == [
        "volume_drop.yaml:1: id: is volume_spike, but the file is named volume_drop.yaml; give both one name"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1: holds no fields"),
        (b"# nothing yet\n", "1: holds no fields"),
        (b"- a\n- b\n", "1: holds no fields"),
        (b"id: x\n\ttitle: y\n", "2: is not YAML"),
        (b"id: [x\n", "2: is not YAML"),
        (b"id: x\n---\nid: y\n", "2: is not YAML"),
        (b"id: x\ntitle: \xff\xfe\n", "2: is not UTF-8"),
        (b"id: x\ntitle: a\x00b\n", "2: holds a control character"),
        (b"id: x\nper: &a [c]\nexamples: *a\n", "3: examples: repeats another part"),
        (b"id: !!python/object:os.system x\n", "1: id: cannot read 'x'"),
        (b"id: x\nexamples: !!set {a}\n", "2: examples: has the tag"),
        (b"id: x\ntitle: 2026-13-45\n", "2: title: cannot read '2026-13-45'"),
        (b"id: " + b"9" * 5000, "1: id: cannot read"),
        (b"id: " + b"[" * 2000, "1: is nested too deep"),
        (b"7: x\n", "1: 7: a field's name is plain text"),
        (b"? [a]\n: x\n", "1: None: a field's name is plain text"),
        (b"id: x\n" + b"# padding\n" * 7000, "1: is larger than 64 KiB"),
    ],
)
def test_a_file_that_is_no_plain_yaml_mapping_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "x.yaml").write_bytes(content)
    (broken,) = load_rules(tmp_path).broken
    assert broken.message.startswith(f"x.yaml:{said}")


def test_a_byte_order_mark_is_no_reason_to_refuse(tmp_path: Path):
    assert complaints(tmp_path, "\ufeff" + PLAIN) == []


@pytest.mark.requirement("R37")
def test_there_is_one_id_a_file_broken_ones_included(tmp_path: Path):
    written(tmp_path, PLAIN)
    for name in ("volume_spike.yml", "Vol Spike.yaml", "vol-spike.yml", "volume_spike_2.yaml", "ünï.yaml"):
        written(tmp_path, PLAIN, name)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
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
        "volume_spike.yml:1: id: volume_spike is volume_spike.yaml already; rename or remove one of the two files"
    )


def test_a_missing_folder_is_an_error_and_not_an_empty_set(tmp_path: Path):
    with pytest.raises(RulesFolderError, match="nowhere: No such file or directory; name the folder"):
        load_rules(tmp_path / "nowhere")


def test_a_rule_cannot_be_changed_after_loading(tmp_path: Path):
    rule = load_rule(written(tmp_path, PLAIN))
    with pytest.raises(ValueError, match="frozen"):
        rule.title = "other"  # type: ignore[misc, union-attr]
