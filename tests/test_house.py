"""The plan of the package, and that the package keeps it: nothing imports what stands above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy_imageattach

ROOT = Path(sqlalchemy_imageattach.__file__).parent

# An arrow goes only from a line to lines below it, inside a folder too; the docs show this plan.
PLAN = """
__init__.py                 the version, and what programs import most
__main__.py                 python -m; says what to install if click is missing
cli/                        the command imageattach: one command per operation below
    __init__.py             main(), and which file has which command
    dataset.py              imageattach dataset
    maintenance.py          check, sweep
    migration.py            migrate
    search.py               index, search, duplicates
    stores.py               stores
    variants.py             thumbnails, variants
    params.py               what commands take
    output.py               lines, JSON, progress
    exits.py                exit codes, and which one an error means
integrations/               frameworks and admin panels; glue only
    __init__.py
    fastapi.py              dependencies, and what an API tells of a picture
    starlette.py            mounts, lifespan, errors as answers
    opentelemetry.py        events as metrics
    litestar.py             a plugin
    storecontext.py         the store of a request, for ASGI
    pyramid.py              a tween
    flask.py                an extension
    mounting.py             where uploads are taken
    flask_admin.py          fields for Flask-Admin
    sqladmin.py             fields for SQLAdmin
    starlette_admin.py      fields for starlette-admin
    wtforms.py              a field for one picture
    pictures.py             what panels have in common
dataset/                    collections of pictures for training and analysis
    __init__.py             face
    torch.py                as PyTorch takes it
    export.py               write rows, files and labels out
    suggesting.py           what may be of a label
    collect.py              from sources into the database, each once
    dispatch.py             threads that take the next one, hosts in turn
    downloads.py            one candidate on its way, in threads
    sources.py              where candidates come from
    stores/
        __init__.py         face
        couchbase.py        CouchbaseDataset
        database.py         SQLAlchemyDataset
        protocol.py         DatasetStore
    attach.py               a row with a label
    picking.py              count, pick, divide
    labels.py               labels attached to pictures; their counters
    sample.py               values
search/                     pictures by likeness
    __init__.py             face
    imagesearch.py          register, index, case: the documented use of Flask-Image-Search
    declaring.py            embeddings_of(), fingerprints_of()
    indexing.py             all that is there, in pages
    listening.py            in step with flushes
    deferred.py             after the commit instead, by jobs
    filling.py              rows, in the transaction of their session
    shards.py               the database of a row, where there are several
    registry.py             which indexes a class has
    duplicates.py           pictures that look the same
    fingerprint.py          perceptual hashes, and their distance in SQL
    embedding.py            vectors of pictures, and the distances of rows
    index.py                what is known of the pictures of a class
    sources.py              where pictures are: in stores, in files
    sidetable.py            the table beside a class
    column.py               Vector, the type of columns
    distance.py             distance in SQL, per dialect
    execution.py            what happens just before such a statement is executed
    query.py                what is looked for
    ranking.py              distances in the process, for databases that cannot
    sqlite.py               the functions that SQLite is taught
    types.py                how vectors are stored, per dialect
    pixels.py               the pixels of pictures, small and plain
    keras.py                a model of Keras as an extractor
    onnx.py                 extractors that run a model
    extractors.py           pictures to vectors; the protocol, and those without a model
    efficientnet.py         the default model, put together from its weights
    onnxfile.py             ONNX files, written by hand
    weights.py              weights of PyTorch, read without it
    vectors.py              vectors as bytes
variants/                   declared sizes of a picture on their way to pages
    __init__.py             face: Variant, bring_up_to_date
    on_demand.py            make what a signed URL names
    demanded.py             URLs on demand, and what they name
    negotiation.py          the format that a browser takes
    making.py               finds or makes one picture
    flights.py              work that is done once, and only so much of it at a time
    eager.py                make declared variants after the commit
    spread.py               the same by many workers
    upkeep.py               bring what is stored to what is declared
    backfill.py             make them for pictures that are there
    owners.py               one owner after the other
