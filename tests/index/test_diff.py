"""What `almanac diff` tells of two snapshots whose differences are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almanac import main
from index.diff_tables import steps, table_churn
from index.layout import secret_check
from index.records import OFFER_AVAILABLE
from index.request import Request
from tests.toys import SECRET, toy_customer_key, toy_customers, toy_model, toy_offer, write_toy

TABLE = st.dictionaries(st.binary(min_size=2, max_size=2), st.binary(max_size=3), max_size=12)
GOLDEN = (
    (toy_customer_key("ann"), Request(k=5)),
    (None, Request(k=5)),
)


@given(before=TABLE, after=TABLE)
def test_steps_tell_every_key_once_with_both_values(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> None:
    found = list(steps(sorted(before.items()), sorted(after.items())))
    assert [step.key for step in found] == sorted(before.keys() | after.keys())
    assert {step.key: step.before for step in found if step.before is not None} == before
    assert {step.key: step.after for step in found if step.after is not None} == after


@given(before=TABLE, after=TABLE)
def test_churn_adds_up(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> None:
    churn = table_churn("t", sorted(before.items()), sorted(after.items()))
    assert churn.same + churn.changed + churn.added == len(after)
    assert churn.same + churn.changed + churn.removed == len(before)
    put = {key for key in after if before.get(key) != after[key]}
    assert churn.put_bytes == sum(len(key) + len(after[key]) for key in put)
    assert churn.churn == pytest.approx(
        churn.put_bytes / churn.all_bytes if churn.all_bytes else 0.0
    )


@pytest.fixture
def before(tmp_path: Path) -> Path:
    write_toy(tmp_path / "before", golden=GOLDEN)
    return tmp_path / "before"


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """Ann is gone, Zoe is new; offer 3 is sold out, offer 4 has another title."""
    customers = dict(toy_customers())
    customers["zoe"] = customers.pop("ann")
    offers = {
        3: toy_offer(3)._replace(flags=0),
        4: toy_offer(4)._replace(fragment=b'"title":"Other"'),
    }
    write_toy(tmp_path / "after", customers=customers, offers=offers, golden=GOLDEN)
    return tmp_path / "after"


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["diff", *words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_known_differences_are_found(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy_offer(3).flags & OFFER_AVAILABLE
    found = told(capsys, str(before), str(after))
    tables = {
        one["table"]: (one["same"], one["changed"], one["added"], one["removed"])
        for one in found["tables"]  # type: ignore[attr-defined]
    }
    assert tables["customers"] == (1, 0, 1, 1)
    assert tables["offers"] == (38, 2, 0, 0)
    assert tables["items"][1:] == (0, 0, 0)
    offers = found["offers"]
    assert isinstance(offers, dict)
    assert (offers["sold_out"], offers["retold"]) == (["item-003"], ["item-004"])
    assert (offers["added"], offers["removed"], offers["back"], offers["moved"]) == ([], [], [], 0)
    decisions = found["decisions"]
    assert isinstance(decisions, dict)
    assert decisions["n"] == 2
    known = {(one["before"], one["after"]): one["n"] for one in decisions["tiers"]}
    # Ann's tables are gone: the later snapshot answers her as it does a stranger.
    assert sum(n for tiers, n in known.items() if tiers[0] != tiers[1]) == 1
    assert decisions["same"] == 0.0
    assert len(decisions["furthest"]) == 2


def test_a_snapshot_is_no_different_from_itself(
    before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, str(before), str(before))
    decisions = found["decisions"]
    assert isinstance(decisions, dict)
    assert (decisions["same"], decisions["overlap"], decisions["furthest"]) == (1.0, 1.0, [])
    assert all(one["churn"] == 0.0 for one in found["tables"])  # type: ignore[attr-defined]
    assert all(one["same"] for one in found["files"])  # type: ignore[attr-defined]


def test_lines_for_people_name_what_changed(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(before), str(after)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["sold", "out", "1", "item-003"] for line in lines)
    assert "decisions, 2 questions" in lines


def test_requests_of_a_file_are_asked_instead(
    before: Path, after: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, secret = tmp_path / "asked.jsonl", tmp_path / "secret"
    secret.write_bytes(SECRET)
    asked.write_text('{"customer_id": "ann", "k": 3}\n\n{"k": 2}\n{"customer_id": "bob"}\n')
    words = [str(before), str(after), "--requests", str(asked), "--secret-file", str(secret)]
    decisions = told(capsys, *words)["decisions"]
    assert isinstance(decisions, dict)
    assert decisions["n"] == 3
    asked.write_text('{"k": 2}\n{"k": "two"}\n')
    assert main(["diff", *words]) == 5
    assert "line 2" in capsys.readouterr().err


def test_strangers_to_each_other_are_refused(before: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "brand", model=toy_model(brand="other"))
    write_toy(tmp_path / "secret", model=toy_model(secret_check=secret_check(b"another secret!!")))
    assert main(["diff", str(before), str(tmp_path / "brand")]) == 3
    assert main(["diff", str(before), str(tmp_path / "secret")]) == 3
    assert main(["diff", str(before), str(tmp_path / "nowhere")]) == 4


def test_without_questions_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_toy(tmp_path / "mute")
    assert main(["diff", str(tmp_path / "mute"), str(tmp_path / "mute")]) == 0
    assert "give --requests" in capsys.readouterr().out
