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
        "volume_spike.yaml:1: unit: is missing: how figures are written: count (1,234) or share (5.0 %)"
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
        ("unit: seconds", "12: unit: 'seconds' is not count or share"),
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
        "volume_spike.yaml:21: severity: stands twice, first on line 13"
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
