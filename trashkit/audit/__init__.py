"""The audit: what is wrong with a COCO file, by row, with a proposed cure."""

from trashkit.audit.engine import AuditResult, audit
from trashkit.audit.registry import Check, Hit, check, find
from trashkit.audit.settings import Settings, read_settings

__all__ = ["AuditResult", "Check", "Hit", "Settings", "audit", "check", "find", "read_settings"]
