"""Read what `--redact` says: `strict`, or what to do with each category of personal data, or both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Category(Enum):
    """A category of personal data in a row."""

    PARAMETERS = "parameters"
    ADDRESSES = "addresses"
    BODY = "body"
    URL_QUERY = "url-query"


class Action(Enum):
    """What becomes of a value: `***`, a keyed hash, or null."""

    MASK = "mask"
    HASH = "hash"
    DROP = "drop"


STRICT = "strict"
_NAMES, _ACTIONS = "|".join(category.value for category in Category), "|".join(action.value for action in Action)
FORM = f"say {STRICT}, or {_NAMES}={_ACTIONS}, with commas between several"


@dataclass(frozen=True, slots=True)
class RedactionChoice:
    """What to do with each category. Categories that are left out are kept. `text` is the choice in words."""

    actions: Mapping[Category, Action] = field(default_factory=dict)
    strict: bool = False

    def __bool__(self) -> bool:
        return bool(self.actions)

    @property
    def hashes(self) -> bool:
        """Return whether a category is hashed, which needs a key."""
        return Action.HASH in self.actions.values()

    @property
    def text(self) -> str:
        """Return the choice in one form, however it was written."""
        pairs = [f"{category.value}={action.value}" for category, action in self.actions.items()]
        return ",".join([*([STRICT] if self.strict else []), *sorted(pairs)])


def choice_of(text: str) -> RedactionChoice:
    """Return the choice that the text says. "" keeps everything but secrets.

    Raises:
        ValueError: with a correct form.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    strict = STRICT in parts
    actions = dict.fromkeys(Category, Action.MASK) if strict else {}
    seen = set()
    for part in parts:
        if part == STRICT:
            continue
        name, _, action = part.partition("=")
        try:
            category, chosen = Category(name), Action(action)
        except ValueError:
            raise ValueError(FORM) from None
        if category in seen:
            raise ValueError(f"{name} is given twice")
        seen.add(category)
        actions[category] = chosen
    return RedactionChoice(actions, strict)
