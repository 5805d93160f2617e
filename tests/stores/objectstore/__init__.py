"""Tests of stores by obstore, with servers that speak as Google Cloud Storage and Azure do."""

from __future__ import annotations