maintenance/                do rows and blobs agree?
    __init__.py             face: check, sweep, Report, Problem
    spread.py               the blobs by many workers
    report.py               check(), sweep(), Report
    repair.py               misplaced blobs, brought to where their rows say
    removal.py              what a sweep deletes, and when it refuses
    strays.py               blobs that no row names
    suspects.py             rows whose blob is missing, elsewhere or another one
    inventory.py            rows and blobs, written down side by side
    findings.py             Problem, and many of them on the disk
migration/                  all blobs into another store
    __init__.py             face: migrate, migrate_class, MigrationPlan
    spread.py               by many workers
    plan.py                 arguments to plan
    transfer.py             rows in pages, blobs in threads
    copier.py               one blob, verified
    result.py               what was done, and what failed
jobs/                       work after the outermost commit
    __init__.py             face
    celery.py               by Celery
    dramatiq.py             by Dramatiq
    rq.py                   by RQ
    threads.py              by threads of this process
    spread.py               one large piece of work as many jobs
    ranges.py               rows in parts, one job for each
    deletion.py             blobs that were not deleted after the commit
    runner.py               does jobs; handlers
    transient.py            what is worth another attempt
    queue.py                what a queue has to be, and which one is meant
    after_commit.py         collect during the transaction, hand over after its commit
    job.py                  Job, a value
    keys.py                 primary keys as JSON can say them
bulk/                       what operations over all rows share; private
    __init__.py
    rows.py                 RowReader, Shard
    classes.py              image classes and owners of a declarative base
    places.py               which store each class has
    digest.py               length and checksum of a stored blob
    failures.py             one failure record, the first thousand kept
    workers.py              a few threads beside the one that talks to the database
    keyset.py               pages by primary key
    scratch.py              lists on the disk
entity/                     images attached to mapped objects
    __init__.py             face
    listeners.py            the order of a flush, told and listened to
    swapping.py             images that get the keys of one another
    rowswitch.py            rows that replace others of the same key
    rekeying.py             owners with a new primary key
    otherrows.py            keys that other rows have a part in
    relationship.py         image_attachment(), ImageAttachment
    assigning.py            files assigned to an attribute
    multiple.py             several pictures of one owner
    imageset.py             one picture: attached, read, removed
    thumbnailset.py         the public methods that make something of it
    markup.py               picture(): srcset, sizes, type
    demand.py               which endpoint makes what is not made yet
    declared.py             variants that a class declares, and the focal point
    thumbnails.py           makes what is not there
    finding.py              which thumbnail is wanted, and whether it is there
    attaching.py            in and out of a set
    collection.py           what every set is; what the two above need
    image.py                the Image mixin
    readback.py             keys as the rows give them back
    locks.py                claims on rows
    conflicts.py            what the database refused: may it be tried again?
    identity.py             keys of rows and blobs; size_and_type, row_slot
    transactions/           stores in step with transactions; knows images as objects only
        __init__.py
        ledger.py           when a transaction ends …
        calls.py            what is to follow the commit
        frame.py            BlobRef, Write, Frame: what one transaction did; hooks for after the commit
        locations.py        which store has a blob, as far as a session knows
        pending.py          a blob on its way
        doubt.py            can the COMMIT be believed?
uploads/                    from browsers to stores, past the application
    __init__.py             face: Uploads, UploadEndpoint
    endpoint.py             WSGI and ASGI, for stores that cannot be written to by others
    receiving.py            the form that brings a file, without I/O
    issuing.py              permits and tokens: Uploads
    quarantine.py           where uploads are until a transaction takes them
testing/                    for programs and for writers of stores
    __init__.py             face: check_store, FaultyStore
    suite.py                the contract as pytest tests
    contract.py             check_store
    rules/
        __init__.py         all of them
        *.py                the rules, by method
        chapter.py          how a function is made a rule
    subject.py              the store under test, and who is to blame
    faults.py               a store that fails when told to
    sources.py              difficult files
