"""The model file: read back as written, and refused when decisions could not trust it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.codec import pack, unpack
from index.errors import Corrupt, Incomplete, NotASnapshot, SnapshotError, WriteFailed, WrongVersion
from index.model import Feature, Model, TierModel, pack_model, read_model, unpack_model
from tests.toys import N_OFFERS, toy_model

PATH = Path("model.msgpack")
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
finite = st.floats(-1e6, 1e6)


def assert_same(found: Model, expected: Model) -> None:
    for name in Model.__dataclass_fields__:
        one, other = getattr(found, name), getattr(expected, name)
        if name == "prior_top":
            assert list(one) == sorted(other)
            assert all((one[key] == other[key]).all() for key in other)
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other, name


tiers = st.builds(
    TierModel, weights=st.dictionaries(names, finite, max_size=4), slope=finite, intercept=finite
)
policies = st.sampled_from(["allow", "exclude"]) | st.floats(
    0, 1, exclude_min=True, exclude_max=True
)
variations = st.fixed_dictionaries(
    {},
    optional={
        "tiers": tiers.map(lambda tier: dict(toy_model().tiers) | {"thin": tier}),
        "reserve": st.dictionaries(names, finite, max_size=3),
        "repeat": st.dictionaries(names, policies, max_size=3),
        "placements": st.lists(names, max_size=64, unique=True).map(tuple),
        "exploration": st.floats(0, 1),
        "values": st.just(toy_model().prior),
    },
)


@given(variations)
def test_a_model_round_trips(changes: dict[str, Any]) -> None:
    model = toy_model(**changes)

    assert_same(unpack_model(pack_model(model), PATH), model)


def test_the_order_of_members_does_not_matter() -> None:
    weights = {"prior": 1.0, "cart": 2.0}
    turned = dict(reversed(weights.items()))
    tiers = dict(toy_model().tiers)

    one = pack_model(toy_model(tiers=tiers | {"thin": TierModel(weights=weights)}))
    assert one == pack_model(toy_model(tiers=tiers | {"thin": TierModel(weights=turned)}))


NAN = np.full(N_OFFERS, np.nan, dtype=np.float32)
TOPS = {"*": np.array([0], dtype=np.uint32)}
BELOW = (Feature(name="device", kind="request", rows={"mobile": -1}),)
BAD_MODELS = [
    pytest.param({"binding": b"short"}, "16 bytes", id="binding"),
    pytest.param({"n_shards": 3}, "3 shards", id="shards"),
    pytest.param({"n_shards": 512}, "512 shards", id="too many shards"),
    pytest.param({"n_offers": N_OFFERS + 1}, "not one number for 41 offers", id="short prior"),
    pytest.param({"prior": NAN}, "the prior has numbers that are not finite", id="NaN prior"),
    pytest.param({"prior_top": {}}, "no best offers", id="no top"),
    pytest.param({"prior_top": TOPS | {"x": np.array([40])}}, "best offer is no offer", id="top"),
    pytest.param({"n_contexts": 8}, "context row is no context's", id="too few contexts"),
    pytest.param({"features": BELOW}, "context row is no context's", id="row below zero"),
    pytest.param({"values": NAN}, "worths", id="NaN worth"),
    pytest.param({"values": NAN[:-1] * 0}, "worths", id="short worth"),
    pytest.param(
        {"tiers": dict.fromkeys(toy_model().tiers, TierModel(weights={"a": np.inf}))},
        "a weight, slope or bound",
        id="weight",
    ),
    pytest.param({"reserve": {"*": float("nan")}}, "a weight, slope or bound", id="reserve"),
    pytest.param({"n_probe": 0}, "a vector search is to find nothing", id="no list"),
    pytest.param({"similar_top": 0}, "a vector search is to find nothing", id="no offer"),
    pytest.param({"exploration": 1.5}, "exploration 1.5", id="exploration"),
    *(
        pytest.param(
            {"repeat": {"*": "allow", "home": policy}}, "'home': .* policies", id=f"{policy}"
        )
        for policy in ("never", 0.0, 1.0, -0.5, float("nan"), True, 1, None)
    ),
    pytest.param({"placements": tuple(map(str, range(65)))}, "64 placements", id="placements"),
    pytest.param({"price_edges_cents": (5, 3)}, "price bands fall", id="bands"),
    pytest.param({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone", id="zone"),
    pytest.param({"timezone": "../etc"}, "is no time zone", id="zone outside"),
]


@pytest.mark.parametrize(("changes", "complaint"), BAD_MODELS)
def test_a_model_that_would_mislead_is_not_written(
    changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(WriteFailed, match=complaint):
        pack_model(toy_model(**changes))


def body(**changes: Any) -> bytes:
    """The toy model's bytes with some members replaced, by a writer that does not look."""
    return pack(unpack(pack_model(toy_model())) | changes)


