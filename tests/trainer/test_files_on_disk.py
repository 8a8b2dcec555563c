"""Whatever happens while a file is written, the old one or the new one is there, whole."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.files_on_disk import put_in_place, replacing, write_file

ENDLESSLY = """
import sys
from pathlib import Path
from trainer.files_on_disk import write_file
path, contents = Path(sys.argv[1]), [bytes([letter]) * 3_000_000 for letter in b"ab"]
write_file(path, contents[0])
print("written", flush=True)
while True:
    for content in contents:
        write_file(path, content)
"""


class Interrupted(Exception):
    """What ends a write in the midst of it."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.none() | st.binary(), new=st.lists(st.binary(), max_size=4), whole=st.booleans())
def test_a_write_that_ends_early_changes_nothing(
    tmp_path: Path, old: bytes | None, new: list[bytes], *, whole: bool
) -> None:
    """The old file, or none, stays; a whole write leaves the new one; nothing else is there."""
    path = tmp_path / "folder" / "file"
    path.unlink(missing_ok=True)
    if old is not None:
        write_file(path, old)

    with suppress(Interrupted), replacing(path) as unfinished, unfinished.open("wb") as file:
        file.writelines(new)
        if not whole:
            raise Interrupted

    found = path.read_bytes() if path.exists() else None
    assert found == (b"".join(new) if whole else old)
    assert [one.name for one in path.parent.iterdir()] == ([] if found is None else ["file"])


def test_a_process_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    """At any moment; what it left half done is in nobody's way."""
    path = tmp_path / "file"
    for pause in (0.0, 0.003, 0.01, 0.017):
        command = [sys.executable, "-c", ENDLESSLY, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(pause)
            process.kill()

        found = path.read_bytes()
        assert found in {b"a" * 3_000_000, b"b" * 3_000_000}
    write_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_put_in_place_with_its_files(tmp_path: Path) -> None:
    """As a whole: its name was not there before."""
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "one").write_bytes(b"1")

    put_in_place(unfinished, tmp_path / "folder")

    assert (tmp_path / "folder" / "one").read_bytes() == b"1"
    assert not unfinished.exists()


def test_what_is_no_file_is_written_to_as_it_is() -> None:
    """A device is not replaced by a file."""
    write_file(Path("/dev/null"), b"gone")

    assert Path("/dev/null").is_char_device()


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    """The link itself stays."""
    (tmp_path / "link").symlink_to(tmp_path / "file")

    write_file(tmp_path / "link", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