context.py                  which store is meant
stores/
    __init__.py
    by_url.py               schemes to stores
    endpoint.py             what a store has, over HTTP
    delivery.py             streamed, by a redirect, or by the web server
    s3/
        __init__.py         face: S3Store, S3SandboxStore
        legacy.py           names of 1.x
        sandbox.py          two buckets as one, marks of 1.x
        store.py            S3Store
        listing.py          what a bucket has
        transfer.py         bytes up and down
        headers.py          what objects carry along
        client.py           boto3, and how it is set up
        signer.py           URLs for a while
        errors.py           what S3 says, as errors of this package
        addresses.py        the URLs of objects
    objectstore/
        __init__.py         face: ObjectStore, google_bucket, azure_container
        store.py            ObjectStore
        forms.py            forms for uploads to Google
        backends.py         obstore, and how it is set up
        transfer.py         bytes up and down
    fs/
        __init__.py         face: the stores, StaticServerMiddleware, guess_extension
        store.py            the three stores
        draft.py            whole or not at all
        walk.py             listing a directory
        errors.py           OSError to StoreError
    credentials.py          of the stores of URLs, in the environment
    bucket.py               what stores in buckets share: checks, max age, caching, quoting
    mirror.py               two stores with the same content
    overlay.py              one store over another that is only read
    memory.py               for tests
    observed.py             ObservedStore
    keyed.py                KeyedStore: the four documented methods, once, by key
storewrapper.py             a store around another one; nothing is forgotten
store.py                    Store
imagelike.py                what a store needs to know of an image; its key
blobpart.py                 what is said of a blob, and a part of one
uploadtarget.py             where a browser sends a file to by itself
serving/                    HTTP for files; knows no store, no database
    __init__.py
    endpoint.py             what is mounted below a path
    asgi.py                 the door for ASGI: StaticServerMiddleware, RequestUrlMiddleware
    wsgi.py                 the door for WSGI: the same
    directory.py            the files of a directory
    lookup.py               a look at what is asked, and the fetching of it
    conditions.py           conditions and ranges, without I/O
    headers.py              name to type, caching, sandbox
    answer.py               status, headers, bytes
    request.py              what a client asks
    host.py                 the URL of the running request
    signing.py              tokens in URLs
remote/                     pictures by URL
    __init__.py             face: fetch, afetch, FetchPolicy
    fetch.py                guarded downloads, for threads and for event loops
    journey.py              one download without I/O: redirects, decompression
    keeping.py              connections that are kept for the next request
    connection.py           connections to checked addresses, each with the time that is left
    policy.py               what a download may ask, and cost
    guard.py                which addresses may be asked
imaging/                    knows no SQLAlchemy, no store
    __init__.py             face
    rendering.py            pictures from a picture
    probing.py              probe and identify
    isolation/              engines in child processes, with the kernel's limits
        __init__.py         render and verify: which engine, and where
        worker.py           the child
        walls.py            what the kernel keeps it from
        pool.py             the parent
        messages.py         what they say to each other
    engines/
        __init__.py
        choice.py           which engine, and what to install
        decoder.py          an engine out of what only decodes
        resvg.py            SVG
        svgdocument.py      an SVG as it is drawn
        csstransform.py     a style as an attribute
        pdfium.py           PDF
        heif.py             HEIC
        wand.py             ImageMagick
        vips.py             libvips
        pillow.py           the types of the web
        vector.py           pixels for what has none
    raster/
        __init__.py
        pngframes.py        frames of a PNG
        frames.py           one frame after the other
        decoding.py         whose fault it is when a decoder raises
        encode.py           pixels to files, side by side
        resample.py         sizes, each from the smallest that will do
        resize.py           one size, by cykooz.resizer or by Pillow
        tiffpixels.py       what Pillow takes for something else
        colours.py          modes and profiles
        gifframes.py        frames of a GIF
        icoframes.py        the best picture of an icon
        pngparts.py         what of a PNG its decoder sees
        heifcolours.py      what AVIF and HEIF say of their colours
        profiles.py         profiles of strangers, and of what is said otherwise
    looking.py              what the bytes and the structure say
    formats/
        __init__.py         which scanner
        *.py                one scanner per format
        items.py            what a HEIF says of its items
        av1.py              the size that AV1 data say
        hevc.py             the size that HEVC data say
        bits.py             numbers of some bits
        pdfxref.py          where the objects of a PDF are
        header.py           Header, what a scanner finds
        scans.py            what the scans of a JPEG may be
        exif.py             the orientation
    policy.py               what is accepted
    placeholder.py          colour and blurred preview of a picture
    variant.py              what a class declares: Variant
    rendition.py            what is asked for
    fitting.py              how large it becomes, and what is cut off
    filters.py              names of resampling filters
    reader.py               bytes, counted
    sniffing.py             the type by the first bytes
    info.py                 ImageInfo
