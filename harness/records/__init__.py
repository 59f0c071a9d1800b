"""Room: what happened. Structs, append-only JSONL files, readers, manifest."""

from harness.records.record import Record

__all__ = ["Record"]
