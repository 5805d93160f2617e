"""Real servers for the tests, started on free loopback ports and stopped with the run, and a proxy that breaks them."""

from __future__ import annotations