def test_the_reader_looks_too() -> None:
    with pytest.raises(Corrupt, match="the prior has numbers that are not finite"):
        unpack_model(body(prior=NAN.tobytes()), PATH)


@pytest.mark.parametrize(
    ("data", "error", "complaint"),
    [
        pytest.param(b"", Corrupt, "not a whole MessagePack value", id="empty"),
        pytest.param(body()[:-1], Corrupt, "not a whole MessagePack value", id="cut"),
        pytest.param(body() + b"\0", Corrupt, "not a whole MessagePack value", id="longer"),
        pytest.param(b"\xc1", Corrupt, "not a whole MessagePack value", id="reserved byte"),
        pytest.param(b"\x91" * 2000, Corrupt, "not a whole MessagePack value", id="deep"),
        pytest.param(b"\xdd\xff\xff\xff\xff", Corrupt, "MessagePack value", id="huge array"),
        pytest.param(b"\xa1\xff", Corrupt, "not a whole MessagePack value", id="no UTF-8"),
        pytest.param(pack([1]), NotASnapshot, "holds no model of ours", id="a list"),
        pytest.param(pack({"format": "x"}), NotASnapshot, "holds no model of ours", id="foreign"),
        pytest.param(body(version=2), WrongVersion, "model format 2, this reader", id="newer"),
        pytest.param(
            pack({"format": "almanac-snapshot"}), WrongVersion, "model format None", id="no version"
        ),
        pytest.param(body(prior=b"xyz"), Corrupt, "lacks or garbles a part", id="odd prior"),
        pytest.param(body(prior_top=None), Corrupt, "lacks or garbles a part", id="no top"),
        pytest.param(body(tiers={}), Corrupt, "tiers are missing", id="no tiers"),
        pytest.param(body(features=[{"a": 1}]), Corrupt, "lacks or garbles a part", id="feature"),
        pytest.param(body(repeat="allow"), Corrupt, "lacks or garbles a part", id="no policies"),
        pytest.param(body(repeat={"*": 2}), Corrupt, "not all of .* are policies", id="policy"),
        pytest.param(body(timezone=7), Corrupt, "lacks or garbles a part", id="odd zone"),
    ],
)
def test_bytes_that_are_no_model_are_named(
    data: bytes, error: type[SnapshotError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint) as raised:
        unpack_model(data, PATH)
    assert raised.value.path == PATH


def without(member: str) -> bytes:
    whole = unpack(pack_model(toy_model()))
    del whole[member]
    return pack(whole)


@pytest.mark.parametrize("member", sorted(set(unpack(pack_model(toy_model()))) - {"format"}))
def test_no_member_may_be_missing(member: str) -> None:
    with pytest.raises((Corrupt, WrongVersion)):
        unpack_model(without(member), PATH)


def test_an_unknown_member_is_left_alone() -> None:
    """So that a later writer can add what an older reader may ignore."""
    assert_same(unpack_model(body(brand_new=[1, 2]), PATH), toy_model())


def flip(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_a_flipped_bit_gives_a_model_or_a_named_error() -> None:
    whole = pack_model(toy_model())
    for place in range(len(whole)):
        try:
            unpack_model(flip(whole, place, place % 8), PATH)
        except SnapshotError:
            continue


def test_a_missing_model_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="is missing"):
        read_model(tmp_path / "model.msgpack")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="cannot be read"):
        read_model(tmp_path)


@pytest.mark.parametrize("value", [None, True, -1, 2**64 - 1, 1.5, "ä", b"\0", [1], {"a": [{}]}])
def test_plain_values_are_packed_and_unpacked(value: object) -> None:
    assert unpack(pack(value)) == value


def test_members_of_another_type_are_refused() -> None:
    for changes in ({"n_offers": "40"}, {"exploration": "0"}, {"cart_power": None}):
        with pytest.raises(Corrupt, match=r"lacks or garbles|not one"):
            unpack_model(body(**changes), PATH)
