"""How the pages are made: templates that escape what they are given and lack nothing."""

from __future__ import annotations

import jinja2


def template(name: str) -> jinja2.Template:
    """A template of ``analysis/templates``; a name that it is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value.replace(" %", "\u00a0%") if isinstance(value, str) else value,
    )
    return environment.get_template(name)
