"""Declared sizes of a picture on their way to pages."""

from __future__ import annotations
