"""Pixels: frames from a decoder, their colours and sizes, and encoding them."""

from __future__ import annotations
