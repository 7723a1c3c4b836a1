"""``trashkit recipes``: the training settings that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.options import Json
from trashkit.cli.output import command, show, table

app = Commands(cls=default_group("list"), help="List the training recipes (the default), or show one.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the recipes that come with trashkit, each with its purpose.

    Examples:

      trashkit recipes
    """
    from trashkit.settings.training import read_recipe, recipe_names

    found = [read_recipe(name) for name in recipe_names()]
    result = [{"name": r.name, "title": r.title, "reason": r.reason, "place": r.place} for r in found]
    rows = [[r.name, r.title, r.reason, r.place] for r in found]
    human = table(["recipe", "what", "why", "place in an ensemble"], rows)
    show({"recipes": result}, json=json, human=human, next=command("recipes", "show", found[0].name))


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="Recipe to show.")],
    json: Json = False,
) -> None:
    """Print a recipe with all its settings, including defaults; save it to a file to make your own.

    Examples:

      trashkit recipes show cpu-small > mine.toml
    """
    from trashkit.settings.training import read_recipe, resolve, to_toml

    recipe = read_recipe(name)
    config = resolve(recipe)
    about = "\n".join(text for text in (recipe.title, recipe.reason, recipe.place) if text)
    result = {
        "name": recipe.name,
        "title": recipe.title,
        "reason": recipe.reason,
        "place": recipe.place,
        "settings": config.model_dump(),
    }
    show(result, json=json, human=to_toml(config, about).rstrip().split("\n"))
