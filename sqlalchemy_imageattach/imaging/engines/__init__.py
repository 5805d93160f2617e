"""What reads and renders images: one file for each engine, and the choice between them."""

from __future__ import annotations
