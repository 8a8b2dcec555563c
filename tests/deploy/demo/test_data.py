from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from deploy.demo import data
from deploy.demo.data import Click
from deploy.demo.errors import DemoError
from deploy.demo.life import Life

INTERACTIONS = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "7\t50\t5\t880000002\n8\t51\t3\t880000001\n7\t51\t1\t880000002\n"
)
ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '50\tStar Wars\t1977\tAction\n51\t"Usual Suspects", The\t1995\tCrime\n'
)


def wheel(folder: Path) -> Path:
    """A wheel that is small but laid out like the real one."""
    path = folder / data.WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("recbole/dataset_example/ml-100k/ml-100k.inter", INTERACTIONS)
        archive.writestr("recbole/dataset_example/ml-100k/ml-100k.item", ITEMS)
    return path


def test_clicks_come_in_the_order_of_time_with_titles_as_one_says_them(tmp_path: Path) -> None:
    """Seconds become milliseconds; clicks of one second stay as they stand in the file."""
    movies = data.read(wheel(tmp_path))

    assert movies.clicks == [
        Click("8", "51", 880000001000),
        Click("7", "50", 880000002000),
        Click("7", "51", 880000002000),
    ]
    assert movies.titles == {"50": "Star Wars", "51": 'The "Usual Suspects"'}


def test_the_cache_is_used_while_it_is_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second download."""
    monkeypatch.setattr(data, "SHA256", hashlib.sha256(wheel(tmp_path).read_bytes()).hexdigest())
    with Life() as life:
        movies = data.load(life, tmp_path)

    assert len(movies.clicks) == 3


def test_a_file_that_is_not_the_known_one_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fetched anew; where that fails, the error says what the demo needs and where to put it."""
    wheel(tmp_path)
    for name, value in (
        ("PIP_INDEX_URL", "http://127.0.0.1:9/"),
        ("PIP_RETRIES", "0"),
        ("PIP_NO_INDEX", "1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with Life() as life, pytest.raises(DemoError, match=data.WHEEL):
        data.load(life, tmp_path)


@pytest.mark.parametrize(
    ("title", "spoken"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Affair to Remember, An", "An Affair to Remember"),
        ("Cook the Thief His Wife & Her Lover, The", "The Cook the Thief His Wife & Her Lover"),
        ("Bye Bye, Love", "Bye Bye, Love"),
        ("Psycho", "Psycho"),
    ],
)
def test_articles_come_first(title: str, spoken: str) -> None:
    """As one says a title, not as a catalogue sorts it."""
    assert data.spoken(title) == spoken
