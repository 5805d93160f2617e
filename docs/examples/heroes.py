"""Pictures of SQLModel classes: attached, shown and taken away again."""

from __future__ import annotations

import io
from typing import ClassVar

import PIL.Image
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine, select

from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.stores.memory import MemoryStore


class HeroPicture(SQLModel, Image, table=True):
    image_policy: ClassVar[ImagePolicy] = ImagePolicy(max_bytes=10 * 2**20)

    hero_id: int | None = Field(default=None, primary_key=True, foreign_key="hero.id")


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    picture: SingleImageSet[HeroPicture] = Relationship(sa_relationship=image_attachment("HeroPicture"))


class HeroOut(SQLModel):
    id: int
    name: str
    picture_url: str | None

    @classmethod
    def of(cls, hero: Hero) -> HeroOut:
        return cls.model_validate(hero, update={"picture_url": hero.picture.locate() if hero.picture else None})


def portrait(color: str) -> io.BytesIO:
    file = io.BytesIO()
    PIL.Image.new("RGB", (60, 80), color).save(file, "PNG")
    file.seek(0)
    return file


def main() -> None:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    store = MemoryStore("https://images.example.com/")

    with Session(engine, info={SESSION_STORE_KEY: store}) as session:
        hero = Hero(name="Deadpond")
        hero.picture.from_file(portrait("teal"))
        hero.picture.generate_thumbnail(width=30)
        session.add(hero)
        session.commit()
        print(HeroOut.of(hero).model_dump_json())

        hero.picture = portrait("orange")  # type: ignore[assignment]  # the same as from_file()
        session.commit()
        print(session.exec(select(HeroPicture)).all(), len(store), "blob")

        hero.picture = None  # type: ignore[assignment]  # the same as clear()
        session.commit()
        print(HeroOut.of(hero).model_dump_json(), len(store), "blobs")
    engine.dispose()


if __name__ == "__main__":
    main()
