"""The front door: what is imported when, and how every way of ending looks from outside."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import almanac

ROOT = Path(almanac.__file__).parent

# A room of the tests' own, so that every ending is reached through a real verb in a real process.
ROOM = '''
import subprocess
import sys
import tempfile
import time

class Refused(Exception):
    exit_code = 5
    hint = "raise --max-bad"

def works(n: int = 1, *, loud: bool = False) -> None:
    """Print numbers.

    A paragraph that only the verb's own help shows.
    """
    for i in range(n):
        print(i, "!" if loud else "")

def returns() -> int:
    return 7

def refuses():
    raise Refused("orders.csv: 3 of 10 rows are bad, at most 1 may be")

def breaks():
    raise RuntimeError("a defect")

def waits():
    print("waiting", flush=True)
    time.sleep(60)

def keeps_a_process():
    with tempfile.TemporaryDirectory() as folder:
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            print(folder, started.pid, flush=True)
            time.sleep(60)
        finally:
            started.terminate()
            started.wait()

def points():
    print("→ there")

def lacks():
    import no_such_library

def breaks_a_pipe_of_its_own():
    raise BrokenPipeError("a worker died")
'''
FRONT_DOOR = """
import sys
import almanac
import room
for name in vars(room):
    almanac.VERBS[name.replace("_", "-")] = almanac.Verb(
        target=f"room:{name}", help=f"{name}, in one line.", extra="build"
    )
