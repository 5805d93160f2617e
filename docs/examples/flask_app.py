"""Users upload their portrait to a Flask application, which serves the pictures too."""

from __future__ import annotations

from flask import Flask, abort, redirect, render_template_string, request, url_for
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from werkzeug import Response

from models import Base, User
from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore

PAGE = """
<h1>{{ user.name }}</h1>
{% if user.picture %}{{ user.picture.find_thumbnail(width=150) }}{% endif %}
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Upload</button></form>
"""


def create_app(database: str, directory: str) -> Flask:
    app = Flask(__name__)
    store = HttpExposedFileSystemStore(directory, prefix="images")
    app.wsgi_app = store.wsgi_middleware(app.wsgi_app)  # type: ignore[method-assign]
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine, info={SESSION_STORE_KEY: store})

    @app.get("/users/<int:user_id>")
    def show(user_id: int) -> str:
        with sessions() as session:
            user = session.get(User, user_id) or abort(404)
            return render_template_string(PAGE, user=user)

    @app.post("/users/<int:user_id>")
    def upload(user_id: int) -> Response:
        with sessions() as session:
            user = session.get(User, user_id) or abort(404)
            try:
                user.picture.from_file(request.files["picture"])
                user.picture.generate_thumbnail(width=150)
            except RejectedImageError as error:
                abort(422, str(error))
            session.commit()
            return redirect(url_for("show", user_id=user_id))

    return app
