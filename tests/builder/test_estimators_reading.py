"""A log and a policy from files: what is read, and how problems are told."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import orjson
import pytest

from builder.errors import BuildError, DataGate, InputNotFound, InputUnreadable
from builder.estimators.estimates import estimate
from builder.estimators.reading import read_decisions
from tests.builder.logs import values

Line = dict[str, object]

SHOWN: list[Line] = [
    {"decision_id": "a", "offer_id": "milk", "propensity": 0.5, "reward": 2, "customer_id": "zoë"},
    {"decision_id": "b", "offer_id": "bread", "propensity": 1, "reward": 0, "rank": 2},
    {
        "decision_id": "b",
        "offer_id": "milk",
        "propensity": 0.25,
        "reward": 1.5,
        "rank": 3,
        "customer_id": "zoë",
        "context": {"device": "mobile", "hour": 18, "is_gift": True, "referrer": None},
        "score": 2.26,
    },
]
WANTED: list[Line] = [
    {"decision_id": "b", "rank": 3, "probabilities": {"bread": 1.0}},
    {"decision_id": "b", "rank": 2, "probabilities": {"bread": 0.5, "tea": 0.5}, "note": "x"},
    {"decision_id": "elsewhere", "probabilities": {}},
    {"decision_id": "a", "probabilities": {"milk": 0.25, "bread": 0.75}},
]


def written(path: Path, lines: list[Line]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return written(tmp_path / "log.jsonl", SHOWN)


@pytest.fixture
def policy_path(tmp_path: Path) -> Path:
    return written(tmp_path / "policy.jsonl", WANTED)


def test_lines_meet_by_decision_and_rank(log_path: Path, policy_path: Path) -> None:
    log = read_decisions(log_path, policy_path)

    assert log.reward.tolist() == [2.0, 0.0, 1.5]
    assert log.propensity.tolist() == [0.5, 1.0, 0.25]
    assert log.pi_e.tolist() == [0.25, 0.5, 0.0]
    assert log.action.tolist() == [0, 1, 0]
    assert log.position is not None
    assert log.position.tolist() == [1, 2, 3]


def test_who_has_no_id_is_a_customer_of_their_own(tmp_path: Path) -> None:
    names = ["zoë", None, "zoë", None, "1"]
    shown = [{**SHOWN[0], "decision_id": f"{i}", "customer_id": n} for i, n in enumerate(names)]
    wanted: list[Line] = [{"decision_id": f"{i}", "probabilities": {"milk": 1}} for i in range(5)]

    log = read_decisions(
        written(tmp_path / "log.jsonl", shown), written(tmp_path / "policy.jsonl", wanted)
    )

    assert log.customers.tolist() == [0, 1, 0, 2, 3]


def test_rewards_are_estimated_from_offer_rank_and_context(tmp_path: Path) -> None:
    """Milk earns 1 and bread 0, more by 2 at night; the policy shows what was not shown."""
    rng = np.random.default_rng(4)
    shown: list[Line] = []
    wanted: list[Line] = []
    for i in range(600):
        is_milk, is_night = rng.random(2) < 0.5
        shown.append(
            {
                "decision_id": f"{i}",
                "offer_id": "milk" if is_milk else "bread",
                "propensity": 0.5,
                "reward": float(is_milk) + 2.0 * float(is_night),
                "context": {"hour": 23 if is_night else 12},
            }
        )
        wanted.append({"decision_id": f"{i}", "probabilities": {"bread" if is_milk else "milk": 1}})
    log = read_decisions(
        written(tmp_path / "log.jsonl", shown), written(tmp_path / "policy.jsonl", wanted)
    )

    assert log.q_logged == pytest.approx(log.reward, abs=0.1)
    assert log.q_policy == pytest.approx(log.reward + 1.0 - 2.0 * (log.reward % 2.0), abs=0.1)
    assert values(estimate(log))["dr"] == pytest.approx(log.reward.mean(), abs=0.2)


def test_compressed_files_and_blank_lines_are_read(log_path: Path, policy_path: Path) -> None:
    plain = read_decisions(log_path, policy_path)
    log_path.write_bytes(gzip.compress(b"\n" + log_path.read_bytes().replace(b"\n", b"\r\n\r\n")))

    again = read_decisions(log_path, policy_path)

    assert again.pi_e.tolist() == plain.pi_e.tolist()
    assert again.customers.tolist() == plain.customers.tolist()


def without(line: Line, field: str) -> Line:
    return {name: value for name, value in line.items() if name != field}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (without(SHOWN[0], "propensity"), "missing required field `propensity`"),
        ({**SHOWN[0], "propensity": 0}, r"Expected `float` > 0.0 - at `\$.propensity`"),
        ({**SHOWN[0], "propensity": 1.01}, r"Expected `float` <= 1.0 - at `\$.propensity`"),
        ({**SHOWN[0], "propensity": None}, r"got `null` - at `\$.propensity`"),
        ({**SHOWN[0], "reward": "2"}, r"got `str` - at `\$.reward`"),
        ({**SHOWN[0], "rank": 0}, r"`int` >= 1 - at `\$.rank`"),
        ({**SHOWN[0], "offer_id": ""}, r"at `\$.offer_id`"),
    ],
)
def test_a_line_that_is_no_decision_is_named(
    line: Line, told: str, tmp_path: Path, policy_path: Path
) -> None:
    log_path = written(tmp_path / "log.jsonl", [SHOWN[1], line])

    with pytest.raises(InputUnreadable, match=rf"log\.jsonl, line 2: .*{told}"):
        read_decisions(log_path, policy_path)


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"reward": NaN}', b"\xff\xfe", b"[" * 100_000, b"milk,0.5,2"]
)
def test_a_line_that_is_no_object_is_named(text: bytes, log_path: Path, policy_path: Path) -> None:
    log_path.write_bytes(log_path.read_bytes() + b"\n" + text)

    with pytest.raises(InputUnreadable, match=r"log\.jsonl, line 5: "):
        read_decisions(log_path, policy_path)


@pytest.mark.parametrize(
    ("wanted", "kind", "told"),
    [
        pytest.param(
            [*WANTED[:3], {**WANTED[3], "probabilities": {"milk": 0.25}}],
            DataGate,
            r"line 4: probabilities should add up to 1, found 0\.25",
            id="sum",
        ),
        pytest.param(
            [*WANTED[:3], {**WANTED[3], "probabilities": {"milk": -1, "tea": 2}}],
            InputUnreadable,
            "line 4: Expected `float` ",
            id="range",
        ),
        pytest.param(
            WANTED[:3],
            DataGate,
            r"no line for decision 'a', rank 1, .* log\.jsonl, line 1 \(missing 1 of 3\)",
            id="missing",
        ),
        pytest.param(
            [*WANTED, WANTED[0]],
            DataGate,
            "line 5: decision 'b', rank 3 stands in line 1 already",
            id="twice",
        ),
    ],
)
def test_what_is_wrong_with_a_policy_is_told(
    wanted: list[Line], kind: type[BuildError], told: str, log_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=rf"policy\.jsonl[,:] {told}"):
        read_decisions(log_path, written(tmp_path / "policy.jsonl", wanted))


def test_a_decision_that_stands_twice_is_refused(tmp_path: Path, policy_path: Path) -> None:
    log_path = written(tmp_path / "log.jsonl", [*SHOWN, {**SHOWN[0], "reward": 7}])

    with pytest.raises(DataGate, match="line 4: decision 'a', rank 1 stands in line 1 already"):
        read_decisions(log_path, policy_path)


def test_an_empty_or_missing_log_is_refused(log_path: Path, policy_path: Path) -> None:
    log_path.write_bytes(b"\n\n")
    with pytest.raises(DataGate, match=r"log\.jsonl: holds no decisions"):
        read_decisions(log_path, policy_path)

    log_path.unlink()
    with pytest.raises(InputNotFound, match=r"log\.jsonl: no such file"):
        read_decisions(log_path, policy_path)