util.py                     docstrings that are put together
file.py                     what is accepted as a file; proxies
spool.py                    a private copy of a stream
key.py                      ImageKey
oldnames.py                 what 1.x called blobs
imagetypes.py               one row per type
observing.py                events of what is counted and timed
arguments.py                checks of arguments and their messages
extras.py                   what is said where a library is missing
concurrency.py              worker threads below AsyncSession
paths.py                    is_inside, open_file
errors.py                   all errors
version.py                  the version
"""

#: Rooms that a room must not use although they stand below it.
PRIVATE = {"cli/": ["bulk/"]}


def lines_of_plan() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Files, each with the number of its line after those of its folders."""
    folders: list[tuple[str, int]] = []
    for number, line in enumerate(PLAN.splitlines()):
        if line:
            name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 4
            folders = [*folders[:depth], (name, number)]
            if not name.endswith("/"):
                yield "".join(name for name, _ in folders), tuple(number for _, number in folders)


LINES = dict(lines_of_plan())
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def line_of(file: str) -> tuple[int, ...]:
    folder = file.rpartition("/")[0]
    line = LINES.get(file) or LINES.get(f"{folder}/*.py")
    assert line, f"say in PLAN where {file} stands"
    return line


def imports_of(file: str) -> Iterator[str]:
    """The files of this package that ``file`` imports anywhere: at its top, late, or for annotations only."""
    package = (ROOT.name, *file.split("/")[:-1])
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (*package[: len(package) + 1 - node.level], *filter(None, (node.module or "").split(".")))
            origin = base if node.level else tuple((node.module or "").split("."))
            names = [(*origin, alias.name) for alias in node.names]
        else:
            continue
        yield from (file_of(name) for name in names if name[0] == ROOT.name)


def file_of(name: tuple[str, ...]) -> str:
    """The file of a module, or the one that has the object of this name."""
    path = "/".join(name[1:])
    found = [file for file in (f"{path}.py", f"{path}/__init__.py".lstrip("/")) if file in FILES]
    return found[0] if found else file_of(name[:-1])


def is_allowed(importer: str, imported: str) -> bool:
    if any(importer.startswith(room) and imported.startswith(tuple(private)) for room, private in PRIVATE.items()):
        return False
    return importer == imported or line_of(importer) < line_of(imported)


def test_every_file_stands_in_the_plan_and_the_plan_has_no_other() -> None:
    assert all(map(line_of, FILES))
    assert not [line for line in LINES if not line.endswith("*.py") and line not in FILES]


def test_nothing_imports_what_stands_above_it() -> None:
    arrows = {(file, imported) for file in FILES for imported in imports_of(file)}
    assert len(arrows) > len(FILES), "no imports were found"
    assert not {arrow for arrow in arrows if not is_allowed(*arrow)}


def test_the_page_on_the_house_names_files_that_are_there() -> None:
    page = (Path(__file__).parents[1] / "docs" / "guide" / "house.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"``((?:tests/)?[a-z0-9_/]+\.py)``", page))
    assert len(named) > 40
    assert not {name for name in named if name not in FILES and not (Path(__file__).parents[1] / name).exists()}
