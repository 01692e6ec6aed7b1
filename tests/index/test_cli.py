"""`almanac verify` and `almanac decide` as a shell sees them: lines, errors and exit codes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from almanac import main
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation
from index.manifest import encode_manifest, read_manifest
from index.request import Request
from index.secret import brand_secret
from tests.toys import SECRET

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """What a shell would have seen of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def almanac(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Runs a command in this process, where the toy secret is known unless told otherwise."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*words: object, secret: str = SECRET.decode()) -> Ended:
        monkeypatch.setenv("ALMANAC_SECRET", secret)
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return run


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Ended]:
    """Runs a command as a process of its own."""

    def run(*words: object, told: str = "", secret: str = SECRET.decode()) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "almanac", *map(str, words)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ALMANAC_SECRET": secret},
            input=told.encode(),
            capture_output=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


# almanac verify -----------------------------------------------------------------------------------


def test_a_sound_snapshot_is_verified_step_by_step(
    almanac: Callable[..., Ended], toy_dir: Path
) -> None:
    plain, deep = almanac("verify", toy_dir), almanac("verify", toy_dir, "--deep")

    assert (plain.returncode, deep.returncode) == (0, 0)
    assert plain.stdout.endswith("sound\n")
    assert deep.stdout.splitlines()[1:] == [
        "6 files have the listed sizes and digests",
        "4 tables are sound LMDB files",
        "opens as the edge opens it: tables, vectors and model belong together",
        "3 golden decisions repeated",
        "sound",
    ]


def test_a_flipped_bit_is_found(shell: Callable[..., Ended], toy_copy: Path) -> None:
    path = toy_copy / "items.lmdb"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = shell("verify", toy_copy)

    assert done.returncode == 3
    assert f"error: {path}: sha256" in done.stderr
    assert "hint: copy the snapshot again" in done.stderr


def test_verify_tells_machines_too(
    almanac: Callable[..., Ended], toy_dir: Path, toy_copy: Path
) -> None:
    (toy_copy / "items.lmdb").unlink()
    sound, broken = almanac("verify", toy_dir, "--json"), almanac("verify", toy_copy, "--json")

    assert json.loads(sound.stdout) | {"checks": []} == {"ok": True, "checks": [], "error": None}
    assert broken.returncode == 3
    told = json.loads(broken.stdout)
    assert (told["ok"], told["error"]["kind"], told["error"]["what"]) == (
        False,
        "Incomplete",
        "is missing",
    )


def test_nothing_there_is_exit_code_4(almanac: Callable[..., Ended], tmp_path: Path) -> None:
    assert almanac("verify", tmp_path / "no").returncode == 4


def test_another_golden_decision_is_found_by_deep_only(
    almanac: Callable[..., Ended], toy_copy: Path
) -> None:
    manifest = read_manifest(toy_copy)
    wrong = msgspec.structs.replace(manifest.golden[0], offer_rows=[*range(9), 39])
    changed = msgspec.structs.replace(manifest, golden=[wrong, *manifest.golden[1:]])
    (toy_copy / "manifest.json").write_bytes(encode_manifest(changed))
    plain, deep = almanac("verify", toy_copy), almanac("verify", toy_copy, "--deep")

    assert plain.returncode == 0
    assert deep.returncode == 3
    assert "1 golden decisions differ; decision 0: expected prior" in deep.stderr


# almanac decide -----------------------------------------------------------------------------------

LINES = [
    '{"customer_id": "ann", "k": 2}',
    '{"k": 3, "request_id": "mine"}',
    '{"k": 1, "context": {"device": "mobile"}, "explain": true}',
]


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


