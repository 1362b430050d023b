"""What happens to an event that cannot become a row, by reason: `--on-rejected`."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from consumer.records import Reason


class Policy(Enum):
    """Write a dead letter, halt the shard before the record, or only count the event."""

    DEAD_LETTER = "dead-letter"
    HALT = "halt"
    DROP = "drop"


EVERY = "all"
_REASONS = ", ".join(reason.value for reason in Reason)
_POLICIES = "|".join(policy.value for policy in Policy)
FORM = f"say REASON={_POLICIES}, with commas between several; REASON is {EVERY} or one of {_REASONS}"
Policies = Mapping[Reason, Policy]
KEEP: Policies = MappingProxyType(dict.fromkeys(Reason, Policy.DEAD_LETTER))


def policies_of(text: str) -> Policies:
    """Return the policy of each reason. A reason that is named wins over `all`.

    Raises:
        ValueError: with a correct form.
    """
    named: dict[str, Policy] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        reason, _, policy = part.partition("=")
        if reason in named:
            raise ValueError(f"{reason} is given twice")
        try:
            named[reason if reason == EVERY else Reason(reason).value] = Policy(policy)
        except ValueError:
            raise ValueError(FORM) from None
    default = named.get(EVERY, Policy.DEAD_LETTER)
    return {reason: named.get(reason.value, default) for reason in Reason}
