"""A small catalogue of photographs: what ``scripts/demo`` runs, and an example of a whole program.

=============  ======================================================================================
``models``     the tables: an entry, and its photograph in all its sizes
``tour``       attaches, lists, replaces, rolls back, refuses and deletes, and tells what happened
``gallery``    the same for a browser: a WSGI application of five routes
``pages``      its HTML
=============  ======================================================================================
"""

from __future__ import annotations
