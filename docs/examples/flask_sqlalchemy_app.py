"""Products and their photographs, with Flask-SQLAlchemy."""

from __future__ import annotations

from flask import Flask, abort, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug import Response

from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.store import Store


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Base, Image):
    __tablename__ = "product_photo"

    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)


db = SQLAlchemy(model_class=Base)


def create_app(database: str, store: Store) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    db.init_app(app)
    with app.app_context():
        db.session.configure(info={SESSION_STORE_KEY: store})
        db.create_all()

    @app.post("/products")
    def create() -> tuple[Response, int]:
        product = Product(name=request.form["name"])  # it may get its picture before it is added
        try:
            product.photo.from_file(request.files["photo"])
        except RejectedImageError as error:
            abort(422, str(error))
        db.session.add(product)
        db.session.commit()
        return jsonify(id=product.id, photo=product.photo.locate()), 201

    @app.delete("/products/<int:product_id>")
    def delete(product_id: int) -> tuple[str, int]:
        db.session.delete(db.get_or_404(Product, product_id))
        db.session.commit()
        return "", 204

    return app