def answers(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_line_is_answered_as_decide_answers(
    almanac: Callable[..., Ended], toy: Generation, toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    done = almanac("decide", toy_dir, "--requests", asked, "--out", tmp_path / "out")
    expected = []
    for number, line in enumerate(LINES, start=1):
        request = msgspec.json.decode(line, type=Request)
        named = msgspec.structs.replace(request, request_id=request.request_id or str(number))
        expected.append(decision_json(decide(toy, named)))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 lines, 0 bad\n")
    assert (tmp_path / "out").read_bytes() == b"\n".join(expected) + b"\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked.jsonl", "out"]


def test_explaining_may_be_asked_for_all(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    almanac("decide", toy_dir, "--requests", asked, "--out", tmp_path / "out", "--explain")

    assert all(offer["reasons"] for line in answers(tmp_path / "out") for offer in line["offers"])


BAD = [
    ('{"k": 101, "request_id": "é\\""}', 'é"', "$.k", "Expected `int` <= 100"),
    ('{"k": "1"}', "2", "$.k", "Expected `int`, got `str`"),
    ('{"cart": [{}]}', "3", "$.cart[0]", "missing required field `item_id`"),
    ('{"placment": "home"}', "4", "$", "unknown field `placment`"),
    ("[]", "5", "$", "Expected `object`"),
    ("{", "6", "$", "truncated"),
    ('{"request_id": 7}', "7", "$.request_id", "Expected `str | null`"),
    ('{"at": "yesterday"}', "8", "$.at", "Invalid RFC3339"),
    ('{"context": ' + "[" * 50_000, "9", "$.context", "Expected `object`"),
    ('{"request_id": "\\ud800"}', "10", "$", "truncated"),
    ('{"repeat": 2}', "11", "$.repeat", 'Expected `float` < 1.0; say "allow", "exclude" or a'),
]


def test_a_bad_line_gets_an_error_in_its_place(
    almanac: Callable[..., Ended], toy_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "asked.jsonl"
    good = '{"k": 1}'
    path.write_text("\n".join([*(line for line, *_ in BAD), good, "", "  ", good]))
    with path.open("ab") as file:
        file.write(b'\n{"placement": "\xff"}')
    done = almanac("decide", toy_dir, "--requests", path, "--out", tmp_path / "out")
    found = answers(tmp_path / "out")

    assert done.returncode == 5
    assert "12 of 14 lines are no requests, the first is line 1" in done.stderr
    for number, (answer, (_, name, place, detail)) in enumerate(
        zip(found, BAD, strict=False), start=1
    ):
        assert (answer["request_id"], answer["error"]["line"]) == (name, number)
        assert answer["error"]["path"] == place
        assert detail in answer["error"]["detail"]
    # Blank lines are no requests, but they are lines: a number is the number an editor shows.
    assert [answer["request_id"] for answer in found[11:]] == ["12", "15", "16"]
    assert "utf-8" in found[13]["error"]["detail"]


def test_packed_files_are_read_and_written(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "asked.jsonl.gz"
    packed.write_bytes(gzip.compress(asked.read_bytes()))
    for out in ("one.gz", "two.gz"):
        assert (
            almanac("decide", toy_dir, "--requests", packed, "--out", tmp_path / out).returncode
            == 0
        )
    almanac("decide", toy_dir, "--requests", asked, "--out", tmp_path / "plain")

    assert gzip.decompress((tmp_path / "one.gz").read_bytes()) == (tmp_path / "plain").read_bytes()
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_a_pipe_reads_and_writes(shell: Callable[..., Ended], toy_dir: Path) -> None:
    done = shell("decide", toy_dir, "--requests", "-", "--out", "-", told='\ufeff{"k": 1}\n')

    assert done.returncode == 0
    assert [json.loads(line)["request_id"] for line in done.stdout.splitlines()] == ["1"]


def test_a_device_is_written_to_not_replaced(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path
) -> None:
    done = almanac("decide", toy_dir, "--requests", asked, "--out", "/dev/null")

    assert done.returncode == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("requests", "code", "complaint"),
    [
        ("no.jsonl", 4, "No such file"),
        (".", 4, "Is a directory"),
        ("cut.gz", 5, "ended before"),
        ("plain.gz", 5, "Not a gzipped file"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(
    almanac: Callable[..., Ended],
    toy_dir: Path,
    tmp_path: Path,
    requests: str,
    code: int,
    complaint: str,
) -> None:
    (tmp_path / "plain.gz").write_text('{"k": 1}\n')
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b'{"k": 1}\n' * 1000)[:-20])
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "out"
    done = almanac("decide", toy_dir, "--requests", tmp_path / requests, "--out", out)

    assert done.returncode == code
    assert complaint in done.stderr
    assert sorted(tmp_path.iterdir()) == before  # no half an answer, no rest of one


def test_an_output_that_cannot_be_written_is_named(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    done = almanac("decide", toy_dir, "--requests", asked, "--out", tmp_path / "no" / "out")

    assert done.returncode == 1
    assert "cannot be written (No such file or directory)" in done.stderr


def test_a_full_disk_leaves_no_answers(
    almanac: Callable[..., Ended], toy_dir: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    path, disk = tmp_path / "asked", small_disk(16)
    path.write_text('{"k": 40}\n' * 2000)
    done = almanac("decide", toy_dir, "--requests", path, "--out", disk / "out")

    assert done.returncode == 75
    assert "No space left on device" in done.stderr
    assert "hint: make room" in done.stderr
    assert list(disk.iterdir()) == []


def test_without_a_secret_unknown_visitors_are_answered(
    shell: Callable[..., Ended], toy_dir: Path, tmp_path: Path
) -> None:
    done = shell("decide", toy_dir, "--requests", "-", "--out", "-", told='{"k": 1}', secret="")

    assert done.returncode == 0
    assert json.loads(done.stdout)["tier"] == "prior"
    assert list(tmp_path.iterdir()) == []  # a reader makes no secret


def test_without_a_secret_a_customer_is_not_taken_for_a_stranger(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = almanac("decide", toy_dir, "--requests", asked, "--out", out, secret="")

    assert done.returncode == 2
    assert "the brand secret cannot be read" in done.stderr
    assert "hint: give --secret-file" in done.stderr
    assert not out.exists()


def test_the_secret_may_be_in_a_file(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(SECRET + b"\n")
    words = ["decide", toy_dir, "--requests", asked, "--out", tmp_path / "out", "--secret-file"]

    assert almanac(*words, tmp_path / "key", secret="").returncode == 0
    assert answers(tmp_path / "out")[0]["tier"] == "individual"
    assert almanac(*words, tmp_path / "nokey").returncode == 2


def test_another_secret_is_refused(
    almanac: Callable[..., Ended], toy_dir: Path, asked: Path
) -> None:
    other = "another-secret-another"
    done = almanac("decide", toy_dir, "--requests", asked, "--out", "-", secret=other)

    assert done.returncode == 3
    assert "built with secret" in done.stderr


# The secret itself --------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    made = brand_secret("a/b", environ=environ)
    path = tmp_path / "almanac" / "a_b.key"

    assert capsys.readouterr().err.startswith(f"made a new brand secret: {path}")
    assert brand_secret("a/b", environ=environ) == made
    assert brand_secret("b", environ=environ) != made
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["a_b.key", "b.key"]


def test_processes_that_start_together_make_one_secret(tmp_path: Path) -> None:
    code = "from index.secret import brand_secret; print(brand_secret('x').decode())"
    environ = os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "ALMANAC_SECRET": ""}
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(6)
    ]

    assert len({process.communicate()[0] for process in starting}) == 1


def test_a_secret_reads_the_same_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET + b"\n")
    text, file = SECRET.decode() + "\n", str(tmp_path / "key")

    assert brand_secret("x", secret_file=tmp_path / "key") == SECRET
    assert brand_secret("x", environ={"ALMANAC_SECRET": text}) == SECRET
    assert brand_secret("x", environ={"ALMANAC_SECRET_FILE": file}) == SECRET
