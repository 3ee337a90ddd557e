"""What the terms of a list say of a work: by whom, in which style, of what, how."""

from enum import Enum


class Kind(Enum):
    """What a term of a list would be in a catalogue's record."""

    ARTIST = "artist"
    STYLE = "style"
    MATERIAL = "material"
    TECHNIQUE = "technique"
    OTHER = "other"


_KINDS = {
    "artists_by_name": Kind.ARTIST,
    "artists_by_training_prevalence": Kind.ARTIST,
    "movements": Kind.STYLE,
    "painting_materials": Kind.MATERIAL,
    "printing_techniques": Kind.TECHNIQUE,
    "sculpture_materials": Kind.MATERIAL,
    "surfaces": Kind.MATERIAL,
}


def kind_of(list_name: str) -> Kind:
    """Return the kind of a built-in list; OTHER for tools, sites and qualities, and for lists that are not known."""
    return _KINDS.get(list_name, Kind.OTHER)
