"""Writes the dashboards.

    python -m deploy.grafana

The files are for Grafana 11.6 and later. They can be imported by hand or installed by the chart.
"""

from __future__ import annotations

from deploy.grafana.files import FOLDER, files


def main() -> None:
    """Write the files of all dashboards."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
