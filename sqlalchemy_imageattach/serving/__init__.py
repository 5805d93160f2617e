"""Serving what a store holds over HTTP."""