del sys.modules["room"]
sys.exit(almanac.main())
"""


@pytest.fixture
def front_door(tmp_path: Path) -> list[str]:
    """The command line of an almanac that also has the verbs of our own room."""
    (tmp_path / "room.py").write_text(ROOM)
    script = tmp_path / "front_door.py"
    script.write_text(FRONT_DOOR)
    return [sys.executable, str(script)]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
    )


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def almanac_with(*words: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "almanac", *words)


def test_help_names_every_verb_with_its_line() -> None:
    done = almanac_with("--help")

    assert (done.returncode, done.stderr) == (0, "")
    for name, verb in almanac.VERBS.items():
        assert name.partition(" ")[0] in done.stdout
        if " " not in name:
            assert verb.help in " ".join(done.stdout.replace("│", " ").split())


def test_no_arguments_shows_the_same_help() -> None:
    assert almanac_with("--help").stdout == almanac_with().stdout


def test_help_of_a_group_names_its_verbs() -> None:
    done = almanac_with("bench", "--help")

    assert done.returncode == 0
    assert "decision" in done.stdout
    assert "http" in done.stdout


def test_version_is_told() -> None:
    done = almanac_with("--version")

    assert (0, f"almanac {almanac.__version__}\n") == (done.returncode, done.stdout)


def test_exit_codes_are_part_of_the_help() -> None:
    told = " ".join(almanac_with("--help").stdout.split())

    for code, meaning in almanac.EXIT_CODES.items():
        assert f"{code} {meaning}" in told


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--version"], ["biuld"], ["--absent"], ["bench"]]
)
def test_no_room_and_no_library_is_imported_before_a_verb_is_chosen(words: list[str]) -> None:
    heavy = sorted(almanac.ROOMS | {"duckdb", "faiss", "lmdb", "numpy", "scipy", "starlette"})
    script = f"""
        import sys, almanac
        almanac.main({words!r})
        loaded = {{name.partition(".")[0] for name in sys.modules}}
        sys.exit(str(loaded & set({heavy!r})) if loaded & set({heavy!r}) else 0)
    """
    done = run(sys.executable, "-c", textwrap.dedent(script))

    assert done.returncode == 0, done.stderr


def test_importing_the_front_door_leaves_the_parser_alone() -> None:
    done = run(sys.executable, "-c", "import almanac, sys; sys.exit('cyclopts' in sys.modules)")

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "stranger", "hint"),
    [
        (["biuld"], "biuld", "did you mean `almanac build`?"),
        (["bench", "decison"], "bench decison", "did you mean `almanac bench decision`?"),
        (["zzz"], "zzz", "`almanac --help` lists the verbs"),
        (["--absent"], "--absent", "`almanac --help` lists the verbs"),
    ],
)
def test_an_unknown_verb_is_wrong_use_and_gets_a_suggestion(
    words: list[str], stranger: str, hint: str
) -> None:
    done = almanac_with(*words)

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"error: there is no `almanac {stranger}`\nhint: {hint}\n" == done.stderr


@pytest.mark.parametrize("words", [["--n", "many"], ["--nope"], ["1", "2", "3"]])
def test_wrong_options_are_wrong_use_and_name_the_help(
    front_door: list[str], words: list[str]
) -> None:
    done = run(*front_door, "works", *words)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("hint: `almanac works --help` shows how it is used\n")
    assert words[-1] in done.stderr.splitlines()[0]


def test_a_verb_that_works_ends_with_0(front_door: list[str]) -> None:
    done = run(*front_door, "works", "3")

    assert (done.returncode, done.stdout, done.stderr) == (0, "0 \n1 \n2 \n", "")


@pytest.mark.parametrize(
    ("flags", "printed"), [([], "0 \n"), (["--loud"], "0 !\n"), (["--loud=false"], "0 \n")]
)
def test_a_flag_is_on_when_named_and_off_when_said(
    front_door: list[str], flags: list[str], printed: str
) -> None:
    assert run(*front_door, "works", *flags).stdout == printed


def test_a_verb_is_told_by_its_own_docstring(front_door: list[str]) -> None:
    done = run(*front_door, "works", "--help")

    assert done.returncode == 0
    assert "A paragraph that only the verb's own help shows." in done.stdout
    assert "--no-loud" not in done.stdout


def test_an_int_that_a_verb_returns_is_its_exit_code(front_door: list[str]) -> None:
    assert run(*front_door, "returns").returncode == 7


def test_a_failure_with_an_exit_code_is_a_sentence_and_a_hint(front_door: list[str]) -> None:
    done = run(*front_door, "refuses")

    assert done.returncode == 5
    assert done.stdout == ""
    assert (
        done.stderr
        == "error: orders.csv: 3 of 10 rows are bad, at most 1 may be\nhint: raise --max-bad\n"
    )


def test_a_defect_ends_with_1_and_its_traceback(front_door: list[str]) -> None:
    done = run(*front_door, "breaks")

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: a defect\n")


def test_a_library_that_is_not_installed_names_the_extra_that_brings_it(
    front_door: list[str],
) -> None:
    done = run(*front_door, "lacks")

    assert done.returncode == 2
    assert (
        done.stderr == "error: `almanac lacks` needs no_such_library, which is not installed\n"
        "hint: pip install 'offer-almanac[build]'\n"
    )


def test_a_terminal_without_the_character_gets_a_substitute(front_door: list[str]) -> None:
    done = subprocess.run(
        [*front_door, "points"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "\\u2192 there\n")


def test_a_reader_that_goes_away_is_not_a_defect(front_door: list[str]) -> None:
    with started(*front_door, "works", "1000000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()

        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_a_pipe_that_breaks_inside_is_a_defect(front_door: list[str]) -> None:
    done = run(*front_door, "breaks-a-pipe-of-its-own")

    assert done.returncode == 1
    assert done.stderr.endswith("BrokenPipeError: a worker died\n")


def test_ctrl_c_ends_with_130_and_no_traceback(front_door: list[str]) -> None:
    with started(*front_door, "waits") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)

    assert process.returncode == 130
    assert talk == b"error: interrupted\n"


def test_sigterm_ends_with_143_what_was_started_and_what_was_temporary(
    front_door: list[str],
) -> None:
    with started(*front_door, "keeps-a-process") as process:
        assert process.stdout is not None
        folder, kept = process.stdout.readline().split()
        process.send_signal(signal.SIGTERM)
        _, talk = process.communicate(timeout=60)

    assert process.returncode == 143
    assert talk == b""
    assert not Path(os.fsdecode(folder)).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(kept), 0)


def test_no_color_is_respected() -> None:
    env = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "almanac", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
        env=env,
    )

    assert "\x1b[3" not in done.stdout, "a colour in spite of NO_COLOR"


@pytest.mark.parametrize("name", sorted(almanac.VERBS))
def test_every_verb_leads_to_a_function_with_its_own_help(name: str) -> None:
    module, _, function = almanac.VERBS[name].target.partition(":")
    verb = getattr(importlib.import_module(module), function)

    assert callable(verb)
    assert verb.__doc__, f"{module}:{function} has no docstring to show as help"
    assert almanac.VERBS[name].help.endswith(".")
