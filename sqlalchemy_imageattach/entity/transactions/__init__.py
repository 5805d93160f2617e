"""Stores in step with transactions; knows images as objects only."""

from __future__ import annotations
