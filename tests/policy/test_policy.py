"""The policy file: strict, complete, and each error names file, key and mend."""

from pathlib import Path

import pytest

from shared import policy
from shared.complaint import Category, Locale
from shared.errors import ConfigError

SHIPPED = policy.SHIPPED.read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_policy_has_a_row_for_every_category_in_three_languages():
    loaded = policy.load()
    assert set(loaded.categories) == set(Category)
    for row in loaded.categories.values():
        assert set(row.names) == set(Locale)
        assert row.department in loaded.departments


@pytest.mark.parametrize(
    ("category", "department", "hours"),
    [
        ("return_exchange", "after_sales", 12),
        ("refund_abnormal", "finance", 2),
        ("missing_items", "warehouse", 12),
        ("compensation", "customer_service", 1),
        ("logistics_delay", "logistics", 24),
        ("logistics_lost", "logistics", 24),
        ("logistics_rejected", "logistics", 24),
        ("invoice_paper", "finance", 36),
        ("invoice_electronic", "finance", 24),
        ("product_quality", "quality", 12),
        ("service_attitude", "customer_service", 12),
        ("system_fault", "technology", 2),
        ("other", "customer_service", 12),
    ],
)
def test_owners_and_hours_are_those_of_the_domain(category: str, department: str, hours: float):
    row = policy.load().categories[Category(category)]
    assert (row.department, row.answer_hours) == (department, hours)


def test_the_hash_names_the_content(tmp_path: Path):
    same = policy.load(write(tmp_path, SHIPPED))
    assert same.hash == policy.load().hash
    other = policy.load(write(tmp_path, SHIPPED + "\n# a remark\n"))
    assert other.hash != same.hash


def test_a_rules_file_of_ones_own_lies_beside_the_policy(tmp_path: Path):
    (tmp_path / "ours.toml").write_text(
        policy.SHIPPED_RULES.read_text(encoding="utf-8")
        + '\n[[rules]]\nid = "ours"\ncategory = "other"\nweight = 1\nscript = "han"\nwhy = "我们的"\nany = ["某某词"]\n',
        encoding="utf-8",
    )
    loaded = policy.load(write(tmp_path, 'rules_file = "ours.toml"\n' + SHIPPED))
    assert loaded.wording.rules[-1].id == "ours"
    assert loaded.hash != policy.load().hash


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('department = "warehouse"', 'department = "werehouse"', ["categories.missing_items", "werehouse", "warehouse"]),
        ("answer_hours = 36", "answer_hours = -1", ["answer_hours"]),
        ("answer_hours = 36", "anser_hours = 36", ["anser_hours"]),
        ("[categories.other]", "[categories.others]", ["others"]),
        ('zone = "Asia/Shanghai"', 'zone = "Asia/Shangai"', ["calendars.service", "Asia/Shangai"]),
        ('closes = "21:00"', 'closes = "07:00"', ["calendars.service", "07:00"]),
        ("urgency_from = [1, 3, 7]", "urgency_from = [3, 1, 7]", ["urgency_from", "rise"]),
        ("{ level = 2, hours = 72 }", "{ level = 2, hours = 12 }", ["clocks.escalation", "order"]),
        (r"pattern = '\d{15,20}'", r"pattern = '(\d{15})?'", ["platform, 15 to 20 digits", "every text"]),
        (r"pattern = '\d{15,20}'", r"pattern = '(\d{15,20}'", ["platform, 15 to 20 digits", "cannot be read"]),
        ('calendar = "finance"', 'calendar = "bank"', ["departments.finance", "bank"]),
        ('signal = "goods_back"', 'signal = "goods_gone"', ["refund_abnormal", "goods_gone"]),
        ("version = 1\n", "version = 2\n", ["version"]),
        ('zh-TW = "售後部", ', "", ["departments.after_sales", "zh-TW"]),
        ("version = 1\n", "version = 1\n= 3\n", ["policy.toml"]),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(tmp_path: Path, old: str, new: str, words: list[str]):
    assert old in SHIPPED
    path = write(tmp_path, SHIPPED.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        policy.load(path)
    for word in [*words, str(path)]:
        assert word in caught.value.message


def test_a_missing_category_is_an_error(tmp_path: Path):
    head, _, tail = SHIPPED.partition("[categories.other]")
    _, _, rest = tail.partition("# --- Clocks")
    with pytest.raises(ConfigError, match=r"categories\.other"):
        policy.load(write(tmp_path, head + "# --- Clocks" + rest))


def test_a_file_that_is_not_there_or_not_text_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        policy.load(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00 name = 1")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        policy.load(binary)


def test_the_policy_is_told_without_its_wording():
    told = policy.describe(policy.load())
    assert told["categories"]["refund_abnormal"]["answer_hours"] == 2
    assert "wording" not in told
