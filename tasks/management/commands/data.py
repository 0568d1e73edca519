"""`manage.py data list | fetch NAME | check`: the real data that problems read."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tasks import datasets


class Command(BaseCommand):
    help = "Show, download (with checksum) and verify the data sets under DATA_ROOT."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (("list", "the data sets and whether they are here"),
                           ("check", "compare every file with its checksum; status 1 when one is missing or wrong")):
            actions.add_parser(name, help=text).add_argument("--json", action="store_true")
        fetch = actions.add_parser("fetch", help="download one data set")
        fetch.add_argument("name")
        fetch.add_argument("--json", action="store_true")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if action == "fetch":
            self._fetch(options["name"])
        rows = [row for data in datasets.DATA_SETS.values() for row in self._rows(data)
                if action != "fetch" or data.name == options["name"]]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=1))
        else:
            self._print(rows)
        wrong = [f"{row['data_set']}/{row['file']}: {row['state']}" for row in rows if row["state"] != "ok"]
        if action == "check" and wrong:
            raise CommandError("; ".join(wrong) + " (run `python manage.py data fetch NAME`)")

    def _rows(self, data: datasets.DataSet) -> list[dict[str, Any]]:
        folder = self._folder(data.name)
        return [{"data_set": data.name, "file": file.name, "state": datasets.state(file, folder), "bytes": file.size,
                 "licence": data.licence, "url": file.url, "path": str(folder / file.name)} for file in data.files]

    def _folder(self, name: str) -> Path:
        return Path(settings.DATA_ROOT) / name

    def _fetch(self, name: str) -> None:
        if name not in datasets.DATA_SETS:
            raise CommandError(f"unknown data set {name!r}; known: {', '.join(datasets.DATA_SETS)}")
        folder = self._folder(name)
        for file in datasets.DATA_SETS[name].files:
            if datasets.state(file, folder) != "ok":
                self.stderr.write(f"fetching {file.url}")
                try:
                    datasets.fetch(file, folder)
                except datasets.FetchFailed as error:
                    raise CommandError(str(error)) from None

    def _print(self, rows: list[dict[str, Any]]) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("data set", "file", "state", "bytes", "licence", "path", title="DATA_ROOT")
        for row in rows:
            table.add_row(row["data_set"], row["file"], row["state"], f"{row['bytes']:,}", row["licence"], row["path"])
        Console().print(table)
