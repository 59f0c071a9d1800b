"""`results/<run-id>/`: one run on disk. Every file is whole at any moment, or whole but for its last line."""

from __future__ import annotations

import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harness.errors import ResultsError
from harness.records import manifest as manifests
from harness.records.manifest import Manifest

_RECORDS = re.compile(r"^records-(\d+)\.jsonl(\.gz)?$")


class RunFolder:
    """The folder of one run. Its name is the run's id: `<YYYYMMDDThhmmssZ>-<name>-<4 hex>` (UTC)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.experiment = path / "experiment.yaml"
        self.manifest = path / "manifest.json"
        self.telemetry = path / "telemetry.jsonl"
        self.solo = path / "solo.jsonl"  # records of the sessions that were replayed alone (load.solo)
        self.summary = path / "summary.json"
        self.report = path / "report.html"

    @property
    def id(self) -> str:
        return self.path.resolve().name

    @classmethod
    def create(cls, parent: Path, name: str, *, at: datetime | None = None) -> RunFolder:
        """Make a new folder below `parent` (made too where missing), before anything is sent.

        Raises:
            ResultsError: `parent` cannot be written to.
        """
        stamp = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                path = parent / f"{stamp}-{name}-{secrets.token_hex(2)}"
                try:
                    path.mkdir()
                    return cls(path)
                except FileExistsError:
                    if not parent.is_dir():
                        raise
        except OSError as error:
            raise ResultsError(
                f"cannot make a results folder in {parent}: {error.strerror}",
                remedy="give a folder you may write to: --out DIR",
            ) from error

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run, named by its folder or by any file in it.

        Raises:
            ResultsError: there is no such run.
        """
        folder = cls(path if path.is_dir() else path.parent)
        if not path.exists():
            raise ResultsError(f"no run at {path}: no such file or folder", remedy="see results/")
        if not (folder.manifest.is_file() or folder.summary.is_file() or folder.records()):
            raise ResultsError(
                f"no run at {path}: neither manifest.json nor summary.json nor records-*.jsonl lies there",
                remedy="name the folder of one run, results/<run-id>, or a file in it",
            )
        return folder

    def records_of(self, worker: int) -> Path:
        """Where this worker writes."""
        return self.path / f"records-{worker}.jsonl"

    def records(self) -> list[Path]:
        """The records files there are, by worker."""
        found = [(_RECORDS.match(path.name), path) for path in self.path.iterdir()]
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]

    def read_manifest(self) -> Manifest:
        """Raises ResultsError where it is missing, unreadable, or of a newer schema."""
        try:
            manifest = manifests.from_json(self.manifest.read_bytes())
        except OSError as error:
            raise ResultsError(f"cannot read {self.manifest}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ResultsError(f"{self.manifest} is damaged: {error}") from error
        if manifest.schema > manifests.SCHEMA:
            raise ResultsError(
                f"{self.manifest} has schema {manifest.schema}; this harness reads up to {manifests.SCHEMA}",
                remedy="pip install --upgrade inference-harness",
            )
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        write_whole(self.manifest, manifests.to_json(manifest) + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part.

    Raises:
        ResultsError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ResultsError(
            f"cannot write {path}: {error.strerror}", remedy="free some space, or give another --out"
        ) from error
