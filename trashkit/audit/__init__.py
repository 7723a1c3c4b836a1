"""The audit: find what is wrong with a COCO file and its photos, and fix it."""

from trashkit.audit.engine import AuditResult, audit
from trashkit.audit.fixes.fix_file import FixResult, fix
from trashkit.audit.registry import Check, Hit, check, find
from trashkit.audit.settings import Settings, read_settings

__all__ = ["AuditResult", "Check", "FixResult", "Hit", "Settings", "audit", "check", "find", "fix", "read_settings"]
