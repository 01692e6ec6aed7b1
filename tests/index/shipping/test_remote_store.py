"""Networks err: lost answers, conflicts, servers that lie. Nothing wrong is taken for right."""

from __future__ import annotations

import pytest

from index.shipping.probe import probe_conditional
from index.shipping.store import Store, open_store
from index.shipping.store_errors import (
    CredentialsRefused,
    NoConditions,
    NoRanges,
    NotInStore,
    ReadOnlyStore,
    StoreError,
    StoreFailed,
    TooLarge,
    Unreachable,
)
from tests.index.shipping.origins import Careless
from tests.index.shipping.s3_servers import bucket_server
from tests.index.shipping.web_servers import Answers


def test_a_conflict_is_tried_again() -> None:
    with bucket_server(honours_conditions=True) as errs:
        store = open_store("s3://bucket/x", environ=errs.settings)
        errs.conflicts = 2
        assert store.create("blob", b"one")
        token = store.read("blob", limit=9).token
        errs.conflicts = 6  # more than the library itself tries again
        store.replace("blob", b"two", expected=token)

        assert errs.conflicts == 0
        assert store.read("blob", limit=9).data == b"two"


def test_conflicts_without_end_may_be_tried_later() -> None:
    with bucket_server(honours_conditions=True) as errs:
        store = open_store("s3://bucket/x", environ=errs.settings)
        errs.conflicts = 1000
        for act in (
            lambda: store.create("blob", b"one"),
            lambda: store.replace("blob", b"one", expected=None),
        ):
            with pytest.raises(Unreachable) as caught:
                act()
            assert caught.value.exit_code == 75


def test_a_write_whose_answer_was_lost_is_not_taken_for_somebody_elses() -> None:
    with bucket_server(honours_conditions=True) as errs:
        store = open_store("s3://bucket/x", environ=errs.settings)
        errs.lost_answers = 1
        first = store.replace("channel", b"one", expected=None)
        errs.lost_answers = 1
        second = store.replace("channel", b"two", expected=first)
        errs.lost_answers = 1
        store.create("blob", b"one")

        assert errs.lost_answers == 0
        assert store.read("channel", limit=9).token == second
        assert store.read("blob", limit=9).data == b"one"


def test_the_probe_catches_a_bucket_that_ignores_conditions() -> None:
    with bucket_server(honours_conditions=False) as errs:
        store = open_store("s3://bucket/x", environ=errs.settings)
        with pytest.raises(NoConditions) as caught:
            probe_conditional(store)

    assert caught.value.exit_code == 2
    assert "s3://bucket/x" in str(caught.value)
    assert caught.value.hint


def test_the_probe_catches_a_folder_that_ignores_conditions(local: Store) -> None:
    class CreatesOnce(Careless):
        create = Careless.__base__.create  # type: ignore[union-attr]

    for careless in (Careless, CreatesOnce):
        store = careless(local.folder)  # type: ignore[attr-defined]
        with pytest.raises(NoConditions):
            probe_conditional(store)
        assert list(store.list()) == [], "the probe is removed even so"


def test_a_web_server_is_read(local: Store, web: Answers) -> None:
    local.create("a/blob", b"0123456789")
    store = open_store(f"{web.address}/a/")

    assert store.read("blob", limit=10).data == b"0123456789"
    assert store.read("blob", limit=10).token.strip('"')
    assert store.read_range("blob", 3, 4) == b"3456"
    assert store.read_range("blob", 8, 100) == b"89"
    assert store.head("blob") == 10
    assert store.head("nothing") is None
    with pytest.raises(NotInStore):
        store.read("nothing", limit=10)
    assert ("/a/blob", "bytes=3-6") in web.asked


def test_a_web_server_is_only_read(local: Store, web: Answers) -> None:
    store = open_store(web.address)
    for act in (
        lambda: store.create("blob", b"x"),
        lambda: store.create_from("blob", [b"x"], size=1),
        lambda: store.replace("blob", b"x", expected=None),
        lambda: store.delete("blob"),
        lambda: list(store.list()),
        lambda: probe_conditional(store),
    ):
        with pytest.raises(ReadOnlyStore) as caught:
            act()
        assert caught.value.exit_code == 2
    assert web.asked == []


def test_endless_data_is_not_taken_in(local: Store, web: Answers) -> None:
    """Case 14."""
    local.create("blob", b"0123456789")
    web.endless = True
    store = open_store(web.address)

    with pytest.raises(TooLarge):
        store.read("blob", limit=1 << 20)
    with pytest.raises(TooLarge):
        store.read_range("blob", 0, 10)
    assert web.bytes_sent < 64 << 20, "no more than fits into the buffers on the way"


def test_a_server_that_does_not_tell_how_much_comes_is_refused(local: Store, web: Answers) -> None:
    local.create("blob", b"0123456789")
    web.endless, web.tells_length = True, False
    store = open_store(web.address)

    for act in (lambda: store.read("blob", limit=99), lambda: store.read_range("blob", 0, 10)):
        with pytest.raises(StoreFailed, match="Content-Length"):
            act()


def test_a_server_that_sends_more_than_it_should_is_refused(local: Store, web: Answers) -> None:
    local.create("blob", b"0123456789")
    store = open_store(web.address)

    with pytest.raises(TooLarge):
        store.read("blob", limit=9)
    web.lie = lambda part: part + b"more"
    with pytest.raises(TooLarge):
        store.read_range("blob", 0, 4)


def test_a_server_that_ignores_ranges_is_named_so(local: Store, web: Answers) -> None:
    local.create("blob", b"0123456789")
    web.ignores_range = True

    with pytest.raises(NoRanges) as caught:
        open_store(web.address).read_range("blob", 3, 4)
    assert caught.value.exit_code == 3


def test_a_connection_cut_in_the_middle_is_taken_up_again(local: Store, web: Answers) -> None:
    local.create("blob", b"0123456789")
    web.cut_after = 4
    store = open_store(web.address)

    assert store.read("blob", limit=10).data == b"0123456789"
    assert [asked for _, asked in web.asked] == [None, "bytes=4-9", "bytes=8-9"]


def test_a_connection_that_is_always_cut_may_be_tried_later(local: Store, web: Answers) -> None:
    local.create("blob", b"0123456789")
    web.cut_after = 0

    with pytest.raises(Unreachable):
        open_store(web.address).read("blob", limit=10)


@pytest.mark.parametrize(
    ("status", "error"), [(401, CredentialsRefused), (403, CredentialsRefused), (503, Unreachable)]
)
def test_what_a_server_answers_becomes_our_error(
    local: Store, web: Answers, status: int, error: type[StoreError]
) -> None:
    web.status = status
    with pytest.raises(error):
        open_store(web.address).read("blob", limit=10)
