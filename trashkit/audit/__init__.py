"""The audit: what is wrong with a COCO file, by row, with a proposed cure."""

from trashkit.audit.engine import AuditResult, audit
from trashkit.audit.registry import Check, Hit, check, checks, find
from trashkit.audit.settings import Settings, read_settings

__all__ = ["AuditResult", "Check", "Hit", "Settings", "audit", "check", "checks", "find", "read_settings"]
