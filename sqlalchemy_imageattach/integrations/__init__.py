"""Glue for frameworks and admin panels: one module for each, which imports what it is for.  Nothing imports these."""

from __future__ import annotations
